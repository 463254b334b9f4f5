package share

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func asideCases() map[string]func(*testing.T, site) {
	return map[string]func(*testing.T, site){
		"set aside moves a volume and nothing else":                 asideOne,
		"set aside moves the directory that is meant and no other":  asideOther,
		"set aside makes its directory where there is none":         asideMakes,
		"set aside of an absent path says so":                       asideAbsent,
		"set aside takes no name that holds something":              asideTaken,
		"set aside puts back what was exchanged just before":        asideExchanged,
		"set aside tells that what was exchanged cannot go back":    asideStuck,
		"set aside leaves no link that cannot go back":              asideLinkStuck,
		"a late rename finds the directory of its own made anew":    asideLate,
		"a late rename finds the work done and the path taken":      asideLater,
		"rename puts back what was exchanged just before":           renameExchanged,
		"what is aside is brought back":                             asideBack,
		"remove empty removes nothing of a later owner":             removeEmptyLost,
		"remove empty removes no other directory":                   removeEmptyOther,
		"remove empty leaves what is filled just before":            removeEmptyFilled,
		"remove empty goes on with what was set aside":              removeEmptyCutOff,
		"remove empty removes where it lies what cannot be moved":   removeEmptyInPlace,
		"what an older claimdir left in the trash is told and gone": firstTrash,
	}
}

// nothingAside fails the test if something is in a directory below .claimdir.
func nothingAside(t *testing.T, s site, in string) {
	t.Helper()
	if entries, err := s.share.ListAside(in); err != nil || len(entries) > 0 {
		t.Errorf("in %s are %+v, %v", in, entries, err)
	}
}

func asideOne(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	nothingAside(t, s, TrashDir) // a share without trash
	tree(t, s.dir, "team/data/a/file", "team/data2/file", "team/other/file")
	id := identify(t, s.share, "team/data")
	must(t, s.share.SetAside(pathOf(t, "team/data"), TrashDir, own, id))
	absent(t, s.dir+"/team/data")
	for _, kept := range []string{".claimdir/trash/" + own + "/volume/a/file", "team/data2/file", "team/other/file"} {
		_, err := os.Stat(s.dir + "/" + kept)
		must(t, err)
	}
	if found, err := s.share.Aside(TrashDir, own); err != nil || id.Match(found) != Same {
		t.Errorf("aside is %+v, %v; want %+v", found, err, id)
	}
	entries, err := s.share.ListAside(TrashDir)
	if err != nil || len(entries) != 1 || entries[0].Name != own || !entries[0].Dir {
		t.Errorf("%+v, %v", entries, err)
	}
	for _, name := range []string{"/.claimdir/trash", "/.claimdir/trash/" + own} {
		if mode := modeOf(t, s.dir+name); mode != 0o700 {
			t.Errorf("others may look into %s: %04o", name, mode)
		}
	}
}

func asideOther(t *testing.T, s site) {
	must(t, s.share.MakeMeta(TrashDir, MovingDir))
	tree(t, s.dir, "data/file", "other/file")
	before := snapshot(t, s.dir)
	id := identify(t, s.share, "other")
	mustBe(t, s.share.SetAside(pathOf(t, "data"), TrashDir, own, id), ErrChanged)
	mustBe(t, s.share.Rename(pathOf(t, "data"), pathOf(t, "to"), id), ErrChanged)
	mustBe(t, s.share.RemoveEmpty(pathOf(t, "data"), own, id, itIs), ErrChanged)
	mustBe(t, s.share.Remove(pathOf(t, "data"), id), ErrChanged)
	kept(t, s.dir, before)
}

func asideMakes(t *testing.T, s site) {
	must(t, s.share.MakeMeta())
	tree(t, s.dir, "data/file")
	must(t, s.share.SetAside(pathOf(t, "data"), MovingDir, own, nil))
	_, err := os.Stat(s.dir + "/.claimdir/moving/" + own + "/volume/file")
	must(t, err)
}

func asideAbsent(t *testing.T, s site) {
	must(t, s.share.MakeMeta(TrashDir))
	for _, p := range []string{"gone", "gone/deeper"} {
		if err := s.share.SetAside(pathOf(t, p), TrashDir, own, nil); !errors.Is(err, fs.ErrNotExist) || CannotMove(err) {
			t.Errorf("%s: %v", p, err)
		}
	}
	must(t, os.Symlink(s.outside, s.dir+"/link"))
	if err := s.share.SetAside(pathOf(t, "link"), TrashDir, own, nil); !errors.Is(err, ErrNotDirectory) || CannotMove(err) {
		t.Errorf("a link: %v", err)
	}
	if _, err := os.Lstat(s.dir + "/link"); err != nil {
		t.Error(err)
	}
	nothingAside(t, s, TrashDir)
	_, err := s.share.Aside(TrashDir, own)
	mustBe(t, err, fs.ErrNotExist)
	mustBe(t, s.share.BringBack(TrashDir, own, pathOf(t, "gone")), fs.ErrNotExist)

	// A link that could not be moved back leaves nothing behind.
	must(t, os.Mkdir(s.dir+"/.claimdir/trash/"+own, 0o700))
	must(t, os.Symlink(s.outside, s.dir+"/.claimdir/trash/"+own+"/volume"))
	_, err = s.share.Aside(TrashDir, own)
	mustBe(t, err, fs.ErrNotExist)
	nothingAside(t, s, TrashDir)
}

// asideTaken: an empty directory is what a call left that was cut off.
func asideTaken(t *testing.T, s site) {
	must(t, s.share.MakeMeta(TrashDir))
	tree(t, s.dir, "data/file", ".claimdir/trash/"+own+"/volume/precious")
	before := snapshot(t, s.dir)
	mustBe(t, s.share.SetAside(pathOf(t, "data"), TrashDir, own, nil), fs.ErrExist)
	untouched(t, s.dir, before)
	must(t, os.RemoveAll(s.dir+"/.claimdir/trash/"+own+"/volume"))
	must(t, s.share.SetAside(pathOf(t, "data"), TrashDir, own, nil))
}

// exchange puts another directory at data, which was looked at already, and keeps that.
func exchange(t *testing.T, s site) func() error {
	t.Helper()
	return func() error {
		must(t, os.Rename(s.dir+"/data", s.dir+"/first"))
		tree(t, s.dir, "data/precious")
		return nil
	}
}

func asideExchanged(t *testing.T, s site) {
	must(t, s.share.MakeMeta(TrashDir))
	tree(t, s.dir, "data/file")
	first := identify(t, s.share, "data")
	view := s.share.During(t.Context(), before("rename data", exchange(t, s)))
	defer view.Release()
	mustBe(t, view.SetAside(pathOf(t, "data"), TrashDir, own, first), ErrChanged)
	if _, err := os.Stat(s.dir + "/data/precious"); err != nil {
		t.Errorf("the other volume's data: %v", err)
	}
	if found := identify(t, s.share, "data"); first.Match(found) != Different {
		t.Errorf("%+v is at the path again", found)
	}
	nothingAside(t, s, TrashDir)
}

// asideLinkStuck: a link had the directory's place for a moment. Nothing of it is left.
func asideLinkStuck(t *testing.T, s site) {
	must(t, s.share.MakeMeta(TrashDir))
	tree(t, s.dir, "data/file")
	id := identify(t, s.share, "data")
	first := before("rename data", func() error {
		return errors.Join(os.Rename(s.dir+"/data", s.dir+"/first"), os.Symlink(s.outside, s.dir+"/data"))
	})
	back := before("rename volume", func() error { return os.Rename(s.dir+"/first", s.dir+"/data") })
	view := s.share.During(t.Context(), func(name string, call func() error) error {
		return first(name, func() error { return back(name, call) })
	})
	defer view.Release()
	mustBe(t, view.SetAside(pathOf(t, "data"), TrashDir, own, id), ErrChanged)
	if _, err := os.Stat(s.dir + "/data/file"); err != nil {
		t.Error(err)
	}
	nothingAside(t, s, TrashDir)
}

// asideStuck: somebody has made a third directory by then. Nothing is lost, and the
// error says both.
func asideStuck(t *testing.T, s site) {
	must(t, s.share.MakeMeta(TrashDir))
	tree(t, s.dir, "data/file")
	id := identify(t, s.share, "data")
	first, third := before("rename data", exchange(t, s)), before("rename volume", func() error { tree(t, s.dir, "data/third"); return nil })
	view := s.share.During(t.Context(), func(name string, call func() error) error {
		return first(name, func() error { return third(name, call) })
	})
	defer view.Release()
	err := view.SetAside(pathOf(t, "data"), TrashDir, own, id)
	mustBe(t, err, ErrChanged)
	mustBe(t, err, "moving it back failed")
	for _, kept := range []string{"first/file", "data/third", ".claimdir/trash/" + own + "/volume/precious"} {
		if _, err := os.Stat(s.dir + "/" + kept); err != nil {
			t.Error(err)
		}
	}
}

// asideLate: the call was on its way with the directory of its own opened. Whoever goes
// on with the work makes that anew first, and the call fails.
func asideLate(t *testing.T, s site) {
	must(t, s.share.MakeMeta(TrashDir))
	tree(t, s.dir, "data/file")
	id := identify(t, s.share, "data")
	view := s.share.During(t.Context(), before("rename data", func() error {
		return s.share.makeOwn(TrashDir, own)
	}))
	defer view.Release()
	if err := view.SetAside(pathOf(t, "data"), TrashDir, own, id); err == nil || errors.Is(err, fs.ErrNotExist) || CannotMove(err) {
		t.Errorf("%v: it must not look absent, nor as if it were to be removed where it is", err)
	}
	if found := identify(t, s.share, "data"); id.Match(found) != Same {
		t.Errorf("%+v is at the path, was %+v", found, id)
	}
	if _, err := s.share.Aside(TrashDir, own); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// asideLater: another leader has done it all by then, and the path is another volume's.
func asideLater(t *testing.T, s site) {
	must(t, s.share.MakeMeta(TrashDir))
	for _, emptied := range []bool{false, true} {
		must(t, os.RemoveAll(s.dir+"/data"))
		tree(t, s.dir, "data/file")
		view := s.share.During(t.Context(), before("rename data", func() error {
			other := s.share.During(t.Context(), nil)
			defer other.Release()
			must(t, other.SetAside(pathOf(t, "data"), TrashDir, own, identify(t, s.share, "data")))
			if emptied {
				_, err := other.EmptyTrash(t.Context(), own, only(nil), NewRemover(0, 0))
				must(t, err)
				must(t, other.RemoveEmptyDirectory(TrashDir, own))
			}
			tree(t, s.dir, "data/precious")
			return nil
		}))
		if err := view.SetAside(pathOf(t, "data"), TrashDir, own, identify(t, s.share, "data")); err == nil || errors.Is(err, fs.ErrNotExist) || CannotMove(err) {
			t.Errorf("emptied %v: %v", emptied, err)
		}
		view.Release()
		if _, err := os.Stat(s.dir + "/data/precious"); err != nil {
			t.Errorf("emptied %v: the new volume's data: %v", emptied, err)
		}
		if !emptied {
			_, err := os.Stat(s.dir + "/.claimdir/trash/" + own + "/volume/file")
			must(t, err)
			must(t, os.RemoveAll(s.dir+"/.claimdir/trash/"+own))
		}
	}
}

func renameExchanged(t *testing.T, s site) {
	tree(t, s.dir, "data/file")
	first := identify(t, s.share, "data")
	view := s.share.During(t.Context(), before("rename data", exchange(t, s)))
	defer view.Release()
	mustBe(t, view.Rename(pathOf(t, "data"), pathOf(t, "to"), first), ErrChanged)
	if _, err := os.Stat(s.dir + "/data/precious"); err != nil {
		t.Errorf("the other volume's data: %v", err)
	}
	absent(t, s.dir+"/to")
}

func asideBack(t *testing.T, s site) {
	must(t, s.share.MakeMeta(MovingDir))
	tree(t, s.dir, "data/file", "taken/file", "empty/")
	id := identify(t, s.share, "data")
	must(t, s.share.SetAside(pathOf(t, "data"), MovingDir, own, id))
	for _, name := range []string{"taken", "empty"} {
		mustBe(t, s.share.BringBack(MovingDir, own, pathOf(t, name)), fs.ErrExist)
	}
	mustBe(t, s.share.BringBack(MovingDir, own, pathOf(t, "none/data")), fs.ErrNotExist)
	must(t, s.share.BringBack(MovingDir, own, pathOf(t, "back")))
	if found := identify(t, s.share, "back"); id.Match(found) != Same {
		t.Errorf("%+v came back, was %+v", found, id)
	}
	nothingAside(t, s, MovingDir)
	mustBe(t, s.share.BringBack(MovingDir, own, pathOf(t, "again")), fs.ErrNotExist)
}

// itIs says that a path is still its owner's.
func itIs() error { return nil }

// removeEmptyLost: without handles, the directory of the path's next owner may have the number of
// the one that was to be removed.
func removeEmptyLost(t *testing.T, s site) {
	must(t, s.share.MakeMeta(MovingDir))
	tree(t, s.dir, "data/")
	id, lost := identify(t, s.share, "data"), errors.New("another owner")
	mustBe(t, s.share.RemoveEmpty(pathOf(t, "data"), own, id, func() error { return lost }), lost)
	if found := identify(t, s.share, "data"); id.Match(found) != Same {
		t.Errorf("%+v is at the path, was %+v", found, id)
	}
	nothingAside(t, s, MovingDir)

	// The next owner has created its directory already.
	mustBe(t, s.share.RemoveEmpty(pathOf(t, "data"), own, id, func() error { return errors.Join(lost, os.Mkdir(s.dir+"/data", 0o755)) }), lost)
	modeOf(t, s.dir+"/data")
	nothingAside(t, s, MovingDir)

	// What has something in it stays, wherever it is.
	tree(t, s.dir, "data/precious")
	mustBe(t, s.share.RemoveEmpty(pathOf(t, "data"), own, nil, func() error { return errors.Join(lost, os.Mkdir(s.dir+"/data", 0o755)) }), lost)
	_, err := os.Stat(s.dir + "/.claimdir/moving/" + own + "/volume/precious")
	must(t, err)
}

func removeEmptyOther(t *testing.T, s site) {
	must(t, s.share.MakeMeta(MovingDir))
	tree(t, s.dir, "data/", "other/")
	mustBe(t, s.share.RemoveEmpty(pathOf(t, "data"), own, identify(t, s.share, "other"), itIs), ErrChanged)
	modeOf(t, s.dir+"/data")
	view := s.share.During(t.Context(), before("rename data", func() error {
		must(t, os.Rename(s.dir+"/data", s.dir+"/first"))
		return os.Mkdir(s.dir+"/data", 0o755)
	}))
	defer view.Release()
	mustBe(t, view.RemoveEmpty(pathOf(t, "data"), own, identify(t, s.share, "data"), itIs), ErrChanged)
	modeOf(t, s.dir+"/data")
	modeOf(t, s.dir+"/first")
	nothingAside(t, s, MovingDir)
}

// removeEmptyFilled: a tenant that has it mounted writes until the very end.
func removeEmptyFilled(t *testing.T, s site) {
	must(t, s.share.MakeMeta(MovingDir))
	tree(t, s.dir, "data/")
	view := s.share.During(t.Context(), before("rmdir volume", func() error {
		return os.WriteFile(s.dir+"/.claimdir/moving/"+own+"/volume/precious", nil, 0o600)
	}))
	defer view.Release()
	mustBe(t, view.RemoveEmpty(pathOf(t, "data"), own, nil, itIs), ErrOccupied)
	_, err := os.Stat(s.dir + "/data/precious")
	must(t, err)
	nothingAside(t, s, MovingDir)
}

func removeEmptyCutOff(t *testing.T, s site) {
	cut, p := errors.New("cut off"), pathOf(t, "team/data")
	for name, meanwhile := range map[string]func(*testing.T){
		"the path is free":     func(*testing.T) {},
		"it is made anew":      func(t *testing.T) { tree(t, s.dir, "team/data/") },
		"its parent went too":  func(t *testing.T) { must(t, os.RemoveAll(s.dir+"/team")) },
		"the path is a file's": nil,
	} {
		t.Run(name, func(t *testing.T) {
			must(t, s.share.MakeMeta(MovingDir))
			tree(t, s.dir, "team/data/")
			view := s.share.During(t.Context(), before("rmdir volume", func() error { return cut }))
			defer view.Release()
			mustBe(t, view.RemoveEmpty(p, own, nil, itIs), cut)
			absent(t, s.dir+"/team/data")
			modeOf(t, s.dir+"/.claimdir/moving/"+own+"/volume")
			if meanwhile == nil { // then a person has to look, and nothing is lost
				tree(t, s.dir, "team/data")
				mustBe(t, s.share.RemoveEmpty(p, own, nil, itIs), ErrNotDirectory)
				must(t, os.Remove(s.dir+"/team/data"))
			} else {
				meanwhile(t)
			}
			must(t, s.share.RemoveEmpty(p, own, nil, itIs))
			absent(t, s.dir+"/team/data")
			nothingAside(t, s, MovingDir)
		})
	}
	t.Run("it was filled", func(t *testing.T) {
		tree(t, s.dir, "team/", ".claimdir/moving/"+own+"/volume/precious")
		mustBe(t, s.share.RemoveEmpty(p, own, nil, itIs), ErrOccupied)
		_, err := os.Stat(s.dir + "/team/data/precious")
		must(t, err)
		nothingAside(t, s, MovingDir)
	})
}

// removeEmptyInPlace: what is mounted there from another file system cannot be moved.
func removeEmptyInPlace(t *testing.T, s site) {
	must(t, s.share.MakeMeta(MovingDir))
	tree(t, s.dir, "data/", "full/file")
	for name, want := range map[string]error{"data": nil, "full": ErrOccupied} {
		view := s.share.During(t.Context(), before("rename "+name, func() error { return unix.EXDEV }))
		defer view.Release()
		if err := view.RemoveEmpty(pathOf(t, name), own, nil, itIs); !errors.Is(err, want) || err != nil && want == nil {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		nothingAside(t, s, MovingDir)
	}
	absent(t, s.dir+"/data")
	_, err := os.Stat(s.dir + "/full/file")
	must(t, err)
}

func firstTrash(t *testing.T, s site) {
	must(t, s.share.MakeMeta(TrashDir))
	const name = "pvc-1-1"
	if !IsFirstTrash(name) || IsFirstTrash(own) {
		t.Error("names are mixed up")
	}
	tree(t, s.dir, ".claimdir/trash/"+name+"/a/file", ".claimdir/trash/"+own+"/volume/file", ".claimdir/trash/"+name+".json")
	id, err := s.share.FirstTrash(name)
	must(t, err)
	_, err = s.share.FirstTrash("pvc-2-1")
	mustBe(t, err, fs.ErrNotExist)
	entries, err := s.share.ListAside(TrashDir)
	must(t, err)
	names := []string{}
	for _, e := range entries {
		if names = append(names, e.Name); e.Dir == strings.HasSuffix(e.Name, ".json") || e.Name == name && e.Number != id.Number {
			t.Errorf("%+v, want %+v", e, id)
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{name, name + ".json", own}) {
		t.Errorf("%q", names)
	}
	removed, err := s.share.EmptyTrash(t.Context(), name, only(id), NewRemover(2, 0))
	if err != nil || removed != (Removed{1, 2}) {
		t.Errorf("%+v, %v", removed, err)
	}
	absent(t, s.dir+"/.claimdir/trash/"+name)
	_, err = os.Stat(s.dir + "/.claimdir/trash/" + own + "/volume/file")
	must(t, err)
}
