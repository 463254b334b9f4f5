package share

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxChunk is how many bytes one call copies at most: it cannot be interrupted, and must end within the share's
	// time-out.
	maxChunk = 64 << 20
	// leastChunk is how many it copies if it takes longer than longest to copy more.
	leastChunk = 4 << 20
	longest    = 5 * time.Second
	// moment is how often a part notes how much of it is complete: the work since then is done twice after a kill.
	moment = 100 * time.Millisecond
	// smallSize is the size in bytes up to which a file is read and written at once.
	smallSize = 64 << 10
	// readSize is how many bytes are read at a time.
	readSize = 1 << 20
	// zeroSize is the unit in which a run of zeros becomes a hole.
	zeroSize = 4 << 10
	// maxHoles is how many bytes of holes are read if the file system does not say where they are.
	maxHoles = 1 << 40
)

// support notes whether a call works between source and destination, so that one that does not is not tried for each file.
type support struct{ no, odd atomic.Int32 }

// oddities is how many files in a row may refuse a call for reasons of their own.
const oddities = 8

func (s *support) has() bool { return s.no.Load() == 0 && s.odd.Load() < oddities }

// errNotSupported is what an NFS client may say if the server does not know a call. It has no name outside of the kernel.
const errNotSupported = unix.Errno(524)

// refused reports whether err says that the call does not work, so that the next way is to be tried.
func (s *support) refused(err error) bool {
	switch {
	case err == nil:
		s.odd.Store(0)
		return false
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENOTTY), errors.Is(err, errNotSupported):
		s.no.Store(1)
		return true
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPERM), errors.Is(err, unix.ETXTBSY): // of this file, or of an old seccomp profile
		s.odd.Add(1)
		return true
	}
	return false
}

// content is the content of a regular file that is copied.
type content struct {
	in, out int
	stat    *unix.Stat_t // of the source, before
	from    int64        // so much is complete
	part    *part        // nil for a file that is made under its own name
	name    string       // for people

	end    int64 // where the last content that was written ends
	since  int64 // bytes since the part noted how much of it is complete
	noted  time.Time
	chunk  int64 // how many bytes one call copies
	buffer []byte
}

// copyContent copies the content of a file, up to the size that it had before.
func (c *copying) copyContent(f *content) error {
	f.end, f.noted = f.from, time.Now()
	if f.stat.Size == 0 {
		return nil
	}
	if f.from == 0 && c.noClone.has() {
		cloned, err := c.clone(f)
		if cloned || err != nil {
			return err
		}
	}
	err := c.copyExtents(f)
	if err != nil || f.end == f.stat.Size {
		return err
	}
	return c.target(func() error { return unix.Ftruncate(f.out, f.stat.Size) }) // it ends with a hole
}

// clone lets both files share their blocks.
func (c *copying) clone(f *content) (bool, error) {
	err := c.target(func() error { return unix.IoctlFileClone(f.out, f.in) })
	if c.noClone.refused(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	taken := min(f.stat.Size, f.stat.Blocks*blockSize)
	c.progress.Bytes.Add(taken)
	c.count(func(r *Copied) { r.Cloned += taken })
	return true, nil
}

// copyExtents copies all content but the holes.
func (c *copying) copyExtents(f *content) error {
	holes := f.stat.Size - f.stat.Blocks*blockSize
	if holes <= 0 && f.stat.Size <= smallSize {
		if c.flushes { // one call of an NFS client instead of two, if the server knows it
			return c.copyExtent(f, f.from, f.stat.Size)
		}
		return c.readExtent(f, f.from, f.stat.Size, false)
	}
	// The kernel reads twice as far ahead then, which halves an NFS client's calls. It is a hint: an error changes nothing.
	_ = unix.Fadvise(f.in, 0, 0, unix.FADV_SEQUENTIAL)
	begin, end, err := c.extent(f.in, 0, f.stat.Size)
	if err != nil {
		return err
	}
	if holes > 0 && begin == 0 && end >= f.stat.Size { // the file system does not say where they are
		if holes > maxHoles {
			return fmt.Errorf("its holes are %d GiB, and the file system does not say where: %w", holes>>30, unix.EFBIG)
		}
		return c.readExtent(f, f.from, f.stat.Size, true)
	}
	for at := f.from; at < f.stat.Size; at = end {
		if begin, end, err = c.extent(f.in, at, f.stat.Size); err != nil {
			return err
		}
		if begin >= f.stat.Size {
			return nil
		}
		if err := c.copyExtent(f, begin, end); err != nil {
			return err
		}
	}
	return nil
}

// extent returns the next content of a file from an offset on, up to its size. Without any it begins at the size.
func (c *copying) extent(in int, at, size int64) (begin, end int64, err error) {
	err = c.source(func() error {
		begin, err = unix.Seek(in, at, unix.SEEK_DATA)
		if err == nil && begin < size {
			end, err = unix.Seek(in, begin, unix.SEEK_HOLE)
		}
		return err
	})
	switch {
	case errors.Is(err, unix.ENXIO): // a hole up to the end, or nothing any more
		return size, size, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return at, size, nil
	case err != nil:
		return 0, 0, err
	case begin >= size:
		return size, size, nil
	case end <= begin: // somebody has made a hole there meanwhile
		end = min(size, begin+zeroSize)
	}
	return begin, min(end, size), nil
}

// copyExtent lets the kernel copy a part of a file, or reads and writes it.
func (c *copying) copyExtent(f *content, begin, end int64) error {
	for at := begin; at < end; {
		if !c.noServer.has() {
			return c.readExtent(f, at, end, false)
		}
		length := c.limit(min(f.nextChunk(), end-at))
		if err := c.allow(length); err != nil {
			return err
		}
		copied, begun := 0, time.Now()
		err := c.target(func() (err error) {
			from, to := at, at
			copied, err = unix.CopyFileRange(f.in, &from, f.out, &to, int(length), 0)
			return err
		})
		if c.noServer.refused(err) {
			return c.readExtent(f, at, end, false)
		}
		if err != nil || copied == 0 { // somebody has cut it off
			return err
		}
		f.learn(time.Since(begun))
		at += int64(copied)
		c.count(func(r *Copied) { r.Server += int64(copied) })
		if err := c.wrote(f, int64(copied), at); err != nil {
			return err
		}
	}
	return nil
}

// limit bounds how many bytes are copied in one call by what the pace allows at once.
func (c *copying) limit(length int64) int64 {
	if c.bytes != nil {
		length = min(length, int64(c.bytes.Burst()))
	}
	return length
}

// nextChunk is how many bytes the next call is to copy.
func (f *content) nextChunk() int64 {
	if f.chunk == 0 {
		f.chunk = maxChunk
	}
	return f.chunk
}

// learn makes the next call shorter if one took long.
func (f *content) learn(took time.Duration) {
	if took > longest {
		f.chunk = max(leastChunk, f.chunk/2)
	}
}

// allow waits until the pace allows to copy some bytes.
func (c *copying) allow(length int64) error {
	if c.bytes == nil {
		return nil
	}
	return c.cause(c.bytes.WaitN(c.ctx, int(length)))
}

// wrote notes that the copy has the content up to an offset, of which some bytes are new.
func (c *copying) wrote(f *content, length, offset int64) error {
	f.end = offset
	c.progress.Bytes.Add(length)
	return c.passed(f, length, offset)
}

// passed notes that the copy is complete up to an offset, for which some bytes were read.
func (c *copying) passed(f *content, length, offset int64) error {
	if f.part == nil {
		return nil
	}
	f.since += length
	if f.since < leastStep || offset >= f.stat.Size || time.Since(f.noted) < moment {
		return nil
	}
	err := f.part.reached(f.out, offset)
	f.since, f.noted = 0, time.Now()
	return err
}
