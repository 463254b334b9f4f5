#!/usr/bin/env bash
# Boots the virtual machine, runs a command in it as root, and exits with its exit code.
#
#   hack/vm/run.sh [-f FLAVOUR] [-m MIB] [-t SECONDS] [-o RESULTS] [-p HOST:GUEST]... JOB [COMMAND...]
#
# The files of the directory JOB are /job in the guest, where COMMAND (words without blanks) starts; its output appears as
# it comes. What it leaves in /results is afterwards in RESULTS. Without a COMMAND there is a shell, on this terminal.
#   -f  image of hack/vm/image.sh (nfs)
#   -m  memory (2048)
#   -t  time limit (600): then the exit code is 124, and the results are still handed back
#   -p  a port of this machine's loopback that reaches one of the guest. Nothing else leaves or enters the guest.
# The exit code is 125 if the machine did not come to run the command, or died. CONSOLE names a file for the kernel's log.
# The image is never written to. A machine whose processors lock up in its kernel, as happens under software emulation once in a
# long while, says where, panics, and is started again, once: the command then runs from its beginning.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

flavour=nfs memory=2048 limit=600 results='' network=user,id=net,restrict=on
while getopts f:m:t:o:p: option; do
	case $option in
	f) flavour=$OPTARG ;;
	m) memory=$OPTARG ;;
	t) limit=$OPTARG ;;
	o) results=$OPTARG ;;
	p) network+=,hostfwd=tcp:127.0.0.1:${OPTARG%:*}-:${OPTARG#*:} ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
job=${1:?a directory for /job}
shift

die() {
	echo "run.sh: $*" >&2
	exit 125
}

# shellcheck source=hack/tools/lib.sh
{ (. "$here/../tools/lib.sh" && need qemu-system-x86_64 qemu-system-x86 && need mke2fs e2fsprogs); } >&2 || exit 125
image=$("$here/image.sh" "$flavour") || exit 125

work=$(mktemp -d)
machine=
# shellcheck disable=SC2317 # the trap calls it
cleanup() {
	if [ -n "$machine" ]; then kill "$machine" 2>/dev/null && wait "$machine"; fi
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

megabytes=$(($(du -sm "$job" | cut -f1) * 11 / 10 + 16))
mke2fs -q -t ext4 -O ^has_journal -d "$job" "$work/job.img" "${megabytes}M" >/dev/null || die "no disk for $job"

console=${CONSOLE:-$work/console}
serial=file:$console
if [ $# = 0 ]; then serial=mon:stdio; fi
# boot runs the machine to its end.
boot() {
	local output
	: >"$work/results.tar"
	: >"$work/status"
	# /dev/stdout opened anew would overwrite a file: qemu gets a pipe.
	exec 3> >(exec cat)
	output=$!
	# Software emulation always: a /dev/kvm that opens need not work. When this script is killed its qemu goes too. tsc: without it
	# the kernel distrusts the processors' clock, which the emulated ones have in common, and asks an emulated chip, 16 us each time.
	# Without AVX programs are faster where it is emulated: TestShare on NFS took 221 s instead of 253.
	# A processor that is stuck for twice watchdog_thresh is a lock-up, and so is a stall of RCU, whose report resets the former.
	setpriv --pdeathsig TERM timeout --foreground --kill-after=5 $((limit + 60)) \
		qemu-system-x86_64 -M q35 -cpu max,-avx,-avx2,-xsave -accel tcg,thread=multi -m "$memory" -smp 2 -nodefaults -display none -no-reboot \
		-kernel "$image/vmlinuz" \
		-append "console=ttyS0 loglevel=5 panic=-1 softlockup_panic=1 softlockup_all_cpu_backtrace=1 watchdog_thresh=20 sysctl.kernel.panic_on_rcu_stall=1 rcupdate.rcu_cpu_stall_timeout=60 mitigations=off tsc=reliable root=/dev/nvme0n1 rw init=/sbin/guest-init LIMIT=$limit -- $*" \
		-drive "if=none,id=root,format=raw,snapshot=on,cache=unsafe,file=$image/root.img" \
		-drive "if=none,id=job,format=raw,snapshot=on,cache=unsafe,file=$work/job.img" \
		-device nvme,id=nvme,serial=1 -device nvme-ns,drive=root,nsid=1 -device nvme-ns,drive=job,nsid=2 \
		-netdev "$network" -device virtio-net-pci,netdev=net,romfile= -serial "$serial" -device virtio-serial \
		-chardev file,id=output,path=/proc/self/fd/3 -device virtserialport,chardev=output,nr=1 \
		-chardev "file,id=results,path=$work/results.tar" -device virtserialport,chardev=results,nr=2 \
		-chardev "file,id=status,path=$work/status" -device virtserialport,chardev=status,nr=3 \
		<&0 &
	machine=$!
	exec 3>&-
	status=0
	wait "$machine" || status=$?
	machine=
	wait "$output"
}

boot "$@"
stuck='BUG: soft lockup|rcu: INFO: .* stall'
if [ ! -s "$work/status" ] && grep -qE "$stuck" "$console" 2>/dev/null; then
	echo "run.sh: the machine's processors locked up in its kernel; it starts again. Where they were:" >&2
	grep -E -m 1 -A 200 "$stuck" "$console" >&2
	boot "$@"
fi
if [ $# = 0 ]; then exit "$status"; fi
if [ -n "$results" ]; then
	mkdir -p "$results"
	tar -C "$results" -xf "$work/results.tar" 2>/dev/null || echo "run.sh: the results are not complete" >&2
fi
if [ ! -s "$work/status" ]; then
	echo "run.sh: the machine ended without a word (qemu: $status); its console:" >&2
	tail -n 30 "$console" >&2
	exit 125
fi
exit "$(cat "$work/status")"
