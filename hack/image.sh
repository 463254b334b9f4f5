#!/usr/bin/env bash
# Builds the claimdir binary and a container image around it, with whichever of docker, podman and buildah works here. The image
# stays in that tool's storage: pushing it is up to you. A tag holds one architecture; that of another one is never replaced.
#
#   ARCH=arm64 IMAGE=registry.example.com/claimdir:v1-arm64 hack/image.sh
#
#   ARCH            architecture of the image: amd64, arm64, arm, ppc64le, s390x (default: this machine's)
#   VERSION         what --version says and the image's label (default: git describe)
#   IMAGE           name and tag of the image (default: claimdir:VERSION, and claimdir:VERSION-ARCH for another machine's)
#   CONTAINER_TOOL  docker, podman or buildah (default: the first of them that works)
#   ARCHIVE         a file to write the image to as well, for "docker load" or "ctr image import"
#   MAIN            package of the binary (default: ./cmd/claimdir)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ARCH=${ARCH:-$(go env GOARCH)}
VERSION=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo v0.0.0-unknown)}
if [ "$ARCH" = "$(go env GOHOSTARCH)" ]; then IMAGE=${IMAGE:-claimdir:$VERSION}; else IMAGE=${IMAGE:-claimdir:$VERSION-$ARCH}; fi
MAIN=${MAIN:-./cmd/claimdir}
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)

die() {
	echo "image.sh: $*" >&2
	exit 1
}

works() { # a docker client without its daemon is installed, but of no use
	command -v "$1" >/dev/null && timeout 30 "$1" info >/dev/null 2>&1
}

pick_tool() {
	local tool
	for tool in docker podman buildah; do
		if works "$tool"; then
			echo "$tool"
			return
		fi
	done
	# On a bare Debian machine buildah is one package and needs no daemon.
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "image.sh: no docker, podman or buildah works here: installing buildah" >&2
		{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends buildah; } >&2 ||
			die "could not install buildah"
		echo buildah
		return
	fi
	die "no docker, podman or buildah works here; install one, e.g.: sudo apt-get install buildah"
}

# check_tag: an image of one architecture does not replace one of another. The build would only move the tag, without a word.
check_tag() {
	local there
	case $tool in
	docker | podman) there=$("$tool" image inspect --format '{{.Architecture}}' "$IMAGE" 2>/dev/null) || return 0 ;;
	*) there=$("$tool" inspect --type image --format '{{.OCIv1.Architecture}}' "$IMAGE" 2>/dev/null) || return 0 ;;
	esac
	if [ "$there" != "$ARCH" ]; then
		die "$IMAGE is an image for $there: give the one for $ARCH another tag, such as IMAGE=${IMAGE%-"$there"}-$ARCH, or remove the other one"
	fi
}

tool=${CONTAINER_TOOL:-$(pick_tool)}
platform=linux/$ARCH
if [ "$ARCH" = arm ]; then platform=linux/arm/v7; fi

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT

echo "image.sh: building the binary for $platform, version $VERSION"
CGO_ENABLED=0 GOOS=linux GOARCH=$ARCH GOARM=7 \
	go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o "$context/claimdir" "$MAIN"
chmod 0755 "$context" "$context/claimdir" # whatever the umask: another uid than ours will run it

echo "image.sh: building $IMAGE with $tool"
arguments=(--file Dockerfile --platform "$platform" --tag "$IMAGE"
	--build-arg "VERSION=$VERSION" --build-arg "REVISION=$revision")
by=$tool
case $tool in
docker | podman)
	check_tag
	"$tool" build "${arguments[@]}" "$context"
	;;
buildah)
	# There is no RUN to isolate; chroot asks for the least of the machine, so that this works inside a container too.
	# Where the default storage driver cannot mount, vfs always can, and for one file it costs nothing.
	check_tag
	if ! "$tool" build --isolation chroot "${arguments[@]}" "$context"; then
		echo "image.sh: once more, with the storage driver vfs"
		export STORAGE_DRIVER=vfs
		check_tag
		"$tool" build --isolation chroot "${arguments[@]}" "$context"
		by="STORAGE_DRIVER=vfs buildah"
	fi
	;;
*) die "CONTAINER_TOOL is docker, podman or buildah, not $tool" ;;
esac
if [ -n "${ARCHIVE:-}" ]; then
	rm -f "$ARCHIVE"
	case $tool in
	docker | podman) "$tool" save --output "$ARCHIVE" "$IMAGE" ;;
	buildah) "$tool" push --quiet "$IMAGE" "docker-archive:$ARCHIVE:$IMAGE" ;;
	esac
	echo "image.sh: wrote $ARCHIVE"
fi
echo "image.sh: built $IMAGE for $platform; it was not pushed. To push it: $by push $IMAGE"
