package share

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func matches(err error, want any) bool {
	if err == nil {
		return false
	}
	if target, ok := want.(error); ok {
		return errors.Is(err, target)
	}
	word, _ := want.(string)
	return word != "" && strings.Contains(err.Error(), word)
}

func createCases() map[string]func(*testing.T, site) {
	return map[string]func(*testing.T, site){
		"create gives the leaf its mode whatever the umask":    createUnderUmask,
		"create makes no parents":                              createWithoutParents,
		"create sets setgid and sticky":                        createSpecialBits,
		"create sets uid and gid, or takes the directory back": createOwner,
		"create may be repeated":                               createRepeated,
		"create leaves a directory with content alone":         createOnContent,
		"create leaves parents that exist alone":               createBelowParents,
		"create beside create makes one directory":             createRace,
	}
}

func createUnderUmask(t *testing.T, s site) {
	defer syscall.Umask(syscall.Umask(0o077))
	created, err := s.share.Create(pathOf(t, "data"), Attributes{Mode: 0o777}, nil)
	if err != nil || !created {
		t.Fatal(created, err)
	}
	if got := modeOf(t, s.dir+"/data"); got != 0o777 {
		t.Errorf("mode %04o", got)
	}
}

func createWithoutParents(t *testing.T, s site) {
	created, err := s.share.Create(pathOf(t, "team/app/data"), Attributes{Mode: 0o777}, nil)
	if created || !errors.Is(err, fs.ErrNotExist) {
		t.Error(created, err)
	}
	absent(t, s.dir+"/team")
}

func createSpecialBits(t *testing.T, s site) {
	for name, mode := range map[string]uint32{"none": 0o700, "setgid": 0o2770, "sticky": 0o1777, "both": 0o3775} {
		if _, err := s.share.Create(pathOf(t, name), Attributes{Mode: mode}, nil); err != nil {
			t.Error(name, err)
		}
		if got := modeOf(t, s.dir+"/"+name); got != mode {
			t.Errorf("%s: mode %04o, want %04o", name, got, mode)
		}
	}
}

// An unprivileged process gives directories to nobody but itself; then nothing
// is left behind.
func createOwner(t *testing.T, s site) {
	uid, gid := uint32(12345), uint32(54321)
	before := snapshot(t, s.dir)
	_, err := s.share.Create(pathOf(t, "data"), Attributes{Mode: 0o2750, UID: &uid, GID: &gid}, nil)
	if os.Geteuid() != 0 {
		mustBe(t, err, fs.ErrPermission)
		mustBe(t, err, "set owner 12345:54321")
		absent(t, s.dir+"/data")
		return
	}
	must(t, err)
	after := snapshot(t, s.dir)
	if strings.Contains(before, "12345:54321") || !strings.Contains(after, "12345:54321") {
		t.Errorf("owner is not the one given: %s", after)
	}
	if got := modeOf(t, s.dir+"/data"); got != 0o2750 {
		t.Errorf("mode %04o", got)
	}
}

// The first run may have ended after any step: the directory made, its mode
// set, its owner set.
func createRepeated(t *testing.T, s site) {
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	attributes := Attributes{Mode: 0o2771, UID: &uid, GID: &gid}
	p := pathOf(t, "team/data")
	for _, left := range []fs.FileMode{0o700, 0o755, 0o771 | fs.ModeSetgid} {
		tree(t, s.dir, "team/data/")
		must(t, os.Chmod(s.dir+"/team/data", left))
		created, err := s.share.Create(p, attributes, nil)
		if created || err != nil {
			t.Error(left, created, err)
		}
		if got := modeOf(t, s.dir+"/team/data"); got != 0o2771 {
			t.Errorf("left with %v: mode %04o", left, got)
		}
	}
}

func createOnContent(t *testing.T, s site) {
	tree(t, s.dir, "team/data/file")
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	must(t, os.Chtimes(s.dir+"/team/data", old, old))
	must(t, os.Chmod(s.dir+"/team/data", 0o710))
	before := snapshot(t, s.dir)
	created, err := s.share.Create(pathOf(t, "team/data"), Attributes{Mode: 0o777}, nil)
	mustBe(t, err, fs.ErrExist)
	mustBe(t, err, "not empty")
	if created {
		t.Error("says that it made the directory")
	}
	untouched(t, s.dir, before)
}

func createBelowParents(t *testing.T, s site) {
	tree(t, s.dir, "team/app/")
	must(t, os.Chmod(s.dir+"/team", 0o711))
	must(t, os.Chmod(s.dir+"/team/app", fs.ModeSetgid|0o770))
	_, err := s.share.Create(pathOf(t, "team/app/data"), Attributes{Mode: 0o777}, nil)
	must(t, err)
	if team, app := modeOf(t, s.dir+"/team"), modeOf(t, s.dir+"/team/app"); team != 0o711 || app != 0o2770 {
		t.Errorf("parents have modes %04o and %04o", team, app)
	}
}

func createRace(t *testing.T, s site) {
	const callers = 20
	tree(t, s.dir, "a/b/c/")
	made := make(chan bool, callers)
	for range callers {
		go func() {
			created, err := s.share.Create(pathOf(t, "a/b/c/data"), Attributes{Mode: 0o770}, nil)
			if err != nil {
				t.Error(err)
			}
			made <- created
		}()
	}
	makers := 0
	for range callers {
		if <-made {
			makers++
		}
	}
	if makers != 1 {
		t.Errorf("%d callers say that they made the directory", makers)
	}
}
