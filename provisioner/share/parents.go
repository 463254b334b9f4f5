package share

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/volpath"
)

const (
	// parentMode is the mode of directories that are made only because a path has
	// several elements: anyone may pass through, only we may add to them.
	parentMode = 0o755
	// unfinishedMode is the one they are made with, and have until it is on record
	// which directory was made. Nobody else gives a directory that mode, so one
	// that was made just before a kill, or whose making was answered with "it
	// exists" because the first answer got lost, is told from a stranger's.
	unfinishedMode = unix.S_ISVTX | 0o700
)

// FileID tells a directory from another one that has its name later.
type FileID struct {
	// Number is the file number (inode). File systems give a number out again.
	Number uint64 `json:"number"`
	// UID is the owner: one who has given the directory to somebody else made it
	// theirs.
	UID uint32 `json:"uid"`
	// Born is when it was made, where the share tells.
	Born *time.Time `json:"born,omitempty"`
}

// Same reports whether both are of one directory, as far as both know.
func (id FileID) Same(other FileID) bool {
	return id.Number == other.Number && id.UID == other.UID && (id.Born == nil || other.Born == nil || id.Born.Equal(*other.Born))
}

// Parent is what a directory above volumes is.
type Parent struct {
	ID FileID
	// Unfinished: MakeParent made it, and FinishParent was not called.
	Unfinished bool
	// Occupied: something was seen in it. One that cannot be looked into is not.
	Occupied bool
}

// FinishedParents returns how many of p's parents, from the root of the share
// down, are there and finished. Each that is there is looked up once; for a path
// of one element nothing is.
func (s *Share) FinishedParents(p volpath.Path) (n int, err error) {
	elements := p.Elements()
	parents := elements[:len(elements)-1]
	if len(parents) == 0 {
		return 0, nil
	}
	dir, err := s.openRoot()
	if err != nil {
		return 0, err
	}
	defer func() { s.closeRoot(dir) }()
	for ; n < len(parents); n++ {
		info, err := dir.Lstat(parents[n])
		if err == nil && info.Mode()&(fs.ModePerm|fs.ModeSticky) == fileMode(unfinishedMode) {
			return n, nil
		}
		var next *os.Root
		if err == nil && n < len(parents)-1 { // what the last one is, whoever opens it sees
			next, err = openChild(dir, parents[n])
		}
		if errors.Is(err, fs.ErrNotExist) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("look at the parents of %s: %w", p, plain(err))
		}
		if next != nil {
			s.closeRoot(dir)
			dir = next
		}
	}
	return n, nil
}

// LookParent says what is at p: fs.ErrNotExist if nothing is, ErrNotDirectory if
// no directory.
func (s *Share) LookParent(p volpath.Path) (found Parent, err error) {
	err = s.inParent(p, func(dir *os.Root, fd int) error {
		if found, err = parentAt(fd, p.Base()); err == nil {
			found.Occupied = occupied(dir, p.Base())
		}
		return err
	})
	if err != nil {
		return Parent{}, fmt.Errorf("look at parent %s: %w", p, plain(err))
	}
	return found, nil
}

// MakeParent makes the directory p below one that is there, and says which it
// is. It is unfinished until FinishParent. Whatever is at p already is
// fs.ErrExist, or ErrSpelling.
func (s *Share) MakeParent(p volpath.Path) (id FileID, err error) {
	err = s.inParent(p, func(dir *os.Root, fd int) error {
		err := unix.Mkdirat(fd, p.Base(), unfinishedMode)
		if errors.Is(err, fs.ErrExist) {
			if found, looked := dir.Lstat(p.Base()); looked == nil {
				err = errors.Join(checkSpelling(dir, p.Base(), found), err)
			}
		}
		if err != nil {
			return err
		}
		made, err := parentAt(fd, p.Base())
		id = made.ID
		return err
	})
	if err != nil {
		return FileID{}, fmt.Errorf("make parent %s: %w", p, plain(err))
	}
	return id, nil
}

// FinishParent gives p, which MakeParent made, the mode that parents have.
func (s *Share) FinishParent(p volpath.Path) error {
	err := s.inParent(p, func(parent *os.Root, _ int) error {
		dir, err := openFile(parent, p.Base())
		if err != nil {
			return err
		}
		return errors.Join(dir.Chmod(parentMode), dir.Close())
	})
	if err != nil {
		return fmt.Errorf("set mode of parent %s: %w", p, plain(err))
	}
	return nil
}

// RemoveParent removes the directory p if it is id and empty. Anything in it is
// fs.ErrExist, and another directory at p ErrChanged. Nothing but an empty
// directory can be removed by it, whatever is swapped in at the name meanwhile.
func (s *Share) RemoveParent(p volpath.Path, id FileID) error {
	err := s.inParent(p, func(_ *os.Root, fd int) error {
		found, err := parentAt(fd, p.Base())
		if err == nil && !found.ID.Same(id) {
			err = ErrChanged
		}
		if err != nil {
			return err
		}
		return unix.Unlinkat(fd, p.Base(), unix.AT_REMOVEDIR)
	})
	if err != nil {
		return fmt.Errorf("remove parent %s: %w", p, plain(err))
	}
	return nil
}

// inParent calls do with the directory that holds p, which fd is of.
func (s *Share) inParent(p volpath.Path, do func(dir *os.Root, fd int) error) error {
	dir, err := s.openParent(p)
	if err != nil {
		return err
	}
	defer s.closeRoot(dir)
	opened, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer opened.Close()
	return do(dir, int(opened.Fd()))
}

// parentAt looks at name in the open directory fd without following a link.
func parentAt(fd int, name string) (Parent, error) {
	var found unix.Statx_t
	if err := unix.Statx(fd, name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &found); err != nil {
		return Parent{}, err
	}
	if found.Mode&unix.S_IFMT != unix.S_IFDIR {
		return Parent{}, ErrNotDirectory
	}
	id := FileID{Number: found.Ino, UID: found.Uid}
	if found.Mask&unix.STATX_BTIME != 0 {
		id.Born = new(time.Unix(found.Btime.Sec, int64(found.Btime.Nsec)).UTC())
	}
	// A parent with setgid hands that on.
	return Parent{ID: id, Unfinished: found.Mode&(unix.S_ISVTX|0o777) == unfinishedMode}, nil
}

// occupied reports whether something is seen in the directory.
func occupied(parent *os.Root, name string) bool {
	dir, err := openFile(parent, name)
	if err != nil {
		return false
	}
	defer dir.Close()
	_, err = dir.Readdirnames(1)
	return err == nil
}
