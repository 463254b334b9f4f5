package share

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// LockMeta lets only one process of this machine work on the share's project ids. The error is
// ErrAtWork if another one does. The lock lasts until unlock, or until the process ends.
func (s *Share) LockMeta() (unlock func(), err error) {
	root, err := s.openRoot()
	if err != nil {
		return nil, err
	}
	defer s.done(root)
	meta, err := root.open(metaDir, toRead)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", metaDir, plain(err))
	}
	if err := lock(meta.file); err != nil {
		meta.close()
		return nil, fmt.Errorf("lock %s: %w", metaDir, plain(err))
	}
	return meta.close, nil
}

// lock fails with ErrAtWork if another process, or another open file of this one, has the lock.
func lock(file *os.File) error {
	_, err := retryInterrupted(func() (int, error) { return 0, unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrAtWork
	}
	return err
}

// quotaLocks is the directory in which processes on one server find each other, with a file for each
// file system. It is on none of them: of one that is exported by bind mounts, two shares see no
// directory in common.
const quotaLocks = "/run/claimdir-quota"

// AloneOnFileSystem calls do while no other process of this machine does the same for a share on the
// same file system, whatever the mounts are through which they see it: two shares there have their
// project ids from one range. It waits up to ten seconds for the other one, and returns ErrAtWork
// after that.
func (s *Share) AloneOnFileSystem(ctx context.Context, do func() error) error {
	return s.aloneBy(ctx, quotaLocks, do)
}

// aloneBy is AloneOnFileSystem with a directory for the locks.
func (s *Share) aloneBy(ctx context.Context, locks string, do func() error) error {
	file, err := s.openLock(locks)
	if err != nil {
		return fmt.Errorf("lock the file system: %w", err)
	}
	defer func() { _ = file.Close() }() // this unlocks it; it stays, because another process may wait for it
	err = lock(file)
	for tries := 0; errors.Is(err, ErrAtWork) && tries < 100; tries++ {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
		err = lock(file)
	}
	if err != nil {
		return fmt.Errorf("lock the file system: %w", plain(err))
	}
	return do()
}

// openLock opens the lock of the share's file system, which has the number of its device as its name:
// that is the same through every mount of an XFS or ext4.
func (s *Share) openLock(locks string) (*os.File, error) {
	root, err := s.openRoot()
	if err != nil {
		return nil, err
	}
	defer s.done(root)
	stat, err := root.self()
	if err != nil {
		return nil, unreachable(err)
	}
	device := uint64(stat.Dev) //nolint:unconvert // types differ between architectures
	name := fmt.Sprintf("%d:%d", unix.Major(device), unix.Minor(device))
	return s.opens("open the lock of the file system", func() (*os.File, error) { return openLockIn(locks, name) })
}

// openLockIn opens a file in the directory of the locks, and makes both if needed. Nobody else may
// write to that directory, who could replace a lock that is held.
func openLockIn(locks, name string) (*os.File, error) {
	if err := os.Mkdir(locks, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make %s: %w; a unit of systemd is let by RuntimeDirectory=, as docs/quota.md says", locks, plain(err))
	}
	dir, err := openNoFollow(unix.AT_FDCWD, locks, toRead)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", locks, err)
	}
	defer func() { _ = dir.Close() }()
	var stat unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &stat); err != nil {
		return nil, fmt.Errorf("look at %s: %w", locks, err)
	}
	if int(stat.Uid) != unix.Geteuid() || stat.Mode&0o022 != 0 {
		return nil, fmt.Errorf("%s is of user %d with mode %#o, and must be this user's, and nobody else may write to it: remove it", locks, stat.Uid, stat.Mode&0o7777)
	}
	fd, err := retryInterrupted(func() (int, error) {
		return unix.Openat(int(dir.Fd()), name, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return nil, fmt.Errorf("open %s/%s: %w", locks, name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
