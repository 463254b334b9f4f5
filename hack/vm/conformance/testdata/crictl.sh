#!/bin/bash
# In the guest, as crictl: the two calls of the spec that remounts a stale subpath, by way of containerd's own client.
set -euo pipefail

stopped() { ! ctr -n k8s.io task ls | grep -q "^$1 .*RUNNING"; }

case "$1 $# ${2:-}" in
"ps 6 --label") # UID-LABEL --name NAME -q
	ctr -n k8s.io container ls -q "labels.\"${3%%=*}\"==${3#*=},labels.\"io.kubernetes.container.name\"==$5"
	;;
"stop 2 "*)
	for signal in SIGTERM SIGKILL; do
		ctr -n k8s.io task kill -s $signal "$2"
		for _ in {1..20}; do
			if stopped "$2"; then exit; fi
			sleep 0.5
		done
	done
	echo "crictl: $2 does not stop" >&2
	exit 1
	;;
*)
	echo "crictl: not here: $*" >&2
	exit 2
	;;
esac
