#!/usr/bin/env bash
# Runs every suite that touches a share on kernel NFS, in the virtual machine, which boots once: what hack/vm/nfs-runs says, or
# with --all every suite on every kind of mount. A kind of mount is a version, a file system, and a user with how the export
# squashes, mounted as manifests/base says; the cases that only NFS has (hack/vm/nfscases) mount for themselves. Fails if a test
# fails or is skipped, and if a run has no tests, leaves something behind, or does not reach its mount.
#
#   hack/vm/test-nfs.sh [--all] [-m MOUNTS] [-p PACKAGES] [-r TESTS] [-o RESULTS]
#
#   --all  every suite on every kind of mount, whole, exports with sync, larger trees, and twice as many cut-offs: for hours
#   -m     of these runs those on mounts that match a shell pattern: 'v4.2-xfs-root_squash-owner', 'v3-*', 'plain-*'
#   -p     of these runs those of packages, in one word: 'provisioner provisioner/trash'
#   -r     tests, as for go test -run, in place of the parts that the table names
#   -o     directory for the full output of each run
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# These read the source code, which the machine does not have, or let calls hang inside the program, to which the share makes no
# difference; make test-unit runs them.
not='^(TestImports|TestPackageDocs|TestA.*AnsweredTooLate.*|TestALateRepeat.*)$'

# These kill an operation at each of its calls, let one come late, or race round after round.
crashes='CutOff|LikeAnyOther$|^TestAnAbandonedCopyIsGivenUp|^TestAKillAnywhere|^TestOfTwoClusters|^TestOfTwoClaims|^TestAnArchiveExpiresOrIsRestored|BelowOneParent|^TestACallThatComesLate|^TestARemovalThatIsKilled'

# These are about a tree's depth and size, a pace, or two shares, to which the server makes no difference, and take long over a mount.
deep='^TestACopyNeedsLittleMemory$|^TestShare$/^(remove_reads_names|the_trash_is_emptied_of_trees_of_any_depth|a_copy_(of_a_deep|keeps_its_pace|of_another).*)$'

# These make a copy over and over.
repeats='^TestACopyThatIsKilled$|^TestShare$/^a_copy_(goes_on|made_twice|needs_neither|keeps_files_of_several).*'

# These are about modes and owners, and what only their owner may read.
users='^TestShare$/(closed|owner|umask|mode|setgid|uid|unreadable|sticky|hostile_trees|hands_down|keeps_everything|nobody)'

# Of the late calls a mount has some operations; a plain directory has all.
late='^TestACallThatComesLate/^(adopt|expire|purge|remove|fix|look|put|bring|provision,_[gt]|(take_over|archive|retain|restore),|.*_of_nothing)'

# These are about names, content and records, to which the server makes no difference, and take minutes over a mount.
local='^(Test|Fuzz)Hostile|^TestSharesOfLayout1|^TestClaimsAreServedWhileRecordsAreConverted'
# Tables of what is on record and in the cluster, and numbers of reads.
local+='|^(TestRecordsDecideWhoseADirectoryIs|TestTheSourceOfACopy|TestWishesThatCannotBeFulfilledTouchNothing|TestWhichPersistentVolumesAreBack)$'
local+='|^(TestAWishForNothingCostsNoMoreWithManyArchives|TestANewVolumeCostsNoListingOfTheRecords)$'

# These are about the order in which many directories are removed, to which the server makes no difference.
turns='^(TestStaleHandlesHoldNothingUp|TestNewOnesComeBeforeThoseThatFailed|TestTurnsGoRound|TestLargeDirectoriesTakeTurns|TestADirectoryThatFailsIsTriedLaterAndLater)$'

# These stop the server, which all runs have in common.
outages='^(TestAServerThatStopsAndComesBack|TestASoftMountGivesUp|TestVolumesComeAndGoWhileTheServerRestarts|TestAKeptShareOutlivesItsServer)$'

# Of a call that comes late its process goes on in the runs on one version, and is gone in those on another.
goes_on='^TestACallArrivesAfterThePathHasANewOwner$/./goes_on$'

# These take minutes, and are about the server's file system, not about NFS: one of the file systems has them.
quotas='^(TestQuotaIsCutOffAnywhere|TestQuotaOfManyVolumes|TestQuotaOfALargeTreeDelaysNoOther)$'

# part PACKAGE PART MOUNT sets which tests run, which not, and how many at once.
part() {
	local mine=$not
	run='' parallel=2
	case "$1 $2" in
	*" all") ;;
	"provisioner/share most") mine+="|$deep|$repeats" ;;
	"provisioner/share users") run=$users ;;
	"provisioner/ledger most") mine+="|$local|$crashes" ;;
	"provisioner/ledger most-and-crashes") mine+="|$local" ;;
	"provisioner/trash most") mine+="|$turns" ;;
	"provisioner stories") mine+="|$crashes|$local" ;;
	"provisioner crashes") run=$crashes parallel=6 ;; # each story has a share of its own, and waits for the server
	"provisioner swaps") run='^TestHostile(ALinkSwappedIn|WhatComesAndGoes|Inventory)' ;;
	"hack/vm/nfscases all-but-outages") mine+="|$outages" ;;
	"hack/vm/nfscases all-but-long-quotas-and-outages") mine+="|$outages|$quotas|$goes_on" ;;
	"hack/vm/nfscases all-but-late-quotas-and-outages") mine+="|$outages|^TestACallArrivesAfterThePathHasANewOwner$|^TestQuota" ;;
	"hack/vm/nfscases clones") run='^TestALargeFileIsCopiedByTheServer$' ;;
	"hack/vm/nfscases outages") run=$outages ;;
	*)
		echo "test-nfs.sh: $1 has no part $2" >&2
		return 1
		;;
	esac
	skip=$mine
	if [[ $3 != plain-* ]]; then skip+="|$late"; fi
}

# every prints the whole matrix, as hack/vm/nfs-runs has it.
every() {
	local fs version kind package
	for kind in plain-root plain-owner; do
		for package in provisioner/{share,ledger,trash} provisioner; do echo "$kind $package all"; done
	done
	for fs in ext4 xfs; do
		for version in v3 v4.1 v4.2; do
			for kind in no_root_squash-root no_root_squash-bare root_squash-owner; do
				for package in provisioner/{share,ledger,trash} provisioner; do echo "$version-$fs-$kind $package all"; done
			done
			echo "$version-$fs hack/vm/nfscases all-but-outages"
			echo "$version-$fs hack/vm/nfscases outages"
		done
	done
}

all='' mounts='*' packages='' tests='' results='' commit=async brief=50
if [ "${1:-}" = --all ]; then
	all=1 commit=sync brief=25
	export CLAIMDIR_TEST_QUOTA_STEP=1 CLAIMDIR_TEST_QUOTA_VOLUMES=1000 CLAIMDIR_TEST_QUOTA_DIRECTORIES=150 CLAIMDIR_TEST_COPY_FILES=80
	shift
fi
while getopts m:p:r:o: option; do
	case $option in
	m) mounts=$OPTARG ;;
	p) packages=$OPTARG ;;
	r) tests=$OPTARG ;;
	o) results=$OPTARG ;;
	*) exit 2 ;;
	esac
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
job=$work/job
mkdir "$job"
results=${results:-$work/results}
mkdir -p "$results"
rm -f "$results/table"

# The runs, a line each: mount, package, part, how many tests at once, which tests, which not.
chosen() {
	if [ -n "$all" ]; then every; else grep -vE '^ *(#|$)' hack/vm/nfs-runs; fi
}
while read -r mount package part; do
	# shellcheck disable=SC2053 # mounts is a pattern
	if ! [[ $mount == $mounts && (-z $packages || " $packages " == *" $package "*) ]]; then continue; fi
	part "$package" "$part" "$mount"
	if [ -n "$tests" ]; then part=chosen run=$tests skip=$not; fi
	printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$mount" "$package" "$part" "$parallel" "${run:-.}" "$skip"
done < <(chosen) | awk '!seen[$0]++' >"$job/runs"
if ! [ -s "$job/runs" ]; then
	echo "test-nfs.sh: no run is on $mounts${packages:+, of $packages}" >&2
	exit 2
fi

build() { # package
	local module=. package=$1 start=$SECONDS
	if [[ $1 == hack/* ]]; then module=hack package=${1#hack/}; fi
	mkdir -p "$job/$1"
	CGO_ENABLED=0 nice go -C "$module" test -c -tags vm -trimpath -ldflags='-s -w' -o "$job/$1/test" "./$package"
	find "$1" -type d -name testdata -exec cp -r --parents {} "$job" \; # a room may read another one's, which lies below it
	echo "built the tests of $1 in $((SECONDS - start)) s"
}
while read -r package; do build "$package"; done < <(cut -f2 "$job/runs" | sort -u)

# The share is mounted as claimdir's own mount is.
options=$(awk '/^  mountOptions:/ { on = 1; next } on && !/^  - / { exit } on { printf "%s%s", comma, $2; comma = "," }' manifests/base/share.yaml)
if [ -z "$options" ]; then
	echo "test-nfs.sh: no mountOptions in manifests/base/share.yaml" >&2
	exit 1
fi
cp hack/vm/guest/{nfs.sh,suites.sh,test-nfs} "$job"
declare -p options commit brief "${!CLAIMDIR_TEST_@}" >"$job/settings" # the tests say what CLAIMDIR_TEST_ENTRIES and others are
chmod -R a+rX "$work"

status=0
if grep -q '^plain-' "$job/runs"; then
	# shellcheck source=hack/vm/guest/nfs.sh
	# shellcheck source=hack/vm/guest/suites.sh
	(. hack/vm/guest/nfs.sh && . hack/vm/guest/suites.sh && on_plain "$job" "$work/plain" "$work/logs") || status=$?
	cp -r "$work/logs/." "$results"
fi
if grep -qv '^plain-' "$job/runs"; then
	# The machine ends with this script, however that ends.
	setpriv --pdeathsig TERM hack/vm/run.sh -t "${LIMIT:-$((all ? 36000 : 3600))}" -o "$results" "$job" ./test-nfs || status=$?
fi
touch "$work/plain" "$results/table"
cat "$work/plain" >>"$results/table"
echo
sort -k 1,2 "$results/table" | awk -F '\t' -v status="$status" -v took="$SECONDS" -v want="$(wc -l <"$job/runs")" '
	BEGIN { printf "%-30s %-19s %-25s %6s %6s %7s %9s %7s\n", "mount", "package", "part", "passed", "failed", "skipped", "NFS calls", "seconds" }
	{ printf "%-30s %-19s %-25s %6d %6d %7d %9d %7.1f  %s\n", $1, $2, $3, $4, $5, $6, $7, $8, $9; passed += $4; bad += $9 != "" }
	END {
		if (bad) why = bad " of " NR " runs"
		else if (status) why = "the machine, exit code " status
		else if (NR != want) why = NR " runs of " want
		print why ? "test-nfs: FAILED: " why ", " took " s" : "test-nfs: all well, " passed " tests in " NR " runs, " took " s"
		exit why != ""
	}'
