package share

import (
	"crypto/rand"
	"errors"
	"fmt"
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
	in, fresh, err := c.makeStaging(staging)
	if err != nil {
		return err
	}
	defer c.to.done(in)
	if c.parts, err = makeIn(in, copyParts); err != nil {
		return err
	}
	defer c.parts.close()
	if c.links, err = makeIn(in, copyLinks); err != nil {
		return err
	}
	defer c.links.close()
	if !fresh {
		if err := c.findParts(); err != nil {
			return err
		}
	}
	if err := c.tree(in, source, &stat); err != nil {
		return err
	}
	if err := removeOnce(in, copyLinks, c.completeLinks); err != nil {
		return err
	}
	return removeOnce(in, copyParts, c.removeParts)
}

// makeStaging opens the directory of the copy. It is fresh if no earlier run has made it.
func (c *copying) makeStaging(staging string) (in *dir, fresh bool, err error) {
	if err := c.to.MakeMeta(CopiesDir); err != nil {
		return nil, false, err
	}
	above, name := path.Split(staging)
	err = c.to.inMeta(path.Clean(above), "make "+name+" in", func(d *dir) error {
		err := d.mkdir(name, 0o700)
		fresh = err == nil
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, false, err
	}
	in, err = c.to.openMeta(staging)
	return in, fresh, err
}

// makeIn opens a directory in that of the copy, and makes it if it is missing.
func makeIn(in *dir, name string) (*dir, error) {
	if err := makePrivate(in, name); err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	return in.open(name, asPlace)
}

// removeOnce removes a directory in that of the copy, once empty has emptied it. Most are empty: to look costs a call more.
func removeOnce(in *dir, name string, empty func() error) error {
	err := in.rmdir(name)
	if !isOccupied(err) {
		return ignoreAbsent(err)
	}
	if err := empty(); err != nil {
		return err
	}
	if err := in.rmdir(name); !isOccupied(err) { // an NFS client keeps a file there that is open
		return ignoreAbsent(err)
	}
	return nil
}

// tree copies an open directory to the tree in an open one.
func (c *copying) tree(in, source *dir, stat *unix.Stat_t) error {
	if kind := c.to.mark.kind(in); kind == nfsMagic || kind == fuseMagic {
		c.flushes = true
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
	return c.work(func() error { return c.list(top) })
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
