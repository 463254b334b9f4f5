package share

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A file of several names is made once, under a name in the directory of links that says which file of the source it is, and
// linked to each of its names in the tree. So no list of such files is kept in memory, and a repeat finds what is there.
//
// The kernel lets only its owner link a file that others may not write. So owner, mode and times are set when all names are
// linked. A symbolic link beside the file keeps them until then: it leads to a text of them.

// noteSuffix ends the name of that link.
const noteSuffix = ".note"

// note is what such a link says: the attributes that the file gets, the version of the source of which it has the content, and the
// run that has made or checked it. It fits into the shortest link that file systems allow.
type note struct {
	run, version   string
	mode, uid, gid uint32
	atime, mtime   int64 // nanoseconds
}

func noteOf(run string, stat *unix.Stat_t) string {
	return fmt.Sprintf("%s %s %o %d %d %d %d", run, versionOf(stat), stat.Mode, stat.Uid, stat.Gid, stat.Atim.Nano(), stat.Mtim.Nano())
}

func parseNote(text string) (n note, ok bool) {
	_, err := fmt.Sscanf(text, "%s %s %o %d %d %d %d", &n.run, &n.version, &n.mode, &n.uid, &n.gid, &n.atime, &n.mtime)
	return n, err == nil
}

// copyLinked copies a name of a file that has several.
func (c *copying) copyLinked(e *copyEntry) error {
	defer c.lockFile(e.stat).Unlock()
	key := fileKey(e.stat)
	linked, err := c.linkKnown(e, key)
	if err != nil || linked {
		return err
	}
	if !e.in.fresh {
		complete, err := c.isComplete(e)
		if err != nil || complete {
			return err
		}
	}
	if err := c.makeLinked(e, key); err != nil {
		return err
	}
	linked, err = c.link(e, key)
	if err == nil && !linked {
		err = errMadeTwice
	}
	if err == nil {
		c.counted()
	}
	return err
}

// linkKnown links a file that this run has made, or an earlier one if the source is still the same.
func (c *copying) linkKnown(e *copyEntry, key string) (bool, error) {
	text, err := c.readLink(c.target, c.links.fd(), key+noteSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	known, ok := parseNote(text)
	if !ok || known.run != c.run && known.version != versionOf(e.stat) {
		return false, nil
	}
	linked, err := c.link(e, key)
	if linked {
		c.counted()
		c.count(func(r *Copied) { r.Links++ })
	}
	return linked, err
}

// link gives a file in the directory of links a name in the tree. It reports false if there is no such file.
func (c *copying) link(e *copyEntry, key string) (bool, error) {
	link := func() error {
		return c.call(c.to, "link a copy", func() error { return unix.Linkat(c.links.fd(), key, e.in.target, e.name, 0) })
	}
	err := link()
	if errors.Is(err, fs.ErrExist) {
		var same bool
		if same, err = c.isLinked(e, key); same || err != nil {
			return same, err
		}
		if err = c.removeCopy(e.in.target, e.name); err == nil {
			err = link()
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, unix.EMLINK):
		return true, c.linkLast(e, key)
	}
	return err == nil, err
}

// isLinked reports whether a name in the tree is the file in the directory of links.
func (c *copying) isLinked(e *copyEntry, key string) (bool, error) {
	want, err := c.lookAtCopy(c.links.fd(), key)
	if err == nil {
		var found unix.Stat_t
		found, err = c.lookAtCopy(e.in.target, e.name)
		return err == nil && found.Ino == want.Ino, ignoreAbsent(err)
	}
	return false, ignoreAbsent(err)
}

// linkLast gives a file of as many names as the file system allows its last one: that which it has in the directory of links.
// It is complete then.
func (c *copying) linkLast(e *copyEntry, key string) error {
	if err := c.completeLinked(key); err != nil {
		return err
	}
	if err := c.target(func() error { return unix.Renameat(c.links.fd(), key, e.in.target, e.name) }); err != nil {
		return err
	}
	return c.target(func() error { return unix.Unlinkat(c.links.fd(), key+noteSuffix, 0) })
}

// makeLinked makes a file in the directory of links, of which only owner, mode and times are missing.
func (c *copying) makeLinked(e *copyEntry, key string) error {
	for _, old := range []string{key + noteSuffix, key} { // of an earlier run, of another version
		if err := c.removeCopy(c.links.fd(), old); err != nil {
			return err
		}
	}
	from, err := c.makeLinkedPart(e)
	if err != nil {
		return err
	}
	if err := c.target(func() error { return unix.Renameat(c.parts.fd(), from, c.links.fd(), key) }); err != nil {
		return err
	}
	return c.target(func() error { return unix.Symlinkat(noteOf(c.run, e.stat), c.links.fd(), key+noteSuffix) })
}

// makeLinkedPart makes it in the directory of parts, and returns its name there.
func (c *copying) makeLinkedPart(e *copyEntry) (string, error) {
	if e.stat.Mode&unix.S_IFMT != unix.S_IFREG {
		name := fileKey(e.stat)
		if err := c.removeCopy(c.parts.fd(), name); err != nil {
			return "", err
		}
		return name, c.makeSpecial(e, c.parts.fd(), name)
	}
	p, err := c.makePart(e, func(in, out int) error {
		acl, err := c.giveExtended(e, in, out)
		if err == nil && acl != nil { // the last pass finds it there, and keeps it when it sets the mode
			_, err = c.setServerACL(e, acl, out)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return p.name(), nil
}

// completeLinks completes all files in the directory of links, and removes them from there.
func (c *copying) completeLinks() error {
	for {
		names, err := c.links.someNames()
		if err != nil || len(names) == 0 {
			return err
		}
		keys := map[string]bool{}
		for _, e := range names {
			keys[strings.TrimSuffix(e.name, noteSuffix)] = true
		}
		var todo []func() error
		for portion := range slices.Chunk(slices.Collect(maps.Keys(keys)), copyPortion) {
			todo = append(todo, func() error { return c.completeSome(portion) })
		}
		if err := c.work(todo...); err != nil {
			return err
		}
	}
}

// completeSome completes some files of the directory of links. After a kill there may be a note without a file, or a file without
// a note, which has no name in the tree.
func (c *copying) completeSome(keys []string) error {
	for _, key := range keys {
		if err := c.completeLinked(key); err != nil {
			return err
		}
		for _, name := range []string{key, key + noteSuffix} { // in this order: a note says that the file is there
			if err := c.removeCopy(c.links.fd(), name); err != nil {
				return err
			}
		}
	}
	return nil
}

// completeLinked sets owner, mode and times of a file in the directory of links, as its note says.
func (c *copying) completeLinked(key string) error {
	text, err := c.readLink(c.target, c.links.fd(), key+noteSuffix)
	if err != nil {
		return ignoreAbsent(err)
	}
	known, ok := parseNote(text)
	if !ok {
		return nil
	}
	return ignoreAbsent(c.applyNote(key, &known))
}

func (c *copying) applyNote(key string, known *note) error {
	stat := unix.Stat_t{Mode: known.mode, Uid: known.uid, Gid: known.gid, Atim: unix.NsecToTimespec(known.atime), Mtim: unix.NsecToTimespec(known.mtime)}
	e := &copyEntry{stat: &stat}
	m := made{in: c.links.fd(), name: key, fd: -1}
	if known.mode&unix.S_IFMT != unix.S_IFREG {
		return c.giveOwner(e, m, nil)
	}
	out, err := c.opens(c.to, func() (int, error) {
		return unix.Openat(c.links.fd(), key, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if errors.Is(err, fs.ErrPermission) { // a kill came after its mode was set
		return c.giveOwner(e, m, nil)
	}
	if err != nil {
		return err
	}
	return c.closing(out, func() error {
		acl, err := c.getExtended(c.target, out, aclServer)
		if err != nil {
			acl = nil // no NFSv4 server
		}
		if err := c.giveOwner(e, made{fd: out}, nil); err != nil || acl == nil {
			return err
		}
		if _, err := c.setServerACL(e, acl, out); err != nil {
			return err
		}
		return c.setTimes(&stat, made{fd: out})
	})
}
