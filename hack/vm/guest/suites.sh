# shellcheck shell=bash
# Sourced after nfs.sh by test-nfs in the guest, and by test-nfs.sh for what runs on a plain directory: a test binary as a user on a
# directory, and a line for it in a table: mount, package, part, passed, failed, skipped, NFS calls, seconds, and what is wrong.

: "${user:?comes from nfs.sh}"
: "${brief=}" # the caller sets it

seconds() { awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f", to - from }'; }

count() { grep -c "^ *--- $1:" "$2" || true; } # RESULT LOG

# as USER COMMAND... runs the command as root, as the owner of the root_squash exports, or as uid 0 without capabilities, as
# claimdir runs in a cluster: the server takes it for root, and the client does not.
as() {
	case $1 in
	root) "${@:2}" ;;
	owner) setpriv --reuid "$user" --regid "$user" --clear-groups "${@:2}" ;;
	bare) setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "${@:2}" ;;
	esac
}

# suite MOUNT PACKAGE PART PARALLEL RUN SKIP DIRECTORY USER TABLE LOGS: one run; says how it went, and what failed. $PACKAGE/test is
# there; $brief says at each how many-th place a story is cut off. The calls are those of the mount of the directory, and what the
# tests count themselves for mounts of their own.
suite() {
	local mount=$1 package=$2 part=$3 dir=$7 who=$8 table=$9 log=${10}/$1/${2//\//.}.$3.log start=$EPOCHREALTIME
	local before calls took status=0 passed failed skipped left wrong='' counted
	mkdir -p "$(dirname "$log")"
	counted=$(mktemp)
	before=$(nfs_calls "$dir")
	(
		cd "$package"
		export TMPDIR=$dir CLAIMDIR_TEST_BRIEF=$brief NFS_MOUNT=$mount NFS_OPTIONS=$options NFS_CALLS=$counted
		as "$who" ./test -test.v -test.timeout=40m -test.parallel="$4" -test.run="$5" -test.skip="$6"
	) >"$log" 2>&1 </dev/null || status=$?
	calls=$(($(nfs_calls "$dir") - before + $(awk '{ n += $1 } END { print n + 0 }' "$counted"))) took=$(seconds "$start")
	rm -f "$counted"
	passed=$(count PASS "$log") failed=$(count FAIL "$log") skipped=$(count SKIP "$log")
	left=$(ls -A "$dir")

	if [ $status != 0 ]; then
		wrong="exit code $status"
	elif [ "$skipped" != 0 ]; then
		wrong="skipped tests"
	elif [ "$passed" = 0 ]; then
		wrong="no tests"
	elif [[ $mount != plain-* && $calls -lt $passed ]]; then # renewals of a lease alone are calls too
		wrong="did not reach the mount"
	elif [ -n "$left" ]; then
		wrong="left behind: ${left//$'\n'/ }"
	fi
	printf '%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n' "$mount" "$package" "$part" "$passed" "$failed" "$skipped" "$calls" "$took" "$wrong" >>"$table"
	echo "$mount, $package, $part: ${wrong:-ok}, $took s"
	if [ -z "$wrong" ]; then return; fi
	# Without the log lines of the program and what passed.
	grep -vE '^(=== (RUN|PAUSE|CONT|NAME)|[IW][0-9]{4} | *--- PASS)' "$log" | head -n 200 | cut -c-500 || true
	return 1
}

# on_plain JOB TABLE LOGS runs the runs on plain directories, on this machine.
on_plain() {
	local mount package part parallel run skip dir bad=0
	options=''
	cd "$1" || return
	mkdir -p "$3"
	while IFS=$'\t' read -r mount package part parallel run skip; do
		if [[ $mount != plain-* ]]; then continue; fi
		if [ "$(id -u)" != 0 ]; then # whoever this is, it is not root
			as() { "${@:2}"; }
			if [ "$mount" = plain-root ]; then
				echo "$mount: this takes root"
				return 1
			fi
		fi
		dir=$(mktemp -d)
		chmod 755 "$dir"
		mkdir "$dir/share"
		if [[ $mount == plain-owner && $(id -u) == 0 ]]; then chown "$user:$user" "$dir/share"; fi
		suite "$mount" "$package" "$part" "$parallel" "$run" "$skip" "$dir/share" "${mount#plain-}" "$2" "$3" || bad=1
		rm -rf --one-file-system "$dir"
	done <"$1/runs"
	return $bad
}
