package share

import (
	"errors"
	"io"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"
)

const (
	// copyPortion is how many names of a directory a worker copies at a time.
	copyPortion = 4
	// manyWaiting is the number of waiting tasks from which a directory is listed in small parts. With a tree
	// of many levels each level would otherwise keep a part of its listing.
	manyWaiting  = 1000
	smallListing = 512
)

// list lists the next part of a directory, and has its names copied.
func (c *copying) list(n *copyNode) error {
	switch err := c.use(n); {
	case errors.Is(err, errGone): // renamed or removed meanwhile
		c.changed(n, "")
		return c.release(n)
	case err != nil:
		return err
	}
	defer c.done(n)
	names, last, err := c.readNames(n)
	if IsStale(err) && n.parent != nil { // another client has removed it
		c.changed(n, "")
		return c.release(n)
	}
	if err != nil {
		return c.failed(n, "", err)
	}
	next := make([]func() error, 0, 1+(len(names)+copyPortion-1)/copyPortion)
	if !last {
		next = append(next, func() error { return c.list(n) })
	}
	for len(names) > 0 {
		portion := names[:min(copyPortion, len(names))]
		names = names[len(portion):]
		next = append(next, func() error { return c.copyNames(n, portion) })
	}
	n.left.Add(int32(len(next)))
	c.tasks.add(next...)
	return c.release(n)
}

// readNames reads the next names of a directory that is in use.
func (c *copying) readNames(n *copyNode) (names []dirent, last bool, err error) {
	size := len(direntBuffer{})
	if c.tasks.waiting() > manyWaiting {
		size = smallListing
	}
	buffer := make([]byte, size)
	c.open.mu.Lock()
	offset := n.listed
	c.open.mu.Unlock()
	err = c.source(func() error {
		if _, err := unix.Seek(n.source, offset, io.SeekStart); err != nil {
			return err
		}
		var size int
		if names, size, err = readDirentsInto(n.source, buffer, names[:0]); err != nil || size == 0 {
			last = true
			return err
		}
		offset, err = unix.Seek(n.source, 0, io.SeekCurrent)
		return err
	})
	c.open.mu.Lock()
	n.listed = offset
	c.open.mu.Unlock()
	return names, last, err
}

// release says that a task of a directory has ended. The last one completes the directory.
func (c *copying) release(n *copyNode) error {
	if n.left.Add(-1) > 0 {
		return nil
	}
	return c.finish(n)
}

// finish completes a directory whose names were copied. The directories in it may be incomplete: what happens in
// them changes nothing of it.
func (c *copying) finish(n *copyNode) error {
	switch err := c.use(n); {
	case errors.Is(err, errGone):
		return c.finishGone(n)
	case err != nil:
		return err
	}
	defer c.done(n)
	if !n.fresh {
		if err := c.removeOthers(n); err != nil {
			return c.failed(n, "", err)
		}
	}
	return c.finishOpen(n, n.target, n.source)
}

// finishGone gives the copy of a directory that the source no longer has the attributes that were seen last.
func (c *copying) finishGone(n *copyNode) error {
	switch err := c.use(n.parent); {
	case errors.Is(err, errGone): // with all that is above it
		return nil
	case err != nil:
		return err
	}
	defer c.done(n.parent)
	target, err := c.openCopy(n.parent.target, n.name)
	switch {
	case isReplaced(err):
		return nil
	case err != nil:
		return c.failed(n, "", err)
	}
	defer closeRead(target)
	return c.finishOpen(n, target, -1)
}

func (c *copying) finishOpen(n *copyNode, target, source int) error {
	stat := c.info(n)
	e := &copyEntry{in: n, stat: &stat}
	if err := c.giveAll(e, source, made{fd: target}); err != nil {
		return err
	}
	c.progress.Directories.Add(1)
	c.count(func(r *Copied) { r.Directories++ })
	return nil
}

// makeDirectory makes the copy of a directory, and has it listed.
func (c *copying) makeDirectory(e *copyEntry) error {
	child := &copyNode{parent: e.in, name: e.name, stat: *e.stat}
	var err error
	if child.fresh, err = c.makeOrOpenUp(e.in.target, e.name); err != nil {
		return err
	}
	child.left.Store(1)
	c.tasks.add(func() error { return c.list(child) })
	return nil
}

// makeOrOpenUp makes a directory of the copy, and reports true, or makes sure that one that is there can be changed.
func (c *copying) makeOrOpenUp(parent int, name string) (made bool, err error) {
	err = c.target(func() error { return unix.Mkdirat(parent, name, 0o700) })
	if !errors.Is(err, fs.ErrExist) {
		return err == nil, err
	}
	found, err := c.lookAtCopy(parent, name)
	switch {
	case err != nil:
		return false, err
	case found.Mode&unix.S_IFMT != unix.S_IFDIR: // an earlier run saw another kind there
		if err := c.target(func() error { return unix.Unlinkat(parent, name, 0) }); err != nil {
			return false, err
		}
		err = c.target(func() error { return unix.Mkdirat(parent, name, 0o700) })
		return err == nil, err
	case found.Mode&0o700 != 0o700:
		err = c.target(func() error { return unix.Fchmodat(parent, name, 0o700, 0) }) // the copy has no link there: nobody else can change it
	}
	if err == nil {
		err = c.handDownNothing(parent, name)
	}
	return false, err
}

func (c *copying) lookAtCopy(parent int, name string) (stat unix.Stat_t, err error) {
	err = c.target(func() error { return unix.Fstatat(parent, name, &stat, unix.AT_SYMLINK_NOFOLLOW) })
	return stat, err
}

// removeOthers removes from a directory of the copy, which an earlier run has made, what the source no longer has.
func (c *copying) removeOthers(n *copyNode) error {
	buffer := make([]byte, len(direntBuffer{}))
	listing, err := c.openCopy(n.target, ".") // a directory that was used before has an offset
	if err != nil {
		return err
	}
	defer closeRead(listing)
	for {
		var names []dirent
		size := 0
		err := c.target(func() (err error) {
			names, size, err = readDirentsInto(listing, buffer, nil)
			return err
		})
		if err != nil || size == 0 {
			return err
		}
		for _, e := range names {
			var stat unix.Stat_t
			err := c.source(func() error {
				return unix.Fstatat(n.source, e.name, &stat, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
			})
			if err == nil && !isDevice(&stat) {
				continue
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if err := c.removeCopy(n.target, e.name); err != nil {
				return err
			}
		}
	}
}

// removeCopy removes a name of the copy, with all that is in it.
func (c *copying) removeCopy(parent int, name string) error {
	err := c.target(func() error { return unix.Unlinkat(parent, name, 0) })
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	found, look := c.lookAtCopy(parent, name)
	if look != nil || found.Mode&unix.S_IFMT != unix.S_IFDIR {
		return errors.Join(err, ignoreAbsent(look))
	}
	r := &removal{Remover: NewRemover(0, 0), ctx: c.ctx, share: c.to}
	return r.removeDirectory(parent, name, path.Base(name), 0)
}
