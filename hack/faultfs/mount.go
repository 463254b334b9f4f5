package faultfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"claimdir/hack/child"
)

// startGuard starts a process that unmounts once this one has ended, be it by
// kill -9. The kernel would not: a thread of ours that waits for our own answer
// cannot be killed, and as long as it lives, so does what it waits for.
func startGuard(mountpoint string) (*child.Child, error) {
	// The signal comes once for each thread of ours that ends: the next must not
	// end umount.
	cmd := exec.Command("sh", "-c", `trap 'trap "" TERM; exec umount -f -l "$0"' TERM; echo; read -r _`, mountpoint)
	input, err := cmd.StdinPipe() // nobody writes to it
	if err != nil {
		return nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, input.Close())
	}
	guard, err := child.Start(cmd, syscall.SIGTERM)
	if err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	if _, err := output.Read(make([]byte, 1)); err != nil { // it is on its guard
		guard.Kill()
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	return guard, nil
}

// attach mounts what is to be served on the device that it returns.
func attach(backing, mountpoint string) (device int, err error) {
	device, err = unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return 0, fmt.Errorf("/dev/fuse is missing: load the kernel module (modprobe fuse), or give the container that device: %w", err)
	case err != nil:
		return 0, fmt.Errorf("open /dev/fuse, as root and with that device allowed: %w", err)
	}
	// The kernel decides who may do what, from owners and modes, as it does for
	// the directory itself.
	options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d,allow_other,default_permissions", device, unix.S_IFDIR, os.Geteuid(), os.Getegid())
	if err := unix.Mount(backing, mountpoint, "fuse.faultfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return 0, errors.Join(fmt.Errorf("mount, as root: %w", err), unix.Close(device))
	}
	return device, nil
}

// detach fails every call that is under way and takes the mount away, also
// below open files; it waits for nobody.
func detach(mountpoint string) error {
	return unix.Unmount(mountpoint, unix.MNT_FORCE|unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
}

// noPoll has the kernel learn that files cannot be polled. Go's runtime asks that
// of each file it opens, in a way that could keep this process from answering.
// The file is one that go-fuse has for this purpose.
func noPoll(mountpoint string) error {
	fd, err := unix.Open(filepath.Join(mountpoint, ".go-fuse-epoll-hack"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("reach the mount: %w", err)
	}
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) // it was asked: that is all
	return unix.Close(fd)
}
