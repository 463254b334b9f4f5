#!/usr/bin/env bash
# Builds the image for two architectures and looks inside: entry point, user, architecture, version, and one file in all.
# Everything lives in a temporary directory, images included; the machine's own image storage is not touched.
#   MAIN  package of the binary (default: ./cmd/claimdir)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v buildah >/dev/null; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "image-test.sh: installing buildah"
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends buildah
	else
		echo "image-test.sh: buildah is missing; install it: sudo apt-get install buildah" >&2
		exit 1
	fi
fi

work=$(mktemp -d)
# buildah reads the places from this file, so that image.sh is tested as it is; vfs because it needs no mount of its own.
export CONTAINERS_STORAGE_CONF=$work/storage.conf
cat >"$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "vfs"
graphroot = "$work/root"
runroot = "$work/run"
END
cleanup() {
	buildah rmi --all --force >/dev/null 2>&1 || true
	rm -rf "$work"
}
trap cleanup EXIT

failures=0
expect() { # what, got, wanted
	if [ "$2" != "$3" ]; then
		echo "image-test.sh: $1 is '$2', not '$3'" >&2
		failures=$((failures + 1))
	fi
}

look_inside() { # architecture
	local image=claimdir-test:$1 layers binary
	inspect() { buildah inspect --type image --format "$1" "$image"; }
	expect "$1: architecture" "$(inspect '{{.OCIv1.Architecture}}')" "$1"
	expect "$1: operating system" "$(inspect '{{.OCIv1.OS}}')" linux
	expect "$1: entry point" "$(inspect '{{.OCIv1.Config.Entrypoint}}')" "[/claimdir]"
	expect "$1: command" "$(inspect '{{.OCIv1.Config.Cmd}}')" "[]"
	expect "$1: user" "$(inspect '{{.OCIv1.Config.User}}')" 65532:65532
	expect "$1: version label" "$(inspect '{{index .OCIv1.Config.Labels "org.opencontainers.image.version"}}')" v0.0.0-test

	buildah push --quiet "$image" "dir:$work/$1" # as files: the layers are archives named by their digests
	layers=$(sed -n '/"layers"/,$ s/.*"digest": *"sha256:\([0-9a-f]*\)".*/\1/p' "$work/$1/manifest.json")
	expect "$1: layers" "$(echo "$layers" | wc -w)" 1
	mkdir "$work/$1/files"
	tar -C "$work/$1/files" -xf "$work/$1/$layers"
	binary=$work/$1/files/claimdir
	expect "$1: content" "$(cd "$work/$1/files" && find . ! -type d | sort | tr '\n' ' ')" "./claimdir "
	expect "$1: mode" "$(stat -c %a "$binary")" 755
	expect "$1: binary's architecture" "$(go version -m "$binary" | sed -n 's/.*GOARCH=//p')" "$1"
	expect "$1: cgo" "$(go version -m "$binary" | sed -n 's/.*CGO_ENABLED=//p')" 0
	if [ "$1" = "$(go env GOHOSTARCH)" ]; then
		case $("$binary" --version 2>&1) in
		*v0.0.0-test*) ;;
		*) expect "$1: --version" "$("$binary" --version 2>&1)" "a line with v0.0.0-test" ;;
		esac
	fi
}

for arch in amd64 arm64; do
	ARCH=$arch VERSION=v0.0.0-test IMAGE=claimdir-test:$arch CONTAINER_TOOL=buildah hack/image.sh
	look_inside "$arch"
done
# An image for one architecture does not take the tag of another's.
if said=$(ARCH=arm64 VERSION=v0.0.0-test IMAGE=claimdir-test:amd64 CONTAINER_TOOL=buildah hack/image.sh 2>&1); then
	expect "arm64 with the tag of amd64" built refused
fi
case $said in
*"claimdir-test:amd64 is an image for amd64: give the one for arm64 another tag, such as IMAGE=claimdir-test:amd64-arm64"*) ;;
*) expect "what is said of a tag that is taken" "$said" "that the image is for amd64" ;;
esac
expect "the tag of amd64" "$(buildah inspect --type image --format '{{.OCIv1.Architecture}}' claimdir-test:amd64)" amd64
# The same again is no matter.
ARCH=amd64 VERSION=v0.0.0-test IMAGE=claimdir-test:amd64 CONTAINER_TOOL=buildah hack/image.sh >/dev/null
if [ "$failures" != 0 ]; then
	echo "image-test.sh: $failures failed" >&2
	exit 1
fi
echo "image-test.sh: the images for amd64 and arm64 are as they should be"
