package share

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"claimdir/provisioner/volpath"
)

// Share is one mounted export. It holds no open files and is safe for
// concurrent use.
type Share struct {
	dir   string
	mark  *mark
	ctx   context.Context //nolint:containedctx // see During: a view of one operation ends with it
	began func()
	held  *held // by a view
}

var (
	// ErrNotDirectory says that a path of the share leads over or to something
	// that is no directory: a file, or a symbolic link, which is never followed.
	ErrNotDirectory = errors.New("is not a directory (symbolic links are not followed)")
	// ErrOccupied says that a directory to be made exists with something in it.
	ErrOccupied = fmt.Errorf("%w and is not empty", fs.ErrExist)
	// ErrChanged says that a directory was exchanged for another one while it
	// was being opened, or is not the one that was meant. A retry finds either.
	ErrChanged = errors.New("was exchanged for another one meanwhile")
)

// Open returns the share mounted at dir, or an error if dir is no directory.
func Open(dir string) (*Share, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("open share %s: %w", dir, plain(err))
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open share %s: %w", dir, ErrNotDirectory)
	}
	return &Share{dir: dir, mark: &mark{}}, nil
}

// Dir is the directory where this process sees the share, for messages.
func (s *Share) Dir() string { return s.dir }

// Exists reports whether p is a directory of the share. Anything else at p is
// an ErrNotDirectory, a directory that the share has in another spelling is an
// ErrSpelling, and what cannot be known is an error: never take an error for
// absence.
func (s *Share) Exists(p volpath.Path) (bool, error) {
	parent, err := s.openParent(p)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer s.closeRoot(parent)
	info, err := parent.Lstat(p.Base())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at %s: %w", p, plain(err))
	case !info.IsDir():
		return false, fmt.Errorf("look at %s: %w", p, ErrNotDirectory)
	}
	switch err := s.checkSpellings(p); {
	case errors.Is(err, fs.ErrNotExist): // it was renamed or removed just now
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at %s: %w", p, plain(err))
	}
	return true, nil
}

// RemoveEmpty removes p if it is an empty directory and fails otherwise. An
// absent path is no error.
func (s *Share) RemoveEmpty(p volpath.Path) error {
	parent, err := s.openParent(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.closeRoot(parent)
	if err := parent.Remove(p.Base()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove empty %s: %w", p, plain(err))
	}
	return nil
}

// openParent opens the directory that holds p.
func (s *Share) openParent(p volpath.Path) (*os.Root, error) {
	elements := p.Elements()
	root, err := s.openRoot()
	if err != nil {
		return nil, err
	}
	return s.descend(root, elements[:len(elements)-1])
}

// unreachable marks an error of the mount directory itself.
func unreachable(err error) error { return &reachError{plain(err)} }

// reachError is an error of the share as a whole. It is any errno but the one of
// what is absent: a share that is gone must never look like a volume that is.
type reachError struct{ err error }

func (e *reachError) Error() string { return "reach the share: " + e.err.Error() }

func (e *reachError) Unwrap() error {
	if errors.Is(e.err, fs.ErrNotExist) {
		return nil
	}
	return e.err
}

// plain takes the names of system calls off an error: who wraps it says which
// step it was, and of what path.
func plain(err error) error {
	switch e := err.(type) { //nolint:errorlint // the outermost is meant
	case *fs.PathError:
		return plain(e.Err)
	case *os.LinkError:
		return plain(e.Err)
	case *os.SyscallError:
		return plain(e.Err)
	}
	return err
}

// descend opens the directory at elements below root and closes root. An
// element that is a link is refused: it is looked at first without following,
// and what was opened must be the very directory that was seen, so a link
// swapped in between is noticed. (os.Root alone follows links that stay
// inside.)
func (s *Share) descend(root *os.Root, elements []string) (*os.Root, error) {
	for _, element := range elements {
		next, err := openChild(root, element)
		s.closeRoot(root)
		if err != nil {
			return nil, err
		}
		root = next
	}
	return root, nil
}

// openChild opens one directory of parent without following a link.
func openChild(parent *os.Root, name string) (*os.Root, error) {
	seen, err := parent.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", name, plain(err))
	}
	if !seen.IsDir() {
		return nil, fmt.Errorf("open %s: %w", name, ErrNotDirectory)
	}
	// With "/." after it, name is opened as a directory or not at all. Alone it
	// would be opened as whatever it is by now, and a pipe opens when somebody
	// writes to it: never.
	child, err := parent.OpenRoot(name + "/.")
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, plain(err))
	}
	opened, err := child.Stat(".")
	if err == nil && !os.SameFile(seen, opened) {
		err = ErrChanged
	}
	if err != nil {
		closeRoot(child)
		return nil, fmt.Errorf("open %s: %w", name, plain(err))
	}
	return child, nil
}

// closeRoot closes a directory that was only read or passed through; such a
// close has nothing to report.
func closeRoot(root *os.Root) { _ = root.Close() }
