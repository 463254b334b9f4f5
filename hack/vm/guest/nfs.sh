# shellcheck shell=bash
# Sourced in the guest. Two file systems, one of which can ignore the case of names, two exports on each, and this machine
# as the client of its own server; a second client for each, with a network and a host name of its own, stands for another node.

# The user of the suites on root_squash exports, and the owner of these.
user=1000

# nfs_server sync|async makes the file systems and starts the server. With async it answers before its disk has what it was told,
# which is the same to a client as long as the machine does not crash.
nfs_server() {
	local fs squash id=1
	modprobe -a loop xfs nfsd nfsv3 nfsv4 veth sch_ingress
	truncate -s 700M /tmp/ext4.img /tmp/xfs.img # on tmpfs: the emulated disk is the slowest part
	mkfs.ext4 -q -O casefold -E nodiscard /tmp/ext4.img
	mkfs.xfs -q -K /tmp/xfs.img
	: >/etc/exports
	for fs in ext4 xfs; do
		mkdir -p /srv/$fs
		mount -o loop /tmp/$fs.img /srv/$fs
		for squash in no_root_squash root_squash; do
			mkdir /srv/$fs/$squash
			echo "/srv/$fs/$squash *(rw,$1,no_subtree_check,$squash,fsid=$((id++)))" >>/etc/exports
		done
		chown $user:$user /srv/$fs/root_squash
		ip netns add other-$fs
		ip -n other-$fs link set lo up
	done
	# The first clsact of the machine makes the kernel change its code for received packets, and the last one changes it back.
	# Under emulation a processor that is just there may stand still for ever. With this one no other is first or last.
	tc -n other-ext4 qdisc add dev lo clsact

	mount -t nfsd nfsd /proc/fs/nfsd
	mkdir -p /var/lib/nfs/rpc_pipefs
	mount -t rpc_pipefs rpc_pipefs /var/lib/nfs/rpc_pipefs
	rpcbind -w
	nfsdcld
	rpc.statd --no-notify
	exportfs -ra
	nfs_start
	rpc.mountd

	for fs in ext4 xfs; do
		ip link add here-$fs type veth peer name there netns other-$fs
		ip address add "$(nfs_network $fs).1/24" dev here-$fs
		ip link set here-$fs up
		ip -n other-$fs address add "$(nfs_network $fs).2/24" dev there
		ip -n other-$fs link set there up
	done
}

# nfs_network FILESYSTEM prints the network that the machine and the second client of this file system have in common.
nfs_network() {
	case $1 in
	ext4) echo 10.77.1 ;;
	xfs) echo 10.77.2 ;;
	esac
}

# The default of 90 s is how long NFSv4 clients may take to come back after a restart.
nfs_start() { rpc.nfsd --grace-time 10 --lease-time 10 8; }

# nfs_mount VERSION EXPORT DIRECTORY [OPTION] mounts an export such as ext4/root_squash.
nfs_mount() {
	mkdir -p "$3"
	mount -t nfs -o "vers=${1#v}${4:+,$4}" 127.0.0.1:/srv/"$2" "$3"
}

# nfs_mount_other does the same as the second client of the file system.
nfs_mount_other() {
	local fs=${2%%/*}
	mkdir -p "$3"
	nsenter --net="/run/netns/other-$fs" unshare --uts sh -c "hostname other-$fs && exec \"\$@\"" sh \
		mount -t nfs -o "vers=${1#v},nolock${4:+,$4}" "$(nfs_network "$fs").1:/srv/$2" "$3"
}

# nfs_umount DIRECTORY adds the calls of the mount to the file NFS_CALLS, and unmounts it.
nfs_umount() {
	nfs_calls "$1" >>"${NFS_CALLS:-/dev/null}"
	umount "$1" || umount -l "$1"
}

# nfs_calls DIRECTORY prints how many calls were made for the mount there.
nfs_calls() {
	awk -v dir="$1" '$1 == "device" { on = $5 == dir } on && $1 ~ /^[A-Z0-9_]+:$/ { n += $2 } END { print n + 0 }' /proc/self/mountstats
}
