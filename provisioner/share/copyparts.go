package share

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

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
			c.progress.Bytes.Add(min(offset, stat.Blocks*blockSize))
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
	out, err := c.createCopy(c.parts.fd(), p.name(), newMode)
	return p, out, err
}
