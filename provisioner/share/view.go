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

// ErrNotRecognised says that what is mounted is not the share that was
// recognised: nothing is mounted there any more, or something else is. Whatever
// is missing on it is not gone.
var ErrNotRecognised = errors.New("this is not the share that was here before")

// Call makes one call to the file system, which it is given with a name for people. It
// may refuse to.
type Call func(name string, call func() error) error

// During returns the share as one operation sees it, whose calls come one after
// the other. Once ctx is done, they fail with its cause before they touch
// anything; all are made through call, if that is not nil. The view keeps the root of
// the share and directories below .claimdir open from their first use on: what is done
// in them later is done in those very directories or fails. Release it at the end.
func (s *Share) During(ctx context.Context, call Call) *Share {
	view := *s
	view.ctx, view.call, view.held = ctx, call, &held{dirs: map[string]*dir{}}
	return &view
}

// held are the directories that a view keeps open from call to call.
type held struct {
	root *dir
	dirs map[string]*dir // by path from the root
}

// Release closes what a view holds open. The next call opens it anew, so it also
// drops handles that went stale.
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

// hold keeps d open under a path until the view is released. It takes the place of
// one that was held there.
func (s *Share) hold(path string, d *dir) {
	if s.held == nil {
		return
	}
	if old := s.held.dirs[path]; old != nil && old != d {
		old.close()
	}
	s.held.dirs[path] = d
}

// Drop lets a view forget a directory below .claimdir: the next call opens it anew.
func (s *Share) Drop(in string) { s.drop(in) }

// drop closes the directory that is held under a path.
func (s *Share) drop(path string) {
	if s.held != nil && s.held.dirs[path] != nil {
		s.held.dirs[path].close()
		delete(s.held.dirs, path)
	}
}

// dropRoot makes the next call open the root of the share anew.
func (s *Share) dropRoot() {
	if s.held != nil && s.held.root != nil {
		s.held.root.close()
		s.held.root = nil
	}
}

// done closes a directory that is not held open.
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

// Recognise makes the file name below .claimdir, whose content is accepts, what the
// share is known by. From now on each call, or each view, looks for it first,
// through the same open directory that it goes on to use: were something else
// mounted there before, in the middle of or after the call, it would still act on
// this share or fail with ErrNotRecognised.
func (s *Share) Recognise(name string, is func(data []byte) bool) {
	s.mark.mu.Lock()
	defer s.mark.mu.Unlock()
	s.mark.file, s.mark.is, s.mark.seen = name, is, fileSeen{}
}

// IsStale reports whether err is that of a handle which the server does not
// know any more. A repeat opens everything anew.
func IsStale(err error) bool { return errors.Is(err, syscall.ESTALE) }

// mark is a file that tells a share from every other one. All views of a Share
// have the same.
type mark struct {
	mu   sync.Mutex
	file string // below .claimdir; empty while nothing is recognised
	is   func(data []byte) bool
	seen fileSeen // what the file was when its content was compared last

	system int64  // see kind
	shared string // see Share.Shared
}

// fileSeen tells a file from every other one that has its name at another time.
// No tool that copies a share can set the time of change.
type fileSeen struct {
	device, number uint64
	size           int64
	changed        unix.Timespec
}

func seenOf(stat unix.Stat_t) fileSeen {
	return fileSeen{uint64(stat.Dev), stat.Ino, stat.Size, stat.Ctim} //nolint:unconvert // types differ between architectures
}

// begin refuses a call that may not be made any more.
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

// openRoot opens the mount directory anew, unless a view holds it.
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

// check compares the file's content only when the file itself is another one
// than last time. It returns .claimdir, open, once the share is recognised.
func (m *mark) check(root *dir) (meta *dir, err error) {
	m.mu.Lock()
	file, is, seen := m.file, m.is, m.seen
	m.mu.Unlock()
	if file == "" {
		return nil, nil //nolint:nilnil // nothing is recognised, so nothing is opened
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
	if stat.Mode&unix.S_IFMT != unix.S_IFREG { // a link could lead to another share's
		return fmt.Errorf("%w: its %s/%s is no file", ErrNotRecognised, metaDir, file)
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
		return fmt.Errorf("%w: its %s/%s is another one", ErrNotRecognised, metaDir, file)
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

// place tells this copy of the share from every other one; see Identity. It is empty
// while nothing is recognised.
func (m *mark) place() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == (fileSeen{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d.%09d", m.seen.number, m.seen.changed.Sec, m.seen.changed.Nsec)
}
