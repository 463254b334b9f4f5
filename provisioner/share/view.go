package share

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNotRecognised says that the mount directory is no longer the recognised share: nothing is
// mounted there, or something else. A directory that is missing there is not deleted.
var ErrNotRecognised = errors.New("this is not the share that was here before")

// Call runs one call to the file system. name describes it for people. A Call may return an error
// without running call.
type Call func(name string, call func() error) error

// During returns a view of the share for one operation, which must not use it concurrently. Once
// ctx is done, every call fails with the cause of ctx before it touches anything. The view makes
// its calls through call, unless that is nil. It keeps the root of the share and directories below
// .claimdir open from their first use on: later calls work in these very directories or fail. The
// caller must Release the view.
func (s *Share) During(ctx context.Context, call Call) *Share {
	view := *s
	view.ctx, view.call, view.held = ctx, call, &held{dirs: map[string]*dir{}}
	return &view
}

// held are the directories that a view keeps open between calls.
type held struct {
	root *dir
	dirs map[string]*dir // by path from the root
}

// Release closes the directories that a view keeps open. The next call opens them anew, so Release
// also drops stale handles.
func (s *Share) Release() {
	if s.held == nil {
		return
	}
	if s.held.root != nil {
		s.held.root.close()
	}
	for _, d := range s.held.dirs {
		d.close()
	}
	*s.held = held{dirs: map[string]*dir{}}
}

// hold keeps d open under a path until the view is released. It closes the directory that was held
// there before.
func (s *Share) hold(path string, d *dir) {
	if s.held == nil {
		return
	}
	if old := s.held.dirs[path]; old != nil && old != d {
		old.close()
	}
	s.held.dirs[path] = d
}

// Drop closes a directory below .claimdir that a view keeps open. The next call opens it anew.
func (s *Share) Drop(in string) { s.drop(in) }

// drop closes the directory that the view holds under a path.
func (s *Share) drop(path string) {
	if s.held != nil && s.held.dirs[path] != nil {
		s.held.dirs[path].close()
		delete(s.held.dirs, path)
	}
}

// done closes d, unless the view holds it open.
func (s *Share) done(d *dir) {
	if s.held != nil {
		if d == s.held.root {
			return
		}
		for _, open := range s.held.dirs {
			if d == open {
				return
			}
		}
	}
	d.close()
}

// Recognise sets the file by which the share is recognised: name below .claimdir, with a content
// that is accepts. From now on each call, or each view, checks this file first, through the open
// directory that it then works in. If something else is mounted before, during or after the check,
// the call still works on this share or fails with ErrNotRecognised.
func (s *Share) Recognise(name string, is func(data []byte) bool) {
	s.mark.mu.Lock()
	defer s.mark.mu.Unlock()
	s.mark.file, s.mark.is, s.mark.seen = name, is, fileSeen{}
}

// IsStale reports whether the server no longer knew a file handle. A repeat opens everything anew.
func IsStale(err error) bool { return errors.Is(err, syscall.ESTALE) }

// mark is the file by which a share is recognised. All views of a Share have the same mark.
type mark struct {
	mu   sync.Mutex
	file string // below .claimdir; empty before Recognise
	is   func(data []byte) bool
	seen fileSeen // the file when its content was last compared

	system int64  // see kind
	shared string // see Share.Shared
}

// fileSeen tells whether a name still is the same, unchanged file. Copying a share cannot preserve
// it, because no tool can set the time of change.
type fileSeen struct {
	device, number uint64
	size           int64
	changed        unix.Timespec
}

func seenOf(stat unix.Stat_t) fileSeen {
	return fileSeen{uint64(stat.Dev), stat.Ino, stat.Size, stat.Ctim} // types differ between architectures
}

// begin refuses a call once the context of the view is done.
func (s *Share) begin() error {
	if s.ctx != nil && s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return nil
}

func (s *Share) run(name string, call func() error) error {
	if err := s.begin(); err != nil {
		return err
	}
	if s.call == nil {
		return call()
	}
	return s.call(name, call)
}

// WaitFor waits until another operation closes done, or returns the cause once the context of the
// view is done.
func (s *Share) WaitFor(done <-chan struct{}) error {
	if s.ctx == nil {
		<-done
		return nil
	}
	select {
	case <-done:
		return s.begin()
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// openRoot opens the mount directory, unless the view holds it open.
func (s *Share) openRoot() (*dir, error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	if s.held != nil && s.held.root != nil {
		return s.held.root, nil
	}
	root, err := openMount(s)
	if err != nil {
		return nil, unreachable(err)
	}
	meta, err := s.mark.check(root)
	if err != nil {
		root.close()
		return nil, err
	}
	if s.held != nil {
		s.held.root = root
	}
	if meta != nil && s.held != nil {
		s.hold("", meta)
	} else if meta != nil {
		meta.close()
	}
	return root, nil
}

// check checks the share's mark. It reads the file's content only if the file has changed since the
// last check. It returns .claimdir, open, if the share has a mark.
func (m *mark) check(root *dir) (meta *dir, err error) {
	m.mu.Lock()
	file, is, seen := m.file, m.is, m.seen
	m.mu.Unlock()
	if file == "" {
		return nil, nil // Recognise was not called yet
	}
	meta, err = root.open(metaDir, asPlace)
	if err != nil {
		return nil, markError(file, err)
	}
	if err := m.compare(meta, file, is, seen); err != nil {
		meta.close()
		return nil, err
	}
	return meta, nil
}

func (m *mark) compare(meta *dir, file string, is func([]byte) bool, seen fileSeen) error {
	stat, err := meta.look(file)
	if err != nil {
		return markError(file, err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG { // a link could lead to another share's file
		return fmt.Errorf("%w: its %s/%s is not a file", ErrNotRecognised, metaDir, file)
	}
	now := seenOf(stat)
	if now == seen {
		return nil
	}
	data, err := meta.readFile(file, maxMetaFile)
	if err != nil {
		return markError(file, err)
	}
	if !is(data) {
		return fmt.Errorf("%w: its %s/%s belongs to another share", ErrNotRecognised, metaDir, file)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = now
	return nil
}

func markError(file string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotDirectory) {
		return fmt.Errorf("%w: it has no %s/%s", ErrNotRecognised, metaDir, file)
	}
	return unreachable(err)
}

// place identifies this copy of the share; see Identity. It is empty before the first check.
func (m *mark) place() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == (fileSeen{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d.%09d", m.seen.number, m.seen.changed.Sec, m.seen.changed.Nsec)
}
