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

// Share is one mounted export. It holds no open files and is safe for concurrent use. During makes
// a view of it for one operation.
type Share struct {
	dir  string
	mark *mark
	ctx  context.Context // of a view: its operation; nil otherwise
	call Call
	held *held // open directories of a view; nil otherwise
}

var (
	// ErrNotDirectory says that an element of a path is not a directory but a file or a symbolic
	// link, which is never followed.
	ErrNotDirectory = errors.New("is not a directory (symbolic links are not followed)")
	// ErrOccupied says that a directory exists and is not empty.
	ErrOccupied = fmt.Errorf("%w and is not empty", fs.ErrExist)
	// ErrChanged says that a directory is not the expected one. The call left it where it was, or
	// moved it back there.
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

// Dir is the mount directory, for messages.
func (s *Share) Dir() string { return s.dir }

// Exists reports whether p is a directory of the share. The error is ErrNotDirectory for anything
// else at p, and ErrSpelling for a directory that the share has in another spelling. Callers must
// never take an error for absence.
func (s *Share) Exists(p volpath.Path) (bool, error) {
	err := s.inParent(p, func(parent *dir) error {
		if _, err := parent.isDirectory(p.Base()); err != nil {
			return err
		}
		return s.checkSpellings(p, parent)
	})
	switch {
	case errors.Is(err, fs.ErrNotExist): // p, a directory above it, or renamed meanwhile
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

// openParent opens the directory that holds p by its path.
func (s *Share) openParent(p volpath.Path) (*dir, error) {
	elements := p.Elements()
	root, err := s.openRoot()
	if err != nil {
		return nil, err
	}
	return s.descend(root, elements[:len(elements)-1])
}

// descend opens the directory at elements below root, one element at a time and without following a
// link. It closes root.
func (s *Share) descend(root *dir, elements []string) (*dir, error) {
	for _, element := range elements {
		next, err := root.open(element, toRead)
		if errors.Is(err, fs.ErrPermission) { // the mode may allow to pass through a directory but not to list it
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

// unreachable marks an error as one of the mount directory.
func unreachable(err error) error { return &reachError{plain(err)} }

// reachError is an error of the share as a whole. It never matches fs.ErrNotExist, so that a
// missing share does not look like a missing volume.
type reachError struct{ err error }

func (e *reachError) Error() string { return "reach the share: " + e.err.Error() }

func (e *reachError) Unwrap() error {
	if errors.Is(e.err, fs.ErrNotExist) {
		return nil
	}
	return e.err
}

// plain removes the names of system calls from an error. The caller wraps the error with the step
// and the path.
func plain(err error) error {
	switch e := err.(type) { //nolint:errorlint // only the outermost error counts
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
