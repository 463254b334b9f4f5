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
		"create gives the leaf its mode whatever the umask":   createUnderUmask,
		"create makes no parents":                             createWithoutParents,
		"create sets setgid and sticky":                       createSpecialBits,
		"create sets uid and gid, or says so and is repeated": createOwner,
		"create may be repeated":                              createRepeated,
		"create leaves a directory with content alone":        createOnContent,
		"create leaves parents that exist alone":              createBelowParents,
		"create beside create makes one directory":            createRace,
		"create asks whether the path is still the volume's":  createAsks,
		"create is marked until it has its mode":              createCutOff,
	}
}

func createUnderUmask(t *testing.T, s site) {
	defer syscall.Umask(syscall.Umask(0o077))
	created, err := s.share.Create(pathOf(t, "data"), Attributes{Mode: 0o777}, nil)
	must(t, err)
	if found := identify(t, s.share, "data"); created.Match(found) != Same {
		t.Errorf("made %+v, found %+v", created, found)
	}
	if got := modeOf(t, s.dir+"/data"); got != 0o777 {
		t.Errorf("mode %04o", got)
	}
}

func createWithoutParents(t *testing.T, s site) {
	created, err := s.share.Create(pathOf(t, "team/app/data"), Attributes{Mode: 0o777}, nil)
	if created != nil || !errors.Is(err, fs.ErrNotExist) {
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

// An unprivileged process gives directories to nobody but itself. Then an empty one is
// left, which a repeat completes and a release removes.
func createOwner(t *testing.T, s site) {
	uid, gid := uint32(12345), uint32(54321)
	before := snapshot(t, s.dir)
	_, err := s.share.Create(pathOf(t, "data"), Attributes{Mode: 0o2750, UID: &uid, GID: &gid}, nil)
	if os.Geteuid() != 0 {
		mustBe(t, err, fs.ErrPermission)
		mustBe(t, err, "set owner 12345:54321")
		_, err = s.share.Create(pathOf(t, "data"), Attributes{Mode: 0o2755}, nil)
		must(t, err)
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
		before := identify(t, s.share, p.String())
		if found, err := s.share.Create(p, attributes, nil); before.Match(found) != Same || err != nil {
			t.Error(left, before, found, err)
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
	if created != nil {
		t.Errorf("says that %+v is the volume's", created)
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

// A leader that slept finds the path another volume's: it changes neither mode nor owner.
func createAsks(t *testing.T, s site) {
	tree(t, s.dir, "data/")
	must(t, os.Chmod(s.dir+"/data", 0o711))
	refusal := errors.New("the record is another volume's")
	asked := 0
	ours := func() error { asked++; return refusal }
	view := s.share.During(t.Context(), before("open slow", func() error { return os.Chmod(s.dir+"/slow", 0o711) })) // by the other leader
	defer view.Release()
	for _, name := range []string{"data", "slow"} {
		asked = 0
		id, err := view.Create(pathOf(t, name), Attributes{Mode: 0o777}, ours)
		if mode := modeOf(t, s.dir+"/"+name); id != nil || asked != 1 || !errors.Is(err, refusal) || mode != 0o711 {
			t.Errorf("%s: %+v, %v, asked %d times, mode %04o", name, id, err, asked, mode)
		}
	}
	if _, err := s.share.Create(pathOf(t, "new"), Attributes{Mode: 0o777}, ours); err != nil || asked != 1 {
		t.Errorf("made and marked just now, it is nobody else's: %v, asked %d times", err, asked)
	}
	// The directory that it goes on with is the one that was there when it asked.
	before := identify(t, s.share, "data")
	id, err := s.share.Create(pathOf(t, "data"), Attributes{Mode: 0o777}, func() error {
		must(t, os.Rename(s.dir+"/data", s.dir+"/away"))
		must(t, os.Mkdir(s.dir+"/data", 0o711))
		return nil
	})
	must(t, err)
	if mode := modeOf(t, s.dir+"/data"); mode != 0o711 || before.Match(id) != Same {
		t.Errorf("another directory got mode %04o; %+v, was %+v", mode, id, before)
	}
}

// createCutOff: what a create leaves that was cut off is known for ours until it is
// complete, and not from then on.
func createCutOff(t *testing.T, s site) {
	cut := errors.New("cut off")
	view := s.share.During(t.Context(), before("set attributes of data", func() error { return cut }))
	defer view.Release()
	p := pathOf(t, "data")
	_, err := view.Create(p, Attributes{Mode: 0o755}, nil)
	mustBe(t, err, cut)
	for _, want := range []bool{true, false} {
		if is, err := s.share.IsMarked(p); is != want || err != nil {
			t.Errorf("marked %v, want %v: %v", is, want, err)
		}
		_, err := s.share.Create(p, Attributes{Mode: 0o755}, nil)
		must(t, err)
	}
}

func createRace(t *testing.T, s site) {
	const callers = 20
	tree(t, s.dir, "a/b/c/")
	made := make(chan *Identity, callers)
	for range callers {
		go func() {
			created, err := s.share.Create(pathOf(t, "a/b/c/data"), Attributes{Mode: 0o770}, nil)
			if err != nil {
				t.Error(err)
			}
			made <- created
		}()
	}
	for range callers {
		id := <-made
		if there := identify(t, s.share, "a/b/c/data"); there.Match(id) != Same {
			t.Errorf("a caller got %+v, there is %+v", id, there)
		}
	}
}
