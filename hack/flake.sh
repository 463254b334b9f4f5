#!/usr/bin/env bash
# Runs a stage of the Makefile N times, or another command, and counts: whether a test fails now and then shows only so.
#
#   hack/flake.sh [-x] N [STAGE|COMMAND...]      such as: hack/flake.sh 20 test
#                                                         hack/flake.sh 50 go test -count=1 ./provisioner/trash
#
#   -x  end after the first failure
#
# One word is a target of the Makefile (test). The output of each run that failed is kept, and its place is printed with the
# names of the tests that failed. The exit code is 1 if a run failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=hack/tools/lib.sh
. hack/tools/lib.sh

usage() {
	sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
	exit 2
}

first=
while getopts x option; do
	case $option in
	x) first=1 ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
runs=${1:-}
if ! [[ $runs =~ ^[1-9][0-9]*$ ]]; then usage; fi
shift
case $# in
0) set -- make test ;;
1) set -- make "$1" ;;
esac

logs=$(mktemp -d "${TMPDIR:-/tmp}/claimdir-flake-XXXXXX")
passed=0 broken=0
tell() {
	echo "flake: $*: $passed passed, $broken failed of $runs, $SECONDS s"
	if [ "$broken" = 0 ]; then
		rm -rf "$logs"
		return
	fi
	echo "these tests failed, each in so many runs:"
	for log in "$logs"/*.log; do failed_tests "$log"; done | sort | uniq -c | sort -rn
	echo "the logs are in $logs"
}
trap 'tell "$*"; exit 130' INT TERM

for ((run = 1; run <= runs; run++)); do
	start=$SECONDS status=0 log=$logs/$run.log
	"$@" >"$log" 2>&1 </dev/null || status=$?
	if [ $status = 0 ]; then
		passed=$((passed + 1))
		rm -f "$log"
		echo "run $run: ok, $((SECONDS - start)) s"
		continue
	fi
	broken=$((broken + 1))
	echo "run $run: FAILED, exit code $status, $((SECONDS - start)) s: $(failed_tests "$log" | head -n 5 | paste -sd ' ')"
	if [ -n "$first" ]; then break; fi
done
tell "$*"
[ "$broken" = 0 ]
