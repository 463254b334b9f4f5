package share

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"claimdir/provisioner/volpath"
)

// everyCall calls each method of a share once, in an order in which each has
// something to do, and returns what they say.
func everyCall(s *Share, p, other volpath.Path) map[string]error {
	said := map[string]error{}
	note := func(name string, err error) { said[name] = err }
	everyMetaCall(s, note)
	var id *Identity
	note("Create", s.WithParents(p, func() (err error) {
		id, err = s.Create(p, Attributes{Mode: 0o755}, nil)
		return err
	}))
	_, err := s.Exists(p)
	note("Exists", err)
	_, err = s.Identify(p)
	note("Identify", err)
	_, err = s.List(volpath.Path{})
	note("List", err)
	note("SetAside", s.SetAside(p, MovingDir, own, id))
	_, err = s.Aside(MovingDir, own)
	note("Aside", err)
	_, err = s.ListAside(MovingDir)
	note("ListAside", err)
	note("BringBack", s.BringBack(MovingDir, own, p))
	note("Rename", s.Rename(p, other, id))
	note("RemoveEmpty", s.RemoveEmpty(other, own, id, itIs))
	note("Remove", s.Remove(p, id))
	_, err = s.EmptyTrash(context.Background(), own, only(id), NewRemover(0, 0))
	note("EmptyTrash", err)
	parent := p.Ancestors()[0]
	_, err = s.IsMarked(parent)
	note("IsMarked", err)
	_, err = s.RemoveMarked(parent)
	note("RemoveMarked", err)
	_, err = s.Room()
	note("Room", err)
	return said
}

func everyMetaCall(s *Share, note func(name string, err error)) {
	note("MakeMeta", s.MakeMeta("volumes", "staging", TrashDir, MovingDir))
	note("CreateFile", s.CreateFile("x.json", "x.new", []byte("x")))
	note("PlaceDirectory", s.PlaceDirectory("volumes", "x", "staging/"+own, record, []byte("x")))
	note("WriteFile", s.WriteFile("volumes/x", record, []byte("y")))
	note("ExchangeFile", s.ExchangeFile("volumes/x", record, []byte("z")))
	_, err := s.ReadFile("volumes/x", record)
	note("ReadFile", err)
	_, err = s.ListMeta("volumes")
	note("ListMeta", err)
	_, err = s.MetaChanged("volumes", "x")
	note("MetaChanged", err)
	note("RenameFile", s.RenameFile("volumes/x", record, TrashDir, record))
	note("RemoveFile", errors.Join(s.RemoveFile(TrashDir, record), s.RemoveFile("", "x.json")))
	note("RemoveEmptyDirectory", s.RemoveEmptyDirectory("volumes", "x"))
	note("RemoveStale", s.RemoveStale("staging", "probe"))
	_, err = s.ServerTime("staging", "probe")
	note("ServerTime", err)
	_, err = s.HasMeta()
	note("HasMeta", err)
}

func recognised(t *testing.T) site {
	t.Helper()
	s := newSite(t, t.TempDir())
	must(t, s.share.MakeMeta())
	must(t, s.share.CreateFile("share.json", "share.new", []byte(`{"id":1}`)))
	s.share.Recognise("share.json", func(data []byte) bool { return string(data) == `{"id":1}` })
	return s
}

// What is mounted in place of the share, or under it, is neither touched nor
// taken for a share on which everything is gone.
func TestAnythingElseThanTheShareIsRefused(t *testing.T) {
	for name, exchange := range map[string]func(*testing.T, site){
		"nothing is mounted any more": func(t *testing.T, s site) { must(t, os.Mkdir(s.dir, 0o755)) },
		"another share is mounted": func(t *testing.T, s site) {
			tree(t, s.dir, ".claimdir/volumes/x/"+record, ".claimdir/trash/"+own+"/volume/file", "team/data/file")
			must(t, os.WriteFile(s.dir+"/.claimdir/share.json", []byte(`{"id":2}`), 0o600))
		},
		"one that lost its identity": func(t *testing.T, s site) { tree(t, s.dir, ".claimdir/volumes/", "team/data/file") },
		"one whose identity is a link": func(t *testing.T, s site) {
			tree(t, s.dir, ".claimdir/volumes/")
			must(t, os.Symlink(s.dir+".away/.claimdir/share.json", s.dir+"/.claimdir/share.json"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := recognised(t)
			must(t, os.Rename(s.dir, s.dir+".away"))
			exchange(t, s)
			before, away := snapshot(t, s.dir), snapshot(t, s.dir+".away")
			for call, err := range everyCall(s.share, pathOf(t, "team/data"), pathOf(t, "other")) {
				if !errors.Is(err, ErrNotRecognised) || errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: %v", call, err)
				}
			}
			untouched(t, s.dir, before)
			untouched(t, s.dir+".away", away)
			must(t, os.RemoveAll(s.dir))
			must(t, os.Rename(s.dir+".away", s.dir))
			for call, err := range everyCall(s.share, pathOf(t, "team/data"), pathOf(t, "other")) {
				if err != nil {
					t.Errorf("the share is back, %s: %v", call, err)
				}
			}
		})
	}
}

// An operation that has begun on the share ends there, whatever is mounted over it
// meanwhile.
func TestAViewStaysOnItsShare(t *testing.T) {
	s := recognised(t)
	view := s.share.During(t.Context(), nil)
	_, err := view.Exists(pathOf(t, "data"))
	must(t, err)
	_, err = view.ReadFile("", "share.json")
	must(t, err)
	must(t, os.Rename(s.dir, s.dir+".away"))
	tree(t, s.dir, ".claimdir/volumes/")
	before := snapshot(t, s.dir)
	for call, err := range everyCall(view, pathOf(t, "team/data"), pathOf(t, "other")) {
		if err != nil {
			t.Errorf("%s: %v", call, err)
		}
	}
	untouched(t, s.dir, before)
	view.Release()
	view.Release()
	if _, err := view.Exists(pathOf(t, "data")); !errors.Is(err, ErrNotRecognised) {
		t.Error("opened anew it is not the share:", err)
	}
	files, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, file := range files {
		if target, err := os.Readlink("/proc/self/fd/" + file.Name()); err == nil && strings.HasPrefix(target, s.dir) {
			t.Errorf("%s is still open", target)
		}
	}
}

// A share that was copied to other disks has other files, and is the same share.
func TestACopyOfTheShareIsTheShare(t *testing.T) {
	s := recognised(t)
	must(t, os.Rename(s.dir, s.dir+".away"))
	must(t, os.CopyFS(s.dir, os.DirFS(s.dir+".away")))
	if present, err := s.share.Exists(pathOf(t, "data")); present || err != nil {
		t.Error(present, err)
	}
}

func TestAnOperationThatWasGivenUpTouchesNothing(t *testing.T) {
	s := recognised(t)
	before := snapshot(t, s.dir)
	ctx, cancel := context.WithCancelCause(t.Context())
	calls := 0
	view := s.share.During(ctx, func(_ string, call func() error) error { calls++; return call() })
	defer view.Release()
	if _, err := view.Exists(pathOf(t, "data")); err != nil || calls == 0 {
		t.Errorf("%v, %d calls began", err, calls)
	}
	began := calls
	cause := errors.New("no answer for too long")
	cancel(cause)
	for call, err := range everyCall(view, pathOf(t, "team/data"), pathOf(t, "other")) {
		if !errors.Is(err, cause) {
			t.Errorf("%s: %v", call, err)
		}
	}
	if calls != began {
		t.Errorf("%d calls began, %d of them too late", calls, calls-began)
	}
	untouched(t, s.dir, before)
	if _, err := s.share.Create(pathOf(t, "data"), Attributes{Mode: 0o755}, nil); err != nil {
		t.Error("the share itself is not given up:", err)
	}
}

func TestRoom(t *testing.T) {
	s := newSite(t, t.TempDir())
	room, err := s.share.Room()
	must(t, err)
	if room.Size == 0 || room.Free > room.Size {
		t.Errorf("%+v", room)
	}
	must(t, os.Rename(s.dir, s.dir+".away"))
	if _, err := s.share.Room(); err == nil || !strings.Contains(err.Error(), "reach the share") {
		t.Error(err)
	}
}
