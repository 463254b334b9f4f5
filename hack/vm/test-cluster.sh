#!/usr/bin/env bash
# Runs claimdir on a real node in the virtual machine, and the table of cases of hack/vm/cluster one by one.
#
#   hack/vm/test-cluster.sh [--all] [GO TEST FLAGS...]      such as -run TestCluster/nonroot
#
#   --all  the cases, too, that CI has no time for
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=hack/tools/lib.sh
. hack/tools/lib.sh

all=''
if [ "${1:-}" = --all ]; then
	all=-all
	shift
fi
need busybox busybox-static # the image that the tests' pods run
start=$SECONDS
go -C hack run ./controlplane/prebuild control-plane snapshot-controller node helm >/dev/null
hack/vm/image.sh node >/dev/null
echo "test-cluster: everything is built, $((SECONDS - start)) s"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
go -C hack test -tags vm -count=1 -v -timeout 120m -parallel 3 "$@" ./vm/cluster ${all:+-args "$all"} 2>&1 | tee "$log" |
	grep --line-buffered -vE '^=== (RUN|PAUSE|CONT|NAME) ' || status=1
if grep -E '^ *--- SKIP' "$log"; then
	echo "test-cluster: a test was skipped" >&2
	status=1
fi
if ! grep -qE '^ *--- PASS: TestCluster' "$log"; then status=1; fi
echo "test-cluster: $(grep -cE '^ {12}--- PASS|^ {8}--- PASS' "$log") passed, $(grep -cE '^ *--- FAIL' "$log") failed, $((SECONDS - start)) s"
exit "$status"
