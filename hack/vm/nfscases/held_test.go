//go:build vm

package nfscases

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"claimdir/provisioner/share"
)

// makeVolume makes a volume's directory with a file in it.
func makeVolume(t *testing.T, s *share.Share, dir string) *share.Identity {
	t.Helper()
	id := create(t, s, pathOf(t, "data"), 0o777)
	write(t, dir+"/data/f", "old\n")
	return id
}

// A pod on another node that has files and the directory itself open goes on
// writing when the volume is archived, and all of it is in the archive.
func TestArchiveOfADirectoryThatAPodHolds(t *testing.T) {
	e := export(t, "no_root_squash")
	here, there := e.mount(), e.mountOther()
	s := open(t, here)
	id := makeVolume(t, s, here)
	file, err := os.OpenFile(there+"/data/f", os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer file.Close()
	held, err := os.OpenRoot(there + "/data")
	must(t, err)
	defer held.Close()

	archive(t, s, "data", "aside", id)
	_, err = fmt.Fprintln(file, "new")
	must(t, err)
	must(t, file.Sync())
	must(t, held.WriteFile("later", []byte("made after\n"), 0o644))
	wantFile(t, e.onServer("aside", "f"), "old\nnew\n")
	wantFile(t, e.onServer("aside", "later"), "made after\n")
	wantExists(t, e.onServer("data"), false)
}

// A file that a process of this very client holds open becomes .nfs…: the
// directory cannot go before it is closed. Remove says so, and a repeat ends it.
func TestRemoveOfAFileThatThisClientHolds(t *testing.T) {
	e := export(t, "no_root_squash")
	here := e.mount()
	s := open(t, here)
	id := makeVolume(t, s, here)
	file, err := os.Open(here + "/data/f")
	must(t, err)
	err = s.Remove(pathOf(t, "data"), id)
	if err == nil {
		t.Error("a directory with a file in use was removed")
	}
	names, err := filepath.Glob(e.onServer("data", ".nfs*"))
	must(t, err)
	if len(names) != 1 {
		t.Errorf("the server has %q of the file in use", names)
	}
	must(t, file.Close())
	must(t, s.Remove(pathOf(t, "data"), id))
	wantExists(t, e.onServer("data"), false)
}

// A file that another client holds open does not keep the directory. Who writes
// to it is told that it is gone, or, as long as the server has it open too,
// writes on into what nobody can see.
func TestRemoveOfAFileThatAnotherClientHolds(t *testing.T) {
	e := export(t, "no_root_squash")
	here, there := e.mount(), e.mountOther()
	s := open(t, here)
	id := makeVolume(t, s, here)
	file, err := os.OpenFile(there+"/data/f", os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer file.Close()
	must(t, s.Remove(pathOf(t, "data"), id))
	wantExists(t, e.onServer("data"), false)
	_, err = fmt.Fprintln(file, "too late")
	if err = errors.Join(err, file.Sync()); err != nil {
		wantError(t, "write to a file that is gone", err, syscall.ESTALE)
	}
	wantExists(t, e.onServer("data"), false)
}

// A directory that the server removed behind a client's back is stale for who
// holds it, and simply absent for who asks by name.
func TestADirectoryThatTheServerRemoved(t *testing.T) {
	e := export(t, "no_root_squash")
	here := e.mount()
	s := open(t, here)
	id := makeVolume(t, s, here)
	held, err := os.Open(here + "/data")
	must(t, err)
	defer held.Close()
	must(t, os.RemoveAll(e.onServer("data")))
	_, err = held.ReadDir(-1)
	if !errors.Is(err, syscall.ESTALE) && !errors.Is(err, syscall.ENOENT) { // which, depends on what the client has cached
		t.Errorf("read a directory that is held: %v", err)
	}
	must(t, s.Remove(pathOf(t, "data"), id))
	if now := create(t, s, pathOf(t, "data"), 0o777); id.Match(now) != share.Different {
		t.Errorf("the next directory is taken for the one before: %+v and %+v", now, id)
	}
	wantExists(t, e.onServer("data"), true)
}

// Where the whole share went away on the server, nothing may count as "already
// gone": every call is an error.
func TestAShareThatTheServerRemoved(t *testing.T) {
	e := export(t, "no_root_squash")
	must(t, os.Mkdir(e.onServer("share"), 0o777))
	here := e.mountWith("nfs_mount", "share", os.Getenv("NFS_OPTIONS"))
	s := open(t, here)
	id := makeVolume(t, s, here)
	must(t, os.RemoveAll(e.onServer("share")))
	p := pathOf(t, "data")
	for name, call := range map[string]func() error{
		"exists":    func() error { _, err := s.Exists(p); return err },
		"create":    func() error { _, err := s.Create(p, share.Attributes{Mode: 0o777}, nil); return err },
		"remove":    func() error { return s.Remove(p, id) },
		"set aside": func() error { return s.SetAside(p, share.MovingDir, "pvc-1@0", id) },
		"identify":  func() error { _, err := s.Identify(p); return err },
		"look":      func() error { _, err := s.Look(p, id); return err },
		"make":      func() error { return s.MakeMeta("records") },
		"file":      func() error { return s.CreateFile("x.json", "x.new", []byte("{}")) },
	} {
		err := call()
		if err == nil || !strings.Contains(err.Error(), "stale") {
			t.Errorf("%s: %v, want a stale file handle", name, err)
		}
	}
}
