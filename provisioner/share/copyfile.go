package share

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// partSize is the size in bytes from which on a file is made in the directory of parts, so that a repeat goes on
	// in the middle of it.
	partSize = 4 << 20
	// attempts is how often a file is copied that somebody is changing.
	attempts = 4
	// least and most bytes that are copied before a repeat may begin there.
	leastStep = 4 << 20
	mostStep  = 64 << 20
)

// copySmall makes a file under its own name.
func (c *copying) copySmall(e *copyEntry) error {
	in, err := c.openSource(e)
	if err != nil {
		return err
	}
	defer c.closeSource(e, in)
	out, err := c.createCopy(e.in.target, e.name)
	if err != nil {
		return err
	}
	return c.closing(out, func() error {
		if err := c.fill(e, in, out, nil); err != nil {
			return err
		}
		return c.giveAll(e, in, made{fd: out})
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

// createCopy creates a regular file of the copy, which nobody else can open before it has its owner.
func (c *copying) createCopy(in int, name string) (int, error) {
	return c.opens(c.to, func() (int, error) {
		return unix.Openat(in, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
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

// lookAgain returns the attributes of a file after it was copied. An NFS client may have old ones, so that the server is asked
// about a file whose copy takes a while.
func (c *copying) lookAgain(in int, before *unix.Stat_t) (unix.Stat_t, error) {
	now := *before
	err := c.source(func() error { return unix.Fstat(in, &now) })
	if err != nil || before.Size <= smallSize {
		return now, err
	}
	var fresh unix.Statx_t
	err = c.source(func() error {
		return unix.Statx(in, "", unix.AT_EMPTY_PATH|unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS, &fresh)
	})
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) { // an old seccomp profile or kernel
		return now, nil
	}
	now.Size = int64(fresh.Size)
	now.Mtim = unix.NsecToTimespec(fresh.Mtime.Sec*1e9 + int64(fresh.Mtime.Nsec))
	now.Ctim = unix.NsecToTimespec(fresh.Ctime.Sec*1e9 + int64(fresh.Ctime.Nsec))
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

// part is a file in the directory of parts. Its name says of which version of which file it is, and how much of it is complete.
type part struct {
	c       *copying
	version string
	offset  int64
}

func (p *part) name() string { return fmt.Sprintf("%s+%x", p.version, p.offset) }

func versionOf(stat *unix.Stat_t) string {
	return fmt.Sprintf("%s-%x-%x-%x", fileKey(stat), stat.Size, stat.Mtim.Nano(), stat.Ctim.Nano())
}

// fileKey tells a file of the source from all others.
func fileKey(stat *unix.Stat_t) string {
	return fmt.Sprintf("%x-%x", uint64(stat.Dev), stat.Ino) // its type differs between architectures
}

// parsePart is the inverse of name.
func parsePart(name string) (version string, offset int64, ok bool) {
	version, after, ok := strings.Cut(name, "+")
	if !ok {
		return "", 0, false
	}
	_, err := fmt.Sscanf(after, "%x", &offset)
	return version, offset, err == nil
}

// move renames the part.
func (p *part) move(version string, offset int64) error {
	from := p.name()
	p.version, p.offset = version, offset
	err := p.c.target(func() error { return unix.Renameat(p.c.parts.fd(), from, p.c.parts.fd(), p.name()) })
	if err == nil {
		p.c.mu.Lock()
		p.c.offsets[version] = offset
		p.c.mu.Unlock()
	}
	return err
}

func (p *part) restart(stat *unix.Stat_t) error { return p.move(versionOf(stat), 0) }

// reached notes how much of the file is complete. The content must be on the server before.
func (p *part) reached(out int, offset int64) error {
	if err := p.c.flush(out); err != nil {
		return err
	}
	return p.move(p.version, offset)
}

// step is after how many bytes a part notes how much of it is complete: of all bytes copied few are copied twice after a kill,
// however many workers were in the middle of a file.
func (c *copying) step() int64 {
	return min(mostStep, max(leastStep, c.progress.Bytes.Load()/int64(64*c.workers)))
}

// lockFile keeps other workers from the same file of the source, which may have several names. Only one such lock is held
// by a worker at a time.
func (c *copying) lockFile(stat *unix.Stat_t) *sync.Mutex {
	lock := &c.locks[stat.Ino%uint64(len(c.locks))]
	lock.Lock()
	return lock
}

// copyLarge makes a file in the directory of parts, and moves it to its name when it is complete.
func (c *copying) copyLarge(e *copyEntry) error {
	defer c.lockFile(e.stat).Unlock()
	p, err := c.makePart(e, func(in, out int) error { return c.giveAll(e, in, made{fd: out}) })
	if err != nil {
		return err
	}
	err = c.target(func() error { return unix.Renameat(c.parts.fd(), p.name(), e.in.target, e.name) })
	if err == nil {
		c.counted()
	}
	return err
}

// makePart makes a regular file in the directory of parts, or goes on with it, and completes it with finish.
func (c *copying) makePart(e *copyEntry, finish func(in, out int) error) (*part, error) {
	in, err := c.openSource(e)
	if err != nil {
		return nil, err
	}
	defer c.closeSource(e, in)
	p, out, err := c.openPart(e.stat)
	if err != nil {
		return nil, err
	}
	err = c.closing(out, func() error {
		if err := c.fill(e, in, out, p); err != nil {
			return err
		}
		return finish(in, out)
	})
	return p, err
}

func (c *copying) openPart(stat *unix.Stat_t) (*part, int, error) {
	p := &part{c: c, version: versionOf(stat)}
	c.mu.Lock()
	offset, begun := c.offsets[p.version]
	c.mu.Unlock()
	if begun {
		p.offset = offset
		out, err := c.opens(c.to, func() (int, error) {
			return unix.Openat(c.parts.fd(), p.name(), unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		})
		if err == nil {
			return p, out, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, -1, err
		}
		if err := c.removeCopy(c.parts.fd(), p.name()); err != nil { // it has its mode and owner already
			return nil, -1, err
		}
		p.offset = 0
	}
	out, err := c.createCopy(c.parts.fd(), p.name())
	return p, out, err
}
