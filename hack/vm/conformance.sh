#!/usr/bin/env bash
# Runs Kubernetes' own tests of storage against claimdir on a real node in the virtual machine; hack/vm/conformance says how.
#
#   hack/vm/conformance.sh [-focus REGEXP] [-skip REGEXP] [-procs N] [-timeout DURATION] [-results DIRECTORY]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=hack/tools/lib.sh
. hack/tools/lib.sh

need busybox busybox-static # the images that the specs' pods run
start=$SECONDS
go -C hack run ./controlplane/prebuild control-plane snapshot-controller node conformance >/dev/null
hack/vm/image.sh node >/dev/null
echo "conformance: everything is built, $((SECONDS - start)) s"
status=0
nice go -C hack run ./vm/conformance "$@" || status=1
echo "conformance: $((SECONDS - start)) s"
exit "$status"
