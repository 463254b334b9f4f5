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
	note("MakeMeta", s.MakeMeta("volumes"))
	note("CreateMeta", s.CreateMeta("volumes/x.json", []byte("x")))
	note("ReplaceMeta", s.ReplaceMeta("volumes/x.json", []byte("y")))
	_, err := s.ReadMeta("volumes/x.json")
	note("ReadMeta", err)
	_, err = s.ListMeta("volumes")
	note("ListMeta", err)
	note("RemoveMeta", s.RemoveMeta("volumes/x.json"))
	_, err = s.HasMeta()
	note("HasMeta", err)
	parent := p.Ancestors()[0]
	_, err = s.MakeParent(parent)
	note("MakeParent", err)
	note("FinishParent", s.FinishParent(parent))
	_, err = s.FinishedParents(p)
	note("FinishedParents", err)
	found, err := s.LookParent(parent)
	note("LookParent", err)
	_, err = s.Create(p, Attributes{Mode: 0o755})
	note("Create", err)
	_, err = s.Exists(p)
	note("Exists", err)
	_, err = s.List(volpath.Path{})
	note("List", err)
	note("Rename", s.Rename(p, other))
	note("RemoveEmpty", s.RemoveEmpty(other))
	note("Remove", s.Remove(p))
	note("RemoveParent", s.RemoveParent(parent, found.ID))
	_, err = s.Room()
	note("Room", err)
	return said
}

func recognised(t *testing.T) site {
	t.Helper()
	s := newSite(t, t.TempDir())
	must(t, s.share.MakeMeta())
	must(t, s.share.CreateMeta("share.json", []byte(`{"id":1}`)))
	s.share.Recognise("share.json", []byte(`{"id":1}`))
	return s
}

// What is mounted in place of the share, or under it, is neither touched nor
// taken for a share on which everything is gone.
func TestAnythingElseThanTheShareIsRefused(t *testing.T) {
	for name, exchange := range map[string]func(*testing.T, site){
		"nothing is mounted any more": func(t *testing.T, s site) { must(t, os.Mkdir(s.dir, 0o755)) },
		"another share is mounted": func(t *testing.T, s site) {
			tree(t, s.dir, ".claimdir/volumes/", ".claimdir/tmp-0/", "team/data/file")
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
	_, err = view.ReadMeta("share.json")
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
	view := s.share.During(ctx, func() { calls++ })
	if _, err := view.Exists(pathOf(t, "data")); err != nil || calls != 1 {
		t.Errorf("%v, %d calls began", err, calls)
	}
	cause := errors.New("no answer for too long")
	cancel(cause)
	for call, err := range everyCall(view, pathOf(t, "team/data"), pathOf(t, "other")) {
		if !errors.Is(err, cause) {
			t.Errorf("%s: %v", call, err)
		}
	}
	if calls != 1 {
		t.Errorf("%d calls began", calls)
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
