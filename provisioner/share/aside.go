package share

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/volpath"
)

// A directory that leaves its path is set aside first: it is renamed into a directory of
// its own, .claimdir/<in>/<own>/volume. That makes a rename harmless that arrives late,
// when its path is another volume's:
//
//   - It names the directory that it goes to by its handle, and that one is removed and
//     made anew by whoever goes on with the work. The late rename then fails.
//   - What arrived is compared with what was meant, and put back. After a rename an NFS
//     client does not tell the truth unless the directory is listed (see openListed), and
//     this one has a single entry.
//
// On from there the name is the volume's own, so a repeat or a late call finds that
// volume's directory or none.

// MovingDir holds, below .claimdir, directories on their way to an archive or from one.
const MovingDir = "moving"

// asideName is what a directory is called in the directory of its own.
const asideName = "volume"

func aside(in, own string) spot { return inDirectory(path.Join(in, own), asideName) }

// SetAside moves the directory p, which must be the one that id says, into a directory
// of its own below .claimdir/in. An absent p is fs.ErrNotExist; own that holds something
// is fs.ErrExist. If another directory arrives, because p was exchanged since it was
// looked at, it goes back to p, and the error is ErrChanged. What cannot be moved stays
// as it is: see CannotMove.
func (s *Share) SetAside(p volpath.Path, in, own string, id *Identity) error {
	err := s.setAside(p, in, own, id)
	if err != nil {
		return fmt.Errorf("set %s aside as %s: %w", p, path.Join(metaDir, in, own), plain(err))
	}
	return nil
}

func (s *Share) setAside(p volpath.Path, in, own string, id *Identity) error {
	if err := s.makeOwn(in, own); err != nil {
		return err
	}
	if err := s.moveInto(at(p), aside(in, own)); err != nil {
		return errors.Join(s.whyAbsent(p, err), s.RemoveEmptyDirectory(in, own))
	}
	arrived, err := s.Aside(in, own)
	switch {
	case errors.Is(err, fs.ErrNotExist): // somebody brought it back already
		return ErrChanged
	case err == nil && id.Match(arrived) != Different:
		return nil
	case err == nil, errors.Is(err, ErrNotDirectory):
		err = errors.Join(ErrChanged, err)
	default:
		return fmt.Errorf("look at what arrived: %w", err)
	}
	if back := s.moveBack(aside(in, own), at(p)); back != nil {
		return fmt.Errorf("%w, and cannot be put back: %w", err, back)
	}
	return errors.Join(err, s.RemoveEmptyDirectory(in, own))
}

// whyAbsent tells an absent p from a directory of its own that was removed meanwhile.
func (s *Share) whyAbsent(p volpath.Path, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, there := s.Identify(p); there == nil {
		return errOwnRemoved
	}
	return err
}

// errOwnRemoved says that somebody else goes on with the work, or empties the trash.
var errOwnRemoved = errors.New("the directory to move it to was removed meanwhile")

// makeOwn makes a directory that no earlier call has opened.
func (s *Share) makeOwn(in, own string) error {
	makeIt := func(d *dir) error {
		err := d.mkdir(own, 0o700)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := d.rmdir(own); err != nil && !errors.Is(err, fs.ErrNotExist) {
			if errors.Is(err, unix.ENOTEMPTY) {
				return fs.ErrExist
			}
			return err
		}
		return d.mkdir(own, 0o700)
	}
	s.drop(path.Join(in, own))
	err := s.inMeta(in, "make "+own+" in", makeIt)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.MakeMeta(in); err != nil {
		return err
	}
	return s.inMeta(in, "make "+own+" in", makeIt)
}

// Aside returns which directory was set aside, as the server has it, and fs.ErrNotExist if
// none was.
func (s *Share) Aside(in, own string) (id *Identity, err error) {
	err = s.inMeta(path.Join(in, own), "look into", func(d *dir) error {
		opened, found, err := s.openListed(d, asideName)
		if err == nil {
			opened.close()
		}
		id = found
		return err
	})
	return id, err
}

// BringBack moves a directory that was set aside to p, whose parent must exist. An
// existing p is fs.ErrExist; one that is not aside any more is fs.ErrNotExist. The
// caller knows by Aside which directory it is.
func (s *Share) BringBack(in, own string, p volpath.Path) error {
	if err := s.moveOnce(aside(in, own), at(p)); err != nil {
		return fmt.Errorf("move %s to %s: %w", path.Join(metaDir, in, own), p, plain(err))
	}
	return s.RemoveEmptyDirectory(in, own)
}

// RemoveEmpty removes the directory p if it is the one that id says and empty. Anything
// in it is an ErrOccupied, and it stays. It is set aside first, so that an rmdir that
// comes late hits nobody's directory; own is what it is called there. A repeat goes on
// with what was set aside.
func (s *Share) RemoveEmpty(p volpath.Path, own string, id *Identity) error {
	err := s.setAside(p, MovingDir, own, id)
	if errors.Is(err, fs.ErrExist) { // what an earlier call has set aside comes first
		if err = s.removeAside(p, own); err == nil {
			err = s.setAside(p, MovingDir, own, id)
		}
	}
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		err = s.removeAside(p, own)
	case CannotMove(err):
		err = s.inParent(p, func(parent *dir) error { return parent.rmdir(p.Base()) })
	}
	switch {
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, fs.ErrExist):
		return fmt.Errorf("remove empty %s: %w", p, errors.Join(ErrOccupied, err))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("remove empty %s: %w", p, plain(err))
	}
	return nil
}

// removeAside removes the directory that RemoveEmpty has set aside, if it is empty. One
// with something in it goes back to p. Where none is, that is no error.
func (s *Share) removeAside(p volpath.Path, own string) error {
	err := s.inMeta(path.Join(MovingDir, own), "remove what was set aside in", func(d *dir) error { return d.rmdir(asideName) })
	switch {
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, fs.ErrExist):
		return errors.Join(ErrOccupied, s.BringBack(MovingDir, own, p))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return s.RemoveEmptyDirectory(MovingDir, own)
}

// Rename gives the directory from, which must be the one that id says, the name to,
// without setting it aside: for one that may not get another parent, and stays below the
// one that it has. It behaves as SetAside does, and lists the parent of to.
func (s *Share) Rename(from, to volpath.Path, id *Identity) error {
	err := s.rename(from, to, id)
	if err != nil {
		return fmt.Errorf("rename %s to %s: %w", from, to, plain(err))
	}
	return nil
}

func (s *Share) rename(from, to volpath.Path, id *Identity) error {
	seen, err := s.Identify(from)
	if err != nil {
		return err
	}
	if id.Match(seen) == Different {
		return ErrChanged
	}
	if err := s.moveOnce(at(from), at(to)); err != nil {
		return err
	}
	var arrived *Identity
	err = s.inParent(to, func(parent *dir) error {
		opened, found, err := s.openListed(parent, to.Base())
		if err == nil {
			opened.close()
		}
		arrived = found
		return err
	})
	if err != nil || seen.Match(arrived) != Different {
		return err
	}
	return errors.Join(ErrChanged, s.moveOnce(at(to), at(from)))
}

// ListAside returns what a directory below .claimdir holds, as the server has it; one that
// is absent is empty.
func (s *Share) ListAside(in string) (entries []Entry, err error) {
	s.drop(in)
	err = s.inMeta(in, "list", func(d *dir) error {
		found, err := d.entries()
		for _, e := range found {
			entries = append(entries, Entry{e.name, e.kind == unix.DT_DIR, e.inode})
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}

// IsFirstTrash reports whether an older claimdir left what has the name in the trash,
// without a directory of its own.
func IsFirstTrash(name string) bool { return !volpath.IsOwn(name) }

// FirstTrash returns which directory an older claimdir left in the trash under a name, as
// the server has it.
func (s *Share) FirstTrash(name string) (found *Identity, err error) {
	err = s.inMeta(TrashDir, "look at "+name+" in", func(d *dir) error {
		opened, id, err := s.openListed(d, name)
		if err == nil {
			opened.close()
		}
		found = id
		return err
	})
	return found, err
}
