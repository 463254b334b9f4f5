package share

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/volpath"
)

// A directory that leaves its path is set aside first: it is renamed to
// .claimdir/<in>/<own>/volume, where <own> is its volume's own name (volpath.Own). A rename that
// the server executes late, when the path belongs to another volume, then does no harm:
//
//   - The rename names its target directory by handle. A repeat removes that directory and
//     creates it anew, so the late rename fails.
//   - SetAside compares the identity of the directory that arrived with the expected one, and
//     moves a wrong one back. After a rename an NFS client shows the server's state only if the
//     directory is listed (see openListed); this one has a single entry.
//
// All later calls use the own name. A repeat or a late call therefore finds this volume's
// directory, or none.

// MovingDir is the directory below .claimdir for directories that are becoming archives or being
// restored.
const MovingDir = "moving"

// asideName is the name of a directory that was set aside, inside <own>.
const asideName = "volume"

func aside(in, own string) spot { return inDirectory(path.Join(in, own), asideName) }

// SetAside moves the directory p, whose identity must match id, to .claimdir/<in>/<own>/volume. The
// error is fs.ErrNotExist if p is absent, and fs.ErrExist if own holds something. If another
// directory arrives, because somebody has exchanged p, SetAside moves it back to p and returns
// ErrChanged. A directory that cannot be moved stays where it is; see CannotMove.
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
	arrived, err := s.asideOnce(in, own)
	switch {
	case errors.Is(err, fs.ErrNotExist): // another process has brought it back
		return ErrChanged
	case err == nil && id.Match(arrived) != Different:
		return nil
	case err == nil, errors.Is(err, ErrNotDirectory):
		err = errors.Join(ErrChanged, err)
	default:
		return fmt.Errorf("look at the directory that arrived: %w", err)
	}
	if back := s.moveBack(aside(in, own), at(p)); back != nil {
		if errors.Is(err, ErrNotDirectory) && s.removeLinkAside(in, own) == nil { // the directory is at p again
			return err
		}
		return fmt.Errorf("%w, and moving it back failed: %w", err, back)
	}
	return errors.Join(err, s.RemoveEmptyDirectory(in, own))
}

// whyAbsent tells an absent p from an own directory that another process has removed meanwhile.
func (s *Share) whyAbsent(p volpath.Path, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, there := s.Identify(p); there == nil {
		return errOwnRemoved
	}
	return err
}

// errOwnRemoved says that another process continues the work or empties the trash.
var errOwnRemoved = errors.New("another process has removed the directory to move it to")

// makeOwn creates the own directory anew, so that no earlier call has a handle of it.
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

// Aside returns the identity of the directory that was set aside as own, as the server has it. The
// error is fs.ErrNotExist if there is none. A symbolic link does not count, and is removed together
// with own; anything else that is no directory is an ErrNotDirectory.
func (s *Share) Aside(in, own string) (id *Identity, err error) {
	id, err = s.asideOnce(in, own)
	if !errors.Is(err, ErrNotDirectory) {
		return id, err
	}
	if err = s.removeLinkAside(in, own); err == nil {
		err = fs.ErrNotExist
	}
	return nil, err
}

// removeLinkAside removes a link that SetAside moved because it had taken the directory's place, and could not move back because
// the directory was there again. Of anything but a link the error is ErrNotDirectory.
func (s *Share) removeLinkAside(in, own string) error {
	err := s.inMeta(path.Join(in, own), "remove the link in", func(d *dir) error {
		stat, err := d.look(asideName)
		if err != nil || stat.Mode&unix.S_IFMT != unix.S_IFLNK {
			return errors.Join(err, ErrNotDirectory)
		}
		return d.unlink(asideName)
	})
	if err != nil {
		return err
	}
	return s.RemoveEmptyDirectory(in, own)
}

func (s *Share) asideOnce(in, own string) (id *Identity, err error) {
	err = s.inMeta(path.Join(in, own), "look into", func(d *dir) (err error) {
		id, err = s.identifyListed(d, asideName)
		return err
	})
	return id, err
}

// BringBack moves a directory that was set aside to p, whose parent must exist. The error is
// fs.ErrExist if p exists, and fs.ErrNotExist if own holds nothing. The caller has checked the
// identity with Aside.
func (s *Share) BringBack(in, own string, p volpath.Path) error {
	if err := s.moveOnce(aside(in, own), at(p)); err != nil {
		return fmt.Errorf("move %s to %s: %w", path.Join(metaDir, in, own), p, plain(err))
	}
	return s.RemoveEmptyDirectory(in, own)
}

// RemoveEmpty removes the directory p if it is empty and its identity matches id. If it is not
// empty, it stays and the error is ErrOccupied. RemoveEmpty sets the directory aside as own first,
// so that a late rmdir hits no other volume's directory. A repeat continues with the directory that
// was set aside.
//
// ours returns an error if p has another owner by now. It is asked after the directory was set
// aside, and then the directory goes back to p: a file system that gives no handles may have given
// a removed directory's number to the one of another volume.
func (s *Share) RemoveEmpty(p volpath.Path, own string, id *Identity, ours func() error) error {
	err := s.setAside(p, MovingDir, own, id)
	if errors.Is(err, fs.ErrExist) { // remove the directory of an earlier call first
		if err = s.removeAside(p, own, ours); err == nil {
			err = s.setAside(p, MovingDir, own, id)
		}
	}
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		err = s.removeAside(p, own, ours)
	case CannotMove(err):
		if err = ours(); err == nil {
			err = s.inParent(p, func(parent *dir) error { return parent.rmdir(p.Base()) })
		}
	}
	switch {
	case isOccupied(err):
		return fmt.Errorf("remove empty %s: %w", p, errors.Join(ErrOccupied, err))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("remove empty %s: %w", p, plain(err))
	}
	return nil
}

// removeAside removes the directory that RemoveEmpty has set aside, if it is empty and p is still
// ours, and otherwise moves it back to p. It is no error if there is none.
func (s *Share) removeAside(p volpath.Path, own string, ours func() error) error {
	lost := ours()
	if lost != nil {
		err := s.BringBack(MovingDir, own, p)
		if !errors.Is(err, fs.ErrExist) {
			return errors.Join(lost, ignoreAbsent(err))
		}
		// The new owner has created its own directory meanwhile: this one is not needed.
	}
	err := s.inMeta(path.Join(MovingDir, own), "remove the directory set aside in", func(d *dir) error { return d.rmdir(asideName) })
	switch {
	case lost != nil && err != nil:
		return fmt.Errorf("%w; the directory set aside as %s stays: %w", lost, path.Join(metaDir, MovingDir, own), plain(err))
	case lost != nil:
		return errors.Join(lost, s.RemoveEmptyDirectory(MovingDir, own))
	case isOccupied(err):
		return errors.Join(ErrOccupied, s.BringBack(MovingDir, own, p))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return s.RemoveEmptyDirectory(MovingDir, own)
}

// Rename renames the directory from, whose identity must match id, to the name to, without setting
// it aside. It is for a directory that cannot move to another parent; to must have the same one. It
// compares identities and moves back as SetAside does, and lists the parent of to.
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
	err = s.inParent(to, func(parent *dir) (err error) {
		arrived, err = s.identifyListed(parent, to.Base())
		return err
	})
	if err != nil || seen.Match(arrived) != Different {
		return err
	}
	return errors.Join(ErrChanged, s.moveOnce(at(to), at(from)))
}

// ListAside lists a directory below .claimdir, as the server has it. An absent directory is empty.
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

// IsFirstTrash reports whether a name in the trash is of layout 1, where it is the directory
// itself.
func IsFirstTrash(name string) bool { return !volpath.IsOwn(name) }

// FirstTrash returns the identity of a directory that layout 1 left in the trash, as the server has
// it.
func (s *Share) FirstTrash(name string) (found *Identity, err error) {
	err = s.inMeta(TrashDir, "look at "+name+" in", func(d *dir) (err error) {
		found, err = s.identifyListed(d, name)
		return err
	})
	return found, err
}
