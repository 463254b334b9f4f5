#!/bin/bash
# In the guest, as systemctl: the specs that stop kubelet know no other way to do it, and there is no systemd.
set -euo pipefail
case "$*" in
"start kubelet" | "stop kubelet") /job/kubelet "$1" ;;
"show kubelet --property ActiveState --value") if /job/kubelet running; then echo active; else echo inactive; fi ;;
*)
	echo "systemctl: not here: $*" >&2
	exit 2
	;;
esac
