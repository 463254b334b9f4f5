package share

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"claimdir/provisioner/volpath"
)

// Share is one mounted export. It holds no open files and is safe for
// concurrent use; a view of it, made by During, is for one operation.
type Share struct {
	dir  string
	mark *mark
	ctx  context.Context //nolint:containedctx // see During: a view of one operation ends with it
	call Call
	held *held // by a view
}

var (
	// ErrNotDirectory says that a path of the share leads over or to something
	// that is no directory: a file, or a symbolic link, which is never followed.
	ErrNotDirectory = errors.New("is not a directory (symbolic links are not followed)")
	// ErrOccupied says that a directory to be made exists with something in it.
	ErrOccupied = fmt.Errorf("%w and is not empty", fs.ErrExist)
	// ErrChanged says that a directory is not the one that was meant. It is where it
	// was, or was put back there.
	ErrChanged = errors.New("is another directory than the one that was meant")
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
	err := s.inParent(p, func(parent *dir) error {
		if _, err := parent.isDirectory(p.Base()); err != nil {
			return err
		}
		return s.checkSpellings(p, parent)
	})
	switch {
	case errors.Is(err, fs.ErrNotExist): // also in the middle, or renamed just now
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at %s: %w", p, plain(err))
	}
	return true, nil
}

// inParent calls do with the directory that holds p.
func (s *Share) inParent(p volpath.Path, do func(parent *dir) error) error {
	parent, err := s.openParent(p)
	if err != nil {
		return err
	}
	defer s.done(parent)
	return do(parent)
}

// openParent opens the directory that holds p, anew by its path.
func (s *Share) openParent(p volpath.Path) (*dir, error) {
	elements := p.Elements()
	root, err := s.openRoot()
	if err != nil {
		return nil, err
	}
	return s.descend(root, elements[:len(elements)-1])
}

// descend opens the directory at elements below root, element by element and
// without following a link, and closes root.
func (s *Share) descend(root *dir, elements []string) (*dir, error) {
	for _, element := range elements {
		next, err := root.open(element, toRead)
		if errors.Is(err, fs.ErrPermission) { // we may pass through what we may not list
			next, err = root.open(element, asPlace)
		}
		s.done(root)
		if err != nil {
			return nil, err
		}
		root = next
	}
	return root, nil
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

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
