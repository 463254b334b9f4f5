#!/usr/bin/env bash
# Builds the virtual machine's image from this machine's own Debian sources, once, and prints its directory, which holds
# vmlinuz and root.img. It is built again when this file, guest/init or the sources change.
#
#   hack/vm/image.sh [nfs|node]
#
# nfs is a kernel with NFS, server and client, and its file systems; node adds what a Kubernetes node needs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=hack/tools/lib.sh
. "$here/../tools/lib.sh"

flavour=${1:-nfs}
packages=nfs-kernel-server,nfs-common,xfsprogs,e2fsprogs,quota,iproute2,kmod,procps,mount,netbase
case $flavour in
nfs) ;;
node) packages+=,containerd,runc,containernetworking-plugins,iptables,conntrack,ca-certificates,openssh-server ;;
*)
	echo "image.sh: the flavours are nfs and node, not $flavour" >&2
	exit 2
	;;
esac
size=4G # sparse

say() { echo "image.sh: $*" >&2; }

# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
# Of the machine's sources those of Debian itself, and no one else's.
sources=$(grep -lsE "(^|[[:space:]])$suite([[:space:]-]|\$)" /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} || true)
if [ -z "$sources" ]; then
	say "no Debian sources for $suite in /etc/apt"
	exit 1
fi
# shellcheck disable=SC2086 # a list of files
hash=$(cat "${BASH_SOURCE[0]}" "$here/guest/init" $sources | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/claimdir/vm
image=$cache/$flavour-$hash

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9 # another build of the same image is worth waiting for
if [ -d "$image" ]; then
	touch "$image"
	echo "$image"
	exit
fi

if [ "$(id -u)" != 0 ]; then
	say "building the image takes root: sudo $0 $flavour"
	exit 1
fi
{
	need mmdebstrap mmdebstrap
	need mke2fs e2fsprogs
} >&2
# What a killed build left, and images that nobody used for a month.
find "$cache" -mindepth 1 -maxdepth 1 \( -name 'new.*' -o -name '*-*' -mtime +30 \) -exec rm -rf --one-file-system {} +
new=$(mktemp -d "$cache/new.XXXXXX")
trap 'rm -rf --one-file-system "$new"' EXIT
chmod 755 "$new"

say "building $flavour from Debian $suite, into $image"
# Unpacked by hand, the kernel needs no initramfs: Debian's cloud kernel has NVMe and ext4 built in.
# shellcheck disable=SC2016 # mmdebstrap expands $1, the root
kernel='set -eu; cd "$1/../"; export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
	name=$(apt-cache depends linux-image-cloud-amd64 | sed -n "s/.*Depends: \(linux-image-\)/\1/p")
	apt-get -q -o APT::Sandbox::User=root download "$name"
	dpkg -x ./linux-image-*.deb kernel
	mv kernel/boot/vmlinuz-* vmlinuz; mv kernel/lib/modules "$1/usr/lib/"
	chroot "$1" depmod -a "${name#linux-image-}"'
start=$SECONDS
# In a mount namespace of its own, so that a killed build leaves nothing mounted.
# shellcheck disable=SC2086 # a list of files
nice unshare --mount mmdebstrap --mode=root --variant=minbase --include="$packages" \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' --customize-hook="$kernel" \
	"$suite" "$new/tree" $sources >&2
install -m 755 "$here/guest/init" "$new/tree/sbin/guest-init"
say "writing the file system"
nice mke2fs -q -t ext4 -O ^has_journal -d "$new/tree" "$new/root.img" "$size" >&2
rm -rf --one-file-system "$new/tree" "$new/kernel" "$new"/*.deb
mv -T "$new" "$image"
say "built in $((SECONDS - start)) s, $(du -sh "$image" | cut -f1)"
echo "$image"
