package share

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"claimdir/provisioner/volpath"
)

// removeSlice is for how long one call removes before the next one begins: a
// tree of a million files takes its time, and a share that hangs must still be
// told from one that is busy.
const removeSlice = time.Second

// removeBatch is how many names of a directory are read at a time; it may have
// more than fit into memory.
const removeBatch = 256

// Remove removes p and everything in it; links inside are removed, not
// followed. A path that is absent, also in the middle, is no error. A removal
// that was cut off is continued by the next one. What cannot be removed does not
// keep the rest.
func (s *Share) Remove(p volpath.Path) error {
	for {
		done, err := s.removeSome(p, removeSlice)
		if done || err != nil {
			return err
		}
	}
}

// removeSome removes for about as long as the slice, and reports whether that was
// all.
func (s *Share) removeSome(p volpath.Path, slice time.Duration) (done bool, err error) {
	parent, err := s.openParent(p)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer s.closeRoot(parent)
	r := remover{until: time.Now().Add(slice)}
	err = r.remove(parent, p.Base(), "")
	switch {
	case errors.Is(err, errSliceOver):
		return false, nil
	case errors.Is(err, errKept) && r.kept > 1:
		err = fmt.Errorf("%w (and %d more)", r.first, r.kept-1)
	case errors.Is(err, errKept):
		err = r.first
	}
	if err != nil {
		return false, fmt.Errorf("remove %s: %w", p, plain(err))
	}
	return true, nil
}

var (
	// errSliceOver ends a slice in the middle.
	errSliceOver = errors.New("the slice is over")
	// errKept says of a directory that something in it could not be removed, which
	// is noted.
	errKept = errors.New("something in it cannot be removed")
)

// remover is one slice of a removal.
type remover struct {
	until time.Time
	first error // of what could not be removed
	kept  int   // how much that was
}

// rounds is how often a directory is emptied that is not empty afterwards: by
// then somebody is filling it.
const rounds = 3

// remove removes what name is in parent; at is its path from the one that is to
// be removed.
func (r *remover) remove(parent *os.Root, name, at string) (err error) {
	for range rounds {
		err = r.removeOnce(parent, name, at)
		if !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EEXIST) {
			break
		}
	}
	return err
}

// removeOnce looks what name is first: nobody knows what a server makes of an
// unlink of a directory.
func (r *remover) removeOnce(parent *os.Root, name, at string) error {
	info, err := parent.Lstat(name)
	if err == nil && info.IsDir() {
		err = r.empty(parent, name, at)
		if errors.Is(err, ErrNotDirectory) { // exchanged meanwhile
			err = nil
		}
	}
	if err == nil {
		err = parent.Remove(name)
	}
	if errors.Is(err, fs.ErrPermission) && info != nil && info.IsDir() && parent.Remove(name) == nil {
		return nil // nobody lets us look into it, but it is empty
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// empty removes what is in the directory name of parent, in passes: a server may
// leave out names while others are removed, and a tenant may make new ones.
func (r *remover) empty(parent *os.Root, name, at string) error {
	dir, err := openChild(parent, name)
	if err != nil {
		return err
	}
	defer closeRoot(dir)
	for {
		before := r.kept
		removed, err := r.pass(dir, at)
		switch {
		case err != nil:
			return err
		case r.kept > before && removed == 0:
			return errKept
		case removed == 0:
			return nil
		case r.kept == before && removed < removeBatch:
			return nil // most directories are empty after one pass; if not, the caller comes again
		}
		r.forget(before)
	}
}

// forget drops what was noted in a pass: the next one meets it again.
func (r *remover) forget(kept int) {
	if r.kept = kept; kept == 0 {
		r.first = nil
	}
}

// pass removes each name that it is shown, and returns how many it could.
func (r *remover) pass(dir *os.Root, at string) (removed int, err error) {
	self, err := dir.Open(".")
	if err != nil {
		return 0, err
	}
	defer self.Close()
	for {
		names, err := self.Readdirnames(removeBatch)
		for _, name := range names {
			inside := path.Join(at, name)
			switch err := r.removeIn(dir, self, name, inside); {
			case err == nil:
				removed++
			case errors.Is(err, errSliceOver):
				return removed, err
			case errors.Is(err, errKept): // noted
			default:
				if r.kept++; r.first == nil {
					r.first = fmt.Errorf("%s: %w", inside, plain(err))
				}
			}
			if time.Now().After(r.until) {
				return removed, errSliceOver
			}
		}
		if errors.Is(err, io.EOF) {
			return removed, nil
		}
		if err != nil {
			return removed, err
		}
	}
}

// removeIn is remove. In a directory that is sticky only CAP_FOWNER lets root
// remove somebody's file, and in a cluster we have no capability: the NFS client
// refuses the call before the server, to which we are root all the same, hears
// of it. A mode is for the server alone to decide, so the bit goes.
func (r *remover) removeIn(dir *os.Root, self *os.File, name, at string) error {
	err := r.remove(dir, name, at)
	if !errors.Is(err, syscall.EPERM) {
		return err
	}
	if clearErr := clearSticky(self); clearErr != nil {
		return errors.Join(err, clearErr)
	}
	return r.remove(dir, name, at)
}

func clearSticky(dir *os.File) error {
	info, err := dir.Stat()
	if err != nil || info.Mode()&fs.ModeSticky == 0 {
		return err
	}
	return dir.Chmod(info.Mode() &^ fs.ModeSticky)
}
