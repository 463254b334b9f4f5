package share

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/volpath"
)

// Tree is a walk over the directory of a volume on the server, for its project. With Give it gives
// the project id to each directory and file that has none, and makes directories hand it down;
// without, it only looks for the ids of others.
//
// A walk follows no link and never leaves the file system, not even for a bind mount. It opens
// nothing but directories and regular files, and those by the handle of what it has seen, so that a
// tenant who exchanges a file for a link, a pipe or a device at any moment exchanges nothing. Other
// kinds of files keep the id that they have.
//
// A directory hands the id down before it is listed, and from then on the kernel lets nothing without
// the id come in by rename or link: so whatever a tenant does during the walk, no file is left out.
type Tree struct {
	// Project is the id that belongs into the tree.
	Project uint32
	// Give says that the walk gives the id, and does not only look.
	Give bool
	// Pace is called before each directory or file is opened; its error ends the step.
	Pace func() error

	// Files counts the directories and files below the volume's own that the walk has seen, Given
	// those that it gave the id.
	Files, Given int64
	// Bytes is how much room they take. A file with several names counts once, if all are in the tree.
	Bytes uint64
	// Left is the first error of a file that was left out, and LeftOut the number of them.
	Left    error
	LeftOut int

	pending []place // the last one is next
	busy    []busyFile
	rounds  int
}

// place is a directory to list, and how far it is listed already.
type place struct {
	handle unix.FileHandle
	offset int64
}

// busyFile is a file that an NFS client has for itself, and what it is called.
type busyFile struct {
	handle unix.FileHandle
	name   string
}

const (
	// busyRounds is how often a walk comes back to the files that a client has, and busyWait how
	// long it waits before: the client gives them back when the server asks, which opening did.
	busyRounds = 25
	busyWait   = 200 * time.Millisecond
)

// errBusy says that a file could not be had.
var errBusy = errors.New("an NFS client has it for itself (a delegation)")

// Walk begins a walk over the directory p, whose identity must match id; see Project. The directory
// itself is given the id by SetProject, before or after.
func (s *Share) Walk(p volpath.Path, id *Identity, project uint32) (*Tree, error) {
	t := &Tree{Project: project, Pace: func() error { return nil }}
	err := s.withVolume(p, id, func(opened *dir) error {
		handle, err := opened.handle()
		t.pending = []place{{handle: handle}}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("walk over %s: %w", p, plain(err))
	}
	return t, nil
}

// Step goes on by up to some thousand names, and reports whether the walk has come to its end. The
// error is ErrForeignProject if something has the id of another project; the walk has ended then. A
// single file that cannot be opened or changed is left out and counted. s may be another view of the
// share each time.
func (t *Tree) Step(s *Share) (done bool, err error) {
	root, err := s.openRoot()
	if err != nil {
		return false, err
	}
	defer s.done(root)
	if len(t.pending) > 0 {
		err = t.list(root)
	} else {
		err = t.retry(root)
	}
	if err != nil {
		return false, fmt.Errorf("walk: %w", plain(err))
	}
	return len(t.pending)+len(t.busy) == 0, nil
}

// list goes on with the last pending directory by the names of one getdents64(2).
func (t *Tree) list(root *dir) error {
	last := len(t.pending) - 1
	next := t.pending[last]
	in, err := root.openHandle(next.handle)
	if IsStale(err) { // removed meanwhile
		t.pending = t.pending[:last]
		return nil
	}
	if err != nil {
		return err
	}
	defer in.close()
	if _, err := unix.Seek(in.fd(), next.offset, io.SeekStart); err != nil {
		return err
	}
	var n int
	var names []dirent
	err = in.run("list", func() (err error) {
		names, n, err = readDirents(in.fd(), new(direntBuffer), nil)
		return err
	})
	if err != nil {
		return err
	}
	var below []place
	for _, e := range names {
		found, err := t.entry(root, in, e)
		if err != nil {
			return err
		}
		below = append(below, found...)
	}
	if next.offset, err = unix.Seek(in.fd(), 0, io.SeekCurrent); err != nil {
		return err
	}
	if n == 0 {
		t.pending = t.pending[:last]
	} else {
		t.pending[last] = next
	}
	t.pending = append(t.pending, below...)
	return nil
}

// entry looks at a name of a directory, and returns what is to be listed below it.
func (t *Tree) entry(root, in *dir, e dirent) (below []place, err error) {
	if e.kind != unix.DT_REG && e.kind != unix.DT_DIR && e.kind != unix.DT_UNKNOWN {
		return nil, nil
	}
	if err := t.Pace(); err != nil {
		return nil, err
	}
	pinned, err := in.pin(e.name)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EXDEV) { // gone, or another file system
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer pinned.close()
	stat, err := pinned.self()
	if err != nil {
		return nil, err
	}
	kind := stat.Mode & unix.S_IFMT
	if kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return nil, nil
	}
	handle, err := pinned.handle()
	if err != nil {
		return nil, err
	}
	t.Files++
	t.Bytes += uint64(onDisk(stat))
	if kind == unix.S_IFDIR {
		below = []place{{handle: handle}}
	}
	return below, t.file(root, busyFile{handle, e.name})
}

// file looks at the project of a directory or file, or gives it the id. What cannot be opened or
// changed is left out.
func (t *Tree) file(root *dir, f busyFile) error {
	opened, err := root.openHandle(f.handle)
	switch {
	case IsStale(err):
		return nil
	case isBusy(err):
		t.busy = append(t.busy, f)
		return nil
	case err == nil:
		err = t.give(opened)
		opened.close()
	}
	if _, byKernel := errors.AsType[syscall.Errno](err); !byKernel {
		return err // none, or not of this file alone
	}
	t.leave(f.name, err)
	return nil
}

func (t *Tree) give(opened *dir) error {
	stat, err := opened.self()
	if err != nil {
		return err
	}
	a, err := opened.attributes()
	if err != nil {
		return err
	}
	isDir := stat.Mode&unix.S_IFMT == unix.S_IFDIR
	switch {
	case a.project != 0 && a.project != t.Project:
		return &ForeignProject{opened.where(), a.project}
	case !t.Give || a.project == t.Project && (!isDir || a.flags&inheritsProject != 0):
		return nil
	}
	if err := opened.giveProject(a, t.Project, isDir); err != nil {
		return err
	}
	t.Given++
	return nil
}

func (t *Tree) leave(name string, err error) {
	if t.LeftOut++; t.Left == nil {
		t.Left = fmt.Errorf("%q: %w", name, plain(err)) // a tenant chose the name
	}
}

// retry comes back to the files that a client had.
func (t *Tree) retry(root *dir) error {
	files := t.busy
	t.busy = nil
	if t.rounds++; t.rounds > busyRounds {
		for _, f := range files {
			t.leave(f.name, errBusy)
		}
		return nil
	}
	waited := make(chan struct{})
	defer time.AfterFunc(busyWait, func() { close(waited) }).Stop()
	if err := root.on.WaitFor(waited); err != nil {
		return err
	}
	for _, f := range files {
		if err := t.Pace(); err != nil {
			return err
		}
		if err := t.file(root, f); err != nil {
			return err
		}
	}
	return nil
}
