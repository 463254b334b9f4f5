package share

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/volpath"
)

// markedMode marks a directory that claimdir has created and that is not a volume: a parent, or the
// directory of a volume before it gets its own mode. Everybody may pass through it, except members
// of its group, and only we may add to it; nobody else sets such a mode. The mark exists from
// mkdir(2) on, moves with the directory, and survives a copy of the share. If a server or a default
// ACL changes the mode, empty parents stay, and claimdir doctor reports them.
const markedMode = 0o745

// marked reports whether a directory has the mark. A directory inherits setgid from its parent, so
// that bit does not count.
func marked(stat unix.Stat_t) bool {
	return stat.Mode&unix.S_IFMT == unix.S_IFDIR && stat.Mode&0o7777&^unix.S_ISGID == markedMode
}

// parentTries is how often WithParents creates parents that disappear at once. Each time another
// release must have removed the last volume below one, so chance does not reach this number.
const parentTries = 20

// WithParents calls do. If do returns fs.ErrNotExist, WithParents creates the missing directories
// above p, marked as ours, and repeats it. A release of the last other volume below a parent may
// remove the parent in between; then WithParents repeats both. That is cheaper than a lock between
// each release and every create.
func (s *Share) WithParents(p volpath.Path, do func() error) error {
	for range parentTries {
		err := do()
		if !vanished(err) || len(p.Elements()) == 1 {
			return err
		}
		if err := s.makeParents(p); err != nil && !vanished(err) {
			return fmt.Errorf("make the parents of %s: %w", p, plain(err))
		}
	}
	return do()
}

// vanished reports whether a parent was removed meanwhile. Over NFS its handle may have been
// opened by then, and is stale.
func vanished(err error) bool { return errors.Is(err, fs.ErrNotExist) || IsStale(err) }

func (s *Share) makeParents(p volpath.Path) error {
	current, err := s.openRoot()
	if err != nil {
		return err
	}
	elements := p.Elements()
	for _, element := range elements[:len(elements)-1] {
		next, err := current.open(element, toRead)
		if errors.Is(err, fs.ErrNotExist) {
			if _, err = makeDirectory(current, element); err == nil {
				next, err = current.open(element, toRead)
			}
		} else if errors.Is(err, fs.ErrPermission) {
			next, err = current.open(element, asPlace)
		}
		s.done(current)
		if err != nil {
			return err
		}
		current = next
	}
	s.done(current)
	return nil
}

// IsMarked reports whether p is an empty directory that claimdir has created and that did not
// become a volume; see markedMode.
func (s *Share) IsMarked(p volpath.Path) (is bool, err error) {
	err = s.inParent(p, func(parent *dir) error {
		is, err = emptyAndMarked(parent, p.Base())
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotDirectory) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", p, plain(err))
	}
	return is, nil
}

func emptyAndMarked(parent *dir, name string) (bool, error) {
	stat, err := parent.look(name)
	if err != nil || !marked(stat) {
		return false, err
	}
	opened, err := parent.open(name, toRead)
	if err != nil {
		return false, err
	}
	defer opened.close()
	switch err := isEmpty(opened); {
	case errors.Is(err, ErrOccupied):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, nil
}

// RemoveMarked removes p if it is marked as ours and empty. It reports whether p is gone. It can
// remove nothing but an empty directory, whatever is swapped in at the name meanwhile.
func (s *Share) RemoveMarked(p volpath.Path) (gone bool, err error) {
	err = s.inParent(p, func(parent *dir) error {
		if stat, err := parent.look(p.Base()); err != nil || !marked(stat) {
			return err
		}
		if gone, err = true, parent.rmdir(p.Base()); isOccupied(err) {
			gone, err = false, nil
		}
		return err
	})
	if vanished(err) { // or the directory that it was in has
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("remove the empty parent %s: %w", p, plain(err))
	}
	return gone, nil
}

// Mark marks the directory p if it has the given file number, which layout 1 recorded for the
// parents it created. The error is ErrChanged if p has another number.
func (s *Share) Mark(p volpath.Path, number uint64) error {
	err := s.inParent(p, func(parent *dir) error {
		opened, err := parent.open(p.Base(), toRead)
		if err != nil {
			return err
		}
		defer opened.close()
		if stat, err := opened.self(); err != nil || stat.Ino != number {
			return errors.Join(err, ErrChanged)
		}
		return opened.run("mark "+p.Base(), func() error { return opened.file.Chmod(fileMode(markedMode)) })
	})
	if err != nil {
		return fmt.Errorf("mark parent %s: %w", p, plain(err))
	}
	return nil
}
