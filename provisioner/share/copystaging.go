package share

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"
)

// inStaging copies an open directory to a directory below .claimdir.
func (c *copying) inStaging(staging string, source *dir) error {
	stat, err := source.self()
	if err != nil {
		return err
	}
	c.device, c.run = uint64(stat.Dev), rand.Text() // its type differs between architectures
	if !source.canBeRead() {
		return c.unreadable(nil, "", stat.Uid, fs.ErrPermission)
	}
	if err := c.makeStaging(staging); err != nil {
		return err
	}
	if err := c.inMetas(source, &stat, staging); err != nil {
		return err
	}
	for _, name := range []string{copyParts, copyLinks} {
		if err := c.to.RemoveEmptyDirectory(staging, name); err != nil {
			return err
		}
	}
	return nil
}

// makeStaging makes the directory of the copy, and what is in it beside the tree.
func (c *copying) makeStaging(staging string) error {
	if err := c.to.MakeMeta(CopiesDir); err != nil {
		return err
	}
	for _, name := range []string{staging, path.Join(staging, copyParts), path.Join(staging, copyLinks)} {
		err := c.to.inMeta(path.Dir(name), "make "+path.Base(name)+" in", func(d *dir) error { return makePrivate(d, path.Base(name)) })
		if err != nil {
			return err
		}
	}
	return nil
}

// inMetas opens what makeStaging has made, and copies an open directory there.
func (c *copying) inMetas(source *dir, stat *unix.Stat_t, staging string) (err error) {
	in, err := c.to.openMeta(staging)
	if err != nil {
		return err
	}
	defer c.to.done(in)
	if c.parts, err = c.to.openMeta(path.Join(staging, copyParts)); err != nil {
		return err
	}
	defer c.to.done(c.parts)
	if c.links, err = c.to.openMeta(path.Join(staging, copyLinks)); err != nil {
		return err
	}
	defer c.to.done(c.links)
	return c.tree(in, source, stat)
}

// tree copies an open directory to the tree in an open one.
func (c *copying) tree(in, source *dir, stat *unix.Stat_t) error {
	if kind := c.to.mark.kind(in); kind == nfsMagic || kind == fuseMagic {
		c.flushes = true
	}
	if err := c.findParts(); err != nil {
		return err
	}
	top := &copyNode{stat: *stat}
	top.left.Store(1)
	var err error
	if top.fresh, err = c.makeOrOpenUp(in.fd(), copyTree); err != nil {
		return err
	}
	for _, name := range []string{copyTree, copyParts, copyLinks} {
		if err := c.handDownNothing(in.fd(), name); err != nil {
			return err
		}
	}
	if top.source, err = c.openAgain(source); err != nil {
		return err
	}
	if top.target, err = c.openCopy(in.fd(), copyTree); err != nil {
		return errors.Join(err, unix.Close(top.source))
	}
	top.isOpen, top.users = true, 1 // as long as the copy runs
	c.open.push(top)
	defer c.open.closeAll()
	if err := c.work(func() error { return c.list(top) }); err != nil {
		return err
	}
	if err := c.completeLinks(); err != nil {
		return err
	}
	return c.removeParts()
}

// openAgain opens an open directory of the source again, to list it from the beginning.
func (c *copying) openAgain(source *dir) (int, error) {
	return c.opens(c.from, func() (int, error) {
		return unix.Openat(source.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
}

// someNames lists an open directory from its beginning, up to some thousand names.
func (d *dir) someNames() (names []dirent, err error) {
	listing, err := d.listing()
	if err != nil {
		return nil, err
	}
	defer listing.Close()
	buffer := make([]byte, 8*len(direntBuffer{}))
	err = d.run("list", func() error {
		names, _, err = readDirentsInto(int(listing.Fd()), buffer, nil)
		return err
	})
	return names, err
}

// findParts finds what an earlier run has left in the directory of parts: not more than a file a worker.
func (c *copying) findParts() error {
	names, err := c.parts.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if version, offset, ok := parsePart(name); ok {
			c.offsets[version] = offset
		}
	}
	return nil
}

// removeParts removes what is left there of versions of files that the source no longer has.
func (c *copying) removeParts() error {
	names, err := c.parts.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.parts.unlink(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
