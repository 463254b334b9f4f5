package share

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

const (
	// partSize is the size in bytes from which on a file is made in the directory of parts, so that a repeat goes on
	// in the middle of it.
	partSize = 4 << 20
	// attempts is how often a file is copied that somebody is changing.
	attempts = 4
	// leastStep is how many bytes are copied, at least, before a part notes how much of it is complete.
	leastStep = 4 << 20
)

// copySmall makes a file under its own name.
func (c *copying) copySmall(e *copyEntry) error {
	in, err := c.openSource(e)
	if err != nil {
		return err
	}
	defer c.closeSource(e, in)
	out, err := c.createCopy(e.in.target, e.name, e.stat.Mode&0o777|newMode)
	if err != nil {
		return err
	}
	return c.closing(out, func() error {
		m := made{fd: out}
		stat, err := c.lookAtMade(m)
		if err != nil {
			return err
		}
		m.stat = &stat
		if err := c.fill(e, in, out, nil); err != nil {
			return err
		}
		return c.giveAll(e, in, m)
	})
}

// openSource opens a pinned regular file for reading, so that the time of access stays as it is if we may ask for that.
func (c *copying) openSource(e *copyEntry) (in int, err error) {
	if e.opened >= 0 {
		return e.opened, nil
	}
	open := func(how int) (int, error) {
		return c.opens(c.from, func() (int, error) {
			return unix.Open(fmt.Sprintf("/proc/self/fd/%d", e.pinned), how|unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		})
	}
	err = unix.EPERM
	if c.noAtime.has() {
		in, err = open(unix.O_NOATIME)
	}
	if errors.Is(err, unix.EPERM) {
		c.noAtime.refused(err)
		in, err = open(0)
	}
	if errors.Is(err, fs.ErrPermission) {
		return -1, c.unreadable(e.in, e.name, e.stat.Uid, err)
	}
	if err != nil {
		return -1, err
	}
	return in, nil
}

func (c *copying) closeSource(e *copyEntry, in int) {
	if in != e.opened {
		closeRead(in)
	}
}

// newMode is the mode of a file of the copy that is not complete, at least.
const newMode = 0o600

// createCopy creates a regular file of the copy. Nobody else can reach it, whatever its mode: .claimdir is ours alone.
func (c *copying) createCopy(in int, name string, mode uint32) (int, error) {
	return c.opens(c.to, func() (int, error) {
		return unix.Openat(in, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	})
}

// closing calls do and closes a file of the copy. Some file systems report only then that content could not be written.
func (c *copying) closing(out int, do func() error) error {
	err := do()
	if closed := unix.Close(out); err == nil && !errors.Is(closed, unix.EINTR) {
		err = closed
	}
	return err
}

// fill copies the content of a file. If somebody has changed the file meanwhile, fill copies it again, and at last counts it as
// changed. The entry then has the attributes of the file of which the content was copied. part is nil for a file that is
// made under its own name.
func (c *copying) fill(e *copyEntry, in, out int, part *part) error {
	from := int64(0)
	if part != nil {
		from = part.offset
	}
	for attempt := 1; ; attempt++ {
		if err := c.copyContent(&content{in: in, out: out, stat: e.stat, from: from, part: part, name: e.in.at(e.name)}); err != nil {
			return err
		}
		now, err := c.lookAgain(in, e.stat)
		if err != nil {
			return err
		}
		if isSameVersion(&now, e.stat) {
			return c.flush(out)
		}
		if attempt == attempts {
			c.changed(e.in, e.name)
			return c.flush(out)
		}
		*e.stat, from = now, 0
		if err := c.target(func() error { return unix.Ftruncate(out, 0) }); err != nil {
			return err
		}
		if part != nil {
			if err := part.restart(&now); err != nil {
				return err
			}
		}
	}
}

func isSameVersion(a, b *unix.Stat_t) bool {
	return a.Size == b.Size && a.Mtim == b.Mtim && a.Ctim == b.Ctim
}

// lookAgain returns the attributes of a file after it was copied. It asks for those that tell a version first: an NFS client has
// them, but not the time of access, which reading has changed. They may be old ones, so that the server is asked about a file whose
// copy takes a while.
func (c *copying) lookAgain(in int, before *unix.Stat_t) (now unix.Stat_t, err error) {
	how := unix.AT_EMPTY_PATH
	if before.Size > smallSize {
		how |= unix.AT_STATX_FORCE_SYNC
	}
	var fresh unix.Statx_t
	err = c.source(func() error {
		return unix.Statx(in, "", how, unix.STATX_SIZE|unix.STATX_MTIME|unix.STATX_CTIME, &fresh)
	})
	now = *before
	now.Size = int64(fresh.Size)
	now.Mtim = unix.NsecToTimespec(fresh.Mtime.Sec*1e9 + int64(fresh.Mtime.Nsec))
	now.Ctim = unix.NsecToTimespec(fresh.Ctime.Sec*1e9 + int64(fresh.Ctime.Nsec))
	if err == nil && isSameVersion(&now, before) {
		return now, nil
	}
	if err == nil || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) { // an old seccomp profile or kernel
		err = c.source(func() error { return unix.Fstat(in, &now) })
	}
	return now, err
}

// flush makes sure that the server has the content before the file gets its times, which say that it is complete. An NFS
// client writes content later, also when times are set, but only fsync(2) says whether the server had room for it. Of a
// local file system the kernel keeps the content when this process is killed.
func (c *copying) flush(out int) error {
	if !c.flushes {
		return nil
	}
	return c.target(func() error { return unix.Fsync(out) })
}
