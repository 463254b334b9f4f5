#!/usr/bin/env bash
# Runs every suite that touches a share on kernel NFS in the virtual machine: on NFSv3, v4.1 and v4.2 mounts of ext4 exports
# and NFSv3 and v4.2 mounts of XFS exports, mounted as manifests/base says, beside a plain directory; and on each the cases that only NFS has
# (hack/vm/nfscases). Fails if a test fails or is skipped, and if a run has no tests, leaves something behind, or does not
# reach its mount.
#
#   hack/vm/test-nfs.sh [-m MOUNTS] [-p PACKAGES] [-r TESTS] [-o RESULTS]
#
#   -m  mounts, as a shell pattern: 'v4.2-xfs-root_squash-owner', 'v3-*', 'plain-*' (all)
#   -p  packages, in one word (all)
#   -r  tests, as for go test -run (all)
#   -o  directory for the full output of each run
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Packages whose tests use a share: t.TempDir gives it to them.
packages="
provisioner/share
provisioner/ledger
provisioner/trash
provisioner
hack/vm/nfscases
"
# These read the source code, which the machine does not have, or let calls hang inside the program, to which the share makes no
# difference; make test-unit runs them.
not='^(TestImports|TestPackageDocs|TestA.*AnsweredTooLate.*|TestALateRepeat.*)$'

# These swap links and directories as fast as they can, for eight minutes: one mount has them.
hostile='^(Test|Fuzz)Hostile'

# These kill an operation at each of its calls, let one come late, or race round after round; the calls do not depend on the
# server: v3 has them; nfscases has late calls on each version.
crashes='CutOff|LikeAnyOther$|^TestAKillAnywhere|^TestOfTwoClusters|^TestOfTwoClaims|^TestAnArchiveExpiresOrIsRestored|BelowOneParent|^TestACallThatComesLate|^TestARemovalThatIsKilled'

# Of the late calls, which are thousands and which make test-unit has all of, a mount has some operations, as the process goes on
# and the path is that of a claim beside it.
late='^TestACallThatComesLate/^(adopt|expire|purge|remove|fix|look|put|bring|provision,_[gt]|(take_over|archive|retain|restore),|.*_of_nothing)|^TestACallThatComesLate/./(_ends,|_empty,|another_)'

mounts='*' tests='' results=''
while getopts m:p:r:o: option; do
	case $option in
	m) mounts=$OPTARG ;;
	p) packages=$OPTARG ;;
	r) tests=$OPTARG ;;
	o) results=$OPTARG ;;
	*) exit 2 ;;
	esac
done
packages=$(xargs <<<"$packages")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
job=$work/job
results=${results:-$work/results}

build() { # package
	local module=. package=$1 start=$SECONDS
	if [[ $1 == hack/* ]]; then module=hack package=${1#hack/}; fi
	mkdir -p "$job/$1"
	CGO_ENABLED=0 nice go -C "$module" test -c -tags vm -trimpath -ldflags='-s -w' -o "$job/$1/test" "./$package"
	find "$1" -type d -name testdata -exec cp -r --parents {} "$job" \; # a room may read another one's, which lies below it
	echo "built the tests of $1 in $((SECONDS - start)) s"
}
for package in $packages; do build "$package"; done

# The share is mounted as claimdir's own mount is.
options=$(awk '/^  mountOptions:/ { on = 1; next } on && !/^  - / { exit } on { printf "%s%s", comma, $2; comma = "," }' manifests/base/share.yaml)
if [ -z "$options" ]; then
	echo "test-nfs.sh: no mountOptions in manifests/base/share.yaml" >&2
	exit 1
fi
cp hack/vm/guest/{nfs.sh,test-nfs} "$job"
declare -p packages mounts tests not hostile crashes late options >"$job/settings"
chmod -R a+rX "$job"

status=0
# The machine ends with this script, however that ends.
setpriv --pdeathsig TERM hack/vm/run.sh -t "${LIMIT:-4200}" -o "$results" "$job" ./test-nfs || status=$?
touch "$results/table"
echo
awk -F '\t' -v status="$status" -v took="$SECONDS" '
	BEGIN { printf "%-30s %-18s %7s %7s %7s %9s %7s\n", "mount", "package", "passed", "failed", "skipped", "NFS calls", "seconds" }
	{ printf "%-30s %-18s %7d %7d %7d %9d %7.1f  %s\n", $1, $2, $3, $4, $5, $6, $7, $8; passed += $3; bad += $8 != "" }
	END {
		if (!NR) why = "nothing was run"
		else if (bad) why = bad " of " NR " runs"
		else if (status) why = "the machine, exit code " status
		print why ? "test-nfs: FAILED: " why ", " took " s" : "test-nfs: all well, " passed " tests in " NR " runs, " took " s"
		exit why != ""
	}' "$results/table"
