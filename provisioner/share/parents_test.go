package share

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"
)

func parentCases() map[string]func(*testing.T, site) {
	return map[string]func(*testing.T, site){
		"a parent is unfinished first, and 0755 then, whatever the umask": parentModes,
		"what is at a parent's name is not made":                          parentExists,
		"only the very parent is removed, and only empty":                 parentRemoved,
		"a parent's owner is part of what it is":                          parentSame,
	}
}

func parentModes(t *testing.T, s site) {
	defer syscall.Umask(syscall.Umask(0o077))
	tree(t, s.dir, "team/")
	p := pathOf(t, "team/app")
	id, err := s.share.MakeParent(p)
	must(t, err)
	found, err := s.share.LookParent(p)
	if err != nil || !found.Unfinished || found.Occupied || !found.ID.Same(id) {
		t.Fatalf("made %+v, found %+v, %v", id, found, err)
	}
	if n, err := s.share.FinishedParents(pathOf(t, "team/app/data")); n != 1 || err != nil {
		t.Error(n, err)
	}
	must(t, s.share.FinishParent(p))
	if got := modeOf(t, s.dir+"/team/app"); got != 0o755 {
		t.Errorf("mode %04o", got)
	}
	for path, want := range map[string]int{"data": 0, "team/data": 1, "team/app/data": 2, "team/none/data": 1, "none/none/none/data": 0, "team/app/none/data": 2} {
		if n, err := s.share.FinishedParents(pathOf(t, path)); n != want || err != nil {
			t.Errorf("%s: %d, %v", path, n, err)
		}
	}
	tree(t, s.dir, "team/app/data/")
	if found, err := s.share.LookParent(p); err != nil || found.Unfinished || !found.Occupied || !found.ID.Same(id) {
		t.Errorf("%+v, %v", found, err)
	}
}

func parentExists(t *testing.T, s site) {
	tree(t, s.dir, "dir/", "file")
	must(t, os.Symlink("dir", s.dir+"/link"))
	before := snapshot(t, s.dir)
	for _, name := range []string{"dir", "file", "link"} {
		_, err := s.share.MakeParent(pathOf(t, name))
		mustBe(t, err, fs.ErrExist)
	}
	for _, name := range []string{"file", "link"} {
		_, err := s.share.LookParent(pathOf(t, name))
		mustBe(t, err, ErrNotDirectory)
		_, err = s.share.MakeParent(pathOf(t, name+"/below"))
		mustBe(t, err, ErrNotDirectory)
		_, err = s.share.FinishedParents(pathOf(t, name+"/below/data"))
		mustBe(t, err, ErrNotDirectory)
		mustBe(t, s.share.RemoveParent(pathOf(t, name), FileID{}), ErrNotDirectory)
		mustBe(t, s.share.RemoveParent(pathOf(t, name+"/below"), FileID{}), ErrNotDirectory)
		mustBe(t, s.share.FinishParent(pathOf(t, name)), ErrNotDirectory)
	}
	_, err := s.share.MakeParent(pathOf(t, "none/below"))
	mustBe(t, err, fs.ErrNotExist)
	untouched(t, s.dir, before)
}

func parentRemoved(t *testing.T, s site) {
	p := pathOf(t, "team")
	id, err := s.share.MakeParent(p)
	must(t, err)
	must(t, os.Mkdir(s.dir+"/team/data", 0o755))
	mustBe(t, s.share.RemoveParent(p, id), fs.ErrExist)
	must(t, os.Remove(s.dir+"/team/data"))
	must(t, os.Rename(s.dir+"/team", s.dir+"/away"))
	must(t, os.Mkdir(s.dir+"/team", 0o755))
	mustBe(t, s.share.RemoveParent(p, id), ErrChanged)
	must(t, os.Remove(s.dir+"/team"))
	mustBe(t, s.share.RemoveParent(p, id), fs.ErrNotExist)
	must(t, os.Rename(s.dir+"/away", s.dir+"/team"))
	must(t, s.share.RemoveParent(p, id))
	absent(t, s.dir+"/team")
	if _, err := s.share.LookParent(p); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func parentSame(t *testing.T, s site) {
	id, err := s.share.MakeParent(pathOf(t, "team"))
	must(t, err)
	other, unborn := id, id
	other.UID++
	unborn.Born = nil
	if !id.Same(id) || !id.Same(unborn) || !unborn.Same(id) || id.Same(other) {
		t.Error(id, unborn, other)
	}
}
