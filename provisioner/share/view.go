package share

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"
)

// ErrNotRecognised says that what is mounted is not the share that was
// recognised: nothing is mounted there any more, or something else is. Whatever
// is missing on it is not gone.
var ErrNotRecognised = errors.New("this is not the share that was here before")

// During returns the share as one operation sees it, whose calls come one after
// the other: once ctx is done, they fail with its cause before they touch
// anything. began, if not nil, is told whenever one begins. The root of the share
// is opened once; Release it at the end.
func (s *Share) During(ctx context.Context, began func()) *Share {
	view := *s
	view.ctx, view.began, view.held = ctx, began, &held{}
	return &view
}

// held are the directories that a view keeps open from call to call.
type held struct{ root, meta *os.Root }

// Release closes what a view holds open. The next call opens it anew, so it also
// lets go of handles that went stale.
func (s *Share) Release() {
	if s.held == nil {
		return
	}
	for _, root := range []*os.Root{s.held.meta, s.held.root} {
		if root != nil {
			closeRoot(root)
		}
	}
	*s.held = held{}
}

// closeRoot closes a directory that is not held open.
func (s *Share) closeRoot(root *os.Root) {
	if s.held == nil || root != s.held.root && root != s.held.meta {
		closeRoot(root)
	}
}

// Recognise makes the file name below .claimdir, with content data, what the
// share is known by. From now on each call, or each view, looks for it first,
// through the same open directory that it goes on to use: were something else
// mounted there before, in the middle of or after the call, it would still act on
// this share or fail with ErrNotRecognised.
func (s *Share) Recognise(name string, data []byte) {
	s.mark.mu.Lock()
	defer s.mark.mu.Unlock()
	s.mark.file, s.mark.data, s.mark.seen = path.Join(metaDir, name), data, nil
}

// IsStale reports whether err is that of a handle which the server does not
// know any more. A repeat opens everything anew.
func IsStale(err error) bool { return errors.Is(err, syscall.ESTALE) }

// mark is a file that tells a share from every other one. All views of a Share
// have the same.
type mark struct {
	mu   sync.Mutex
	file string // from the root of the share; empty while nothing is recognised
	data []byte
	seen fs.FileInfo // what the file was when its content was compared last
}

// openRoot opens the mount directory anew, unless a view holds it.
func (s *Share) openRoot() (*os.Root, error) {
	if s.ctx != nil && s.ctx.Err() != nil {
		return nil, context.Cause(s.ctx)
	}
	if s.began != nil {
		s.began()
	}
	if s.held != nil && s.held.root != nil {
		return s.held.root, nil
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, unreachable(err)
	}
	if err := s.mark.check(root); err != nil {
		closeRoot(root)
		return nil, err
	}
	if s.held != nil {
		s.held.root = root
	}
	return root, nil
}

// check compares the file's content only when the file itself is another one
// than last time: a file of another share would have to have the same number,
// size and nanosecond of change, on the same device.
func (m *mark) check(root *os.Root) error {
	m.mu.Lock()
	file, data, seen := m.file, m.data, m.seen
	m.mu.Unlock()
	if file == "" {
		return nil
	}
	info, err := root.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: it has no %s", ErrNotRecognised, file)
	case err != nil:
		return unreachable(err)
	case seen != nil && os.SameFile(seen, info) && seen.ModTime().Equal(info.ModTime()) && seen.Size() == info.Size():
		return nil
	case !info.Mode().IsRegular() || info.Size() != int64(len(data)):
		return fmt.Errorf("%w: its %s is another one", ErrNotRecognised, file)
	}
	found, err := root.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: it has no %s", ErrNotRecognised, file)
	}
	if err != nil {
		return unreachable(err)
	}
	if !bytes.Equal(found, data) {
		return fmt.Errorf("%w: its %s is another one", ErrNotRecognised, file)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = info
	return nil
}
