package share

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// copyEntry is one name of a directory that is in use, or the directory itself if the name is empty.
type copyEntry struct {
	in   *copyNode
	name string
	// pinned is a descriptor of the file, opened with O_PATH: whatever a tenant exchanges, it remains this file. It is the
	// opened one if that is not below zero, which is open for reading.
	pinned, opened int
	stat           *unix.Stat_t
	hasACL         bool // the copy got a POSIX ACL
}

// copyNames copies some names of a directory.
func (c *copying) copyNames(n *copyNode, names []dirent) error {
	switch err := c.use(n); {
	case errors.Is(err, errGone):
		c.changed(n, "")
		return c.release(n)
	case err != nil:
		return err
	}
	for _, e := range names {
		if err := c.copyName(n, e); err != nil {
			c.done(n)
			return c.failed(n, e.name, err)
		}
	}
	c.done(n)
	return c.release(n)
}

// copyName copies one name. A directory that somebody changes may list a name twice, and then two workers have the same name.
func (c *copying) copyName(n *copyNode, listed dirent) (err error) {
	for range maxRestarts {
		err = c.copyOnce(n, listed)
		if !errors.Is(err, errMadeTwice) {
			return err
		}
	}
	var copied unix.Stat_t
	look := c.target(func() error { return unix.Fstat(n.target, &copied) })
	if n.parent != nil && (IsStale(look) || look == nil && copied.Nlink == 0) {
		c.changed(n, listed.name) // another worker has removed the directory, because the source had another kind there
		return nil
	}
	return err
}

// errMadeTwice says that a name of the copy appeared or went meanwhile.
var errMadeTwice = errors.New("another worker makes the same name")

// madeTwice turns the errors of the copy that another worker with the same name causes into errMadeTwice.
func madeTwice(err error) error {
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EISDIR) {
		return fmt.Errorf("%w: %w", errMadeTwice, err)
	}
	return err
}

func (c *copying) copyOnce(n *copyNode, listed dirent) error {
	var stat unix.Stat_t
	e := &copyEntry{in: n, name: listed.name, pinned: -1, opened: -1, stat: &stat}
	if n.fresh && listed.kind == unix.DT_REG { // most likely it is to be read
		if opened, err := c.openListed(e); err != nil {
			return err
		} else if opened {
			defer closeRead(e.opened)
			return madeTwice(c.copyFile(e))
		}
	}
	pinned, err := c.opens(c.from, func() (int, error) {
		return unix.Openat(n.source, e.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed meanwhile
	}
	if err != nil {
		return err
	}
	defer closeRead(pinned)
	e.pinned = pinned
	err = c.source(func() error { return unix.Fstat(pinned, &stat) })
	switch {
	case IsStale(err): // another client has removed it
		return nil
	case err != nil:
		return err
	case uint64(stat.Dev) != c.device: // its type differs between architectures
		return errOtherFileSystem
	}
	return c.copyPinned(e)
}

// openListed opens what was listed as a regular file, without waiting for anything, and reports false if it is none any more, or
// may not be read. That costs a call less than to look at it first.
func (c *copying) openListed(e *copyEntry) (bool, error) {
	how := unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	if c.noAtime.has() {
		how |= unix.O_NOATIME
	}
	opened, err := c.opens(c.from, func() (int, error) { return unix.Openat(e.in.source, e.name, how, 0) })
	if _, ofKernel := errors.AsType[unix.Errno](err); ofKernel {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = c.source(func() error { return unix.Fstat(opened, e.stat) })
	if err == nil && uint64(e.stat.Dev) == c.device && e.stat.Mode&unix.S_IFMT == unix.S_IFREG {
		e.opened, e.pinned = opened, opened
		return true, nil
	}
	closeRead(opened)
	if _, ofKernel := errors.AsType[unix.Errno](err); ofKernel {
		err = nil
	}
	return false, err
}

func (c *copying) copyPinned(e *copyEntry) error {
	switch e.stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return madeTwice(c.makeDirectory(e))
	case unix.S_IFREG, unix.S_IFLNK, unix.S_IFIFO, unix.S_IFSOCK:
		return madeTwice(c.copyFile(e))
	}
	c.leftOut(fmt.Sprintf("device %q", e.in.at(e.name)))
	return nil
}

func isDevice(stat *unix.Stat_t) bool {
	kind := stat.Mode & unix.S_IFMT
	return kind == unix.S_IFBLK || kind == unix.S_IFCHR
}

// copyFile copies anything but a directory.
func (c *copying) copyFile(e *copyEntry) error {
	if e.stat.Nlink > 1 {
		return c.copyLinked(e)
	}
	if !e.in.fresh {
		complete, err := c.isComplete(e)
		if err != nil || complete {
			return err
		}
	}
	var err error
	switch {
	case e.stat.Mode&unix.S_IFMT != unix.S_IFREG:
		err = c.makeSpecial(e, e.in.target, e.name)
		if err == nil {
			err = c.giveAll(e, -1, made{in: e.in.target, name: e.name, fd: -1})
		}
	case e.stat.Size > partSize:
		return c.copyLarge(e)
	default:
		err = c.copySmall(e)
	}
	if err == nil {
		c.counted()
	}
	return err
}

// counted counts a file that is complete.
func (c *copying) counted() {
	c.progress.Files.Add(1)
	c.count(func(r *Copied) { r.Files++ })
}

// found counts a file that an earlier run has completed.
func (c *copying) found(stat *unix.Stat_t) {
	c.progress.Files.Add(1)
	if stat.Mode&unix.S_IFMT == unix.S_IFREG {
		c.progress.Bytes.Add(min(stat.Size, stat.Blocks*blockSize))
	}
	c.count(func(r *Copied) { r.Files++; r.Found++ })
}

// isComplete reports whether the copy has a name already. If it has something else there, isComplete removes that.
func (c *copying) isComplete(e *copyEntry) (bool, error) {
	stat, err := c.lookAtCopy(e.in.target, e.name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	same := isCopyOf(&stat, e.stat) && stat.Nlink == e.stat.Nlink
	if same && stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		if same, err = c.leadsAlike(e); err != nil {
			return false, err
		}
	}
	if same {
		c.found(&stat)
		return true, nil
	}
	return false, c.removeCopy(e.in.target, e.name)
}

// isCopyOf compares what a copy keeps of a file. The times are set last, so what has them is complete.
func isCopyOf(stat, source *unix.Stat_t) bool {
	return stat.Mode == source.Mode && stat.Uid == source.Uid && stat.Gid == source.Gid && stat.Mtim == source.Mtim &&
		(stat.Size == source.Size || stat.Mode&unix.S_IFMT != unix.S_IFREG && stat.Mode&unix.S_IFMT != unix.S_IFLNK)
}

func (c *copying) leadsAlike(e *copyEntry) (bool, error) {
	want, err := c.readLink(c.source, e.pinned, "")
	if err != nil {
		return false, err
	}
	found, err := c.readLink(c.target, e.in.target, e.name)
	return found == want, err
}

func (c *copying) readLink(call func(func() error) error, in int, name string) (leads string, err error) {
	buffer := make([]byte, unix.PathMax)
	err = call(func() error {
		n, err := unix.Readlinkat(in, name, buffer)
		if err == nil {
			leads = string(buffer[:n])
		}
		return err
	})
	return leads, err
}

// makeSpecial makes a symbolic link, a pipe or a socket.
func (c *copying) makeSpecial(e *copyEntry, in int, name string) error {
	kind := e.stat.Mode & unix.S_IFMT
	if kind != unix.S_IFLNK {
		return c.target(func() error { return unix.Mknodat(in, name, kind|0o600, 0) })
	}
	leads, err := c.readLink(c.source, e.pinned, "")
	if err != nil {
		return err
	}
	return c.target(func() error { return unix.Symlinkat(leads, in, name) })
}
