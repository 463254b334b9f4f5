package share

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"testing"

	"claimdir/provisioner/volpath"
)

func parentCases() map[string]func(*testing.T, site) {
	return map[string]func(*testing.T, site){
		"parents that are missing are made and marked":                  parentsMade,
		"parents that go at once are made again":                        parentsAgain,
		"parents that are there stay as they are":                       parentsThere,
		"what is no directory is no parent":                             parentsNoDirectory,
		"a parent below a directory with setgid is marked too":          parentsSetgid,
		"only an empty directory that is marked is removed":             parentsRemoved,
		"a parent of an older claimdir is marked if it is the very one": parentsOlder,
		"parents come and go beside each other":                         parentsRace,
	}
}

func hasMark(t *testing.T, s site, name string, want bool) {
	t.Helper()
	if is, err := s.share.IsMarked(pathOf(t, name)); is != want || err != nil {
		t.Errorf("%s is marked %v, want %v: %v", name, is, want, err)
	}
}

// creates makes a volume's directory.
func creates(t *testing.T, s site, name string) func() error {
	t.Helper()
	p := pathOf(t, name)
	return func() error {
		_, err := s.share.Create(p, Attributes{Mode: 0o777}, nil)
		return err
	}
}

func parentsMade(t *testing.T, s site) {
	defer syscall.Umask(syscall.Umask(0o022)) // as main sets it
	must(t, s.share.WithParents(pathOf(t, "team/app/data"), creates(t, s, "team/app/data")))
	if team, app := modeOf(t, s.dir+"/team"), modeOf(t, s.dir+"/team/app"); team != 0o745 || app != 0o745 {
		t.Errorf("parents have modes %04o and %04o", team, app)
	}
	hasMark(t, s, "team", false) // it is not empty
	must(t, os.Remove(s.dir+"/team/app/data"))
	hasMark(t, s, "team/app", true)
}

func parentsAgain(t *testing.T, s site) {
	p, calls := pathOf(t, "team/app/data"), 0
	must(t, s.share.WithParents(p, func() error {
		calls++
		if calls < 4 { // a release of the last other volume removes them again
			_ = os.Remove(s.dir + "/team/app")
			_ = os.Remove(s.dir + "/team")
		}
		return creates(t, s, "team/app/data")()
	}))
	if calls != 4 {
		t.Errorf("%d calls", calls)
	}
	calls = 0
	err := s.share.WithParents(p, func() error { calls++; return fs.ErrNotExist })
	if !errors.Is(err, fs.ErrNotExist) || calls != parentTries+1 {
		t.Errorf("for ever gone: %v after %d calls", err, calls)
	}
	calls = 0
	other := errors.New("other")
	if err := s.share.WithParents(p, func() error { calls++; return other }); !errors.Is(err, other) || calls != 1 {
		t.Errorf("another error: %v after %d calls", err, calls)
	}
}

func parentsThere(t *testing.T, s site) {
	tree(t, s.dir, "team/")
	must(t, os.Chmod(s.dir+"/team", 0o711))
	must(t, s.share.WithParents(pathOf(t, "team/app/data"), creates(t, s, "team/app/data")))
	if mode := modeOf(t, s.dir+"/team"); mode != 0o711 {
		t.Errorf("mode %04o", mode)
	}
	hasMark(t, s, "team", false)
	must(t, os.Remove(s.dir+"/team/app/data"))
	hasMark(t, s, "team", false)
	hasMark(t, s, "team/app", true)
}

func parentsNoDirectory(t *testing.T, s site) {
	tree(t, s.dir, "dir/", "file")
	must(t, os.Symlink("dir", s.dir+"/link"))
	before := snapshot(t, s.dir)
	for _, name := range []string{"file", "link"} {
		for _, below := range []string{name + "/data", name + "/below/data"} {
			mustBe(t, s.share.WithParents(pathOf(t, below), creates(t, s, below)), ErrNotDirectory)
			hasMark(t, s, below, false)
			_, err := s.share.RemoveMarked(pathOf(t, below))
			mustBe(t, err, ErrNotDirectory)
			mustBe(t, s.share.Mark(pathOf(t, below), 1), ErrNotDirectory)
		}
		hasMark(t, s, name, false)
		if gone, err := s.share.RemoveMarked(pathOf(t, name)); gone || err != nil {
			t.Error(name, gone, err)
		}
		mustBe(t, s.share.Mark(pathOf(t, name), 1), ErrNotDirectory)
	}
	untouched(t, s.dir, before)
}

func parentsSetgid(t *testing.T, s site) {
	tree(t, s.dir, "team/")
	must(t, os.Chmod(s.dir+"/team", 0o755|fs.ModeSetgid))
	must(t, s.share.WithParents(pathOf(t, "team/app/data"), creates(t, s, "team/app/data")))
	must(t, os.Remove(s.dir+"/team/app/data"))
	hasMark(t, s, "team/app", true)
	must(t, os.Chmod(s.dir+"/team/app", markedMode|fs.ModeSetgid)) // also where the server does not hand it down
	hasMark(t, s, "team/app", true)
	if gone, err := s.share.RemoveMarked(pathOf(t, "team/app")); !gone || err != nil {
		t.Error(gone, err)
	}
	absent(t, s.dir+"/team/app")
}

func parentsRemoved(t *testing.T, s site) {
	tree(t, s.dir, "ours/", "full/file", "others/", "sticky/", "closed/")
	for name, mode := range map[string]uint32{"ours": markedMode, "full": markedMode, "others": 0o755, "sticky": 0o1000 | markedMode, "closed": 0o700} {
		must(t, os.Chmod(s.dir+"/"+name, goMode(fs.FileMode(mode))))
		hasMark(t, s, name, name == "ours")
		gone, err := s.share.RemoveMarked(pathOf(t, name))
		if gone != (name == "ours") || err != nil {
			t.Errorf("%s: %v, %v", name, gone, err)
		}
		if _, err := os.Lstat(s.dir + "/" + name); (err == nil) == (name == "ours") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"ours", "none/below"} {
		hasMark(t, s, name, false)
		if gone, err := s.share.RemoveMarked(pathOf(t, name)); !gone || err != nil {
			t.Errorf("absent %s: %v, %v", name, gone, err)
		}
	}
	// What is filled after the look stays.
	tree(t, s.dir, "late/")
	must(t, os.Chmod(s.dir+"/late", markedMode))
	view := s.share.During(t.Context(), before("rmdir late", func() error { return os.Mkdir(s.dir+"/late/volume", 0o755) }))
	defer view.Release()
	if gone, err := view.RemoveMarked(pathOf(t, "late")); gone || err != nil {
		t.Error(gone, err)
	}
	modeOf(t, s.dir+"/late/volume")
}

func parentsOlder(t *testing.T, s site) {
	tree(t, s.dir, "team/", "other/")
	id := identify(t, s.share, "team")
	must(t, s.share.Mark(pathOf(t, "team"), id.Number))
	hasMark(t, s, "team", true)
	mustBe(t, s.share.Mark(pathOf(t, "other"), id.Number), ErrChanged)
	hasMark(t, s, "other", false)
	mustBe(t, s.share.Mark(pathOf(t, "none"), id.Number), fs.ErrNotExist)
}

// parentsRace makes volumes below one parent while the last of them is removed.
func parentsRace(t *testing.T, s site) {
	var callers sync.WaitGroup
	for _, name := range []string{"team/app/a", "team/app/b", "team/c"} {
		callers.Go(func() {
			for range times(300, 30) {
				p := pathOf(t, name)
				if err := s.share.WithParents(p, creates(t, s, name)); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				if err := os.Remove(s.dir + "/" + name); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				removeParents(t, s, p)
			}
		})
	}
	callers.Wait()
	absent(t, s.dir+"/team")
}

func removeParents(t *testing.T, s site, p volpath.Path) {
	t.Helper()
	for _, parent := range p.Ancestors() {
		if _, err := s.share.RemoveMarked(parent); err != nil {
			t.Errorf("%s: %v", parent, err)
		}
	}
}
