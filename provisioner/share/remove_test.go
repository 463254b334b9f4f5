package share

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"claimdir/provisioner/volpath"
)

func removeCases() map[string]func(*testing.T, site) {
	return map[string]func(*testing.T, site){
		"remove takes hostile trees and nothing else":  removeHostile,
		"remove opens up unreadable trees":             removeUnreadable,
		"remove of an absent path is no error":         removeAbsent,
		"remove takes what others made sticky":         removeSticky,
		"remove ends and goes on":                      removeEnds,
		"remove reads names":                           removeReadsNames,
		"remove takes what is made meanwhile":          removeMeanwhile,
		"remove empty leaves a directory with content": removeEmpty,
	}
}

func removeHostile(t *testing.T, s site) {
	tree(t, s.outside, "secret/file")
	tree(t, s.dir, "team/other/file", "team/data2/file", ".claimdir/volumes/x.json",
		"team/data/plain/file", "team/data/new\nline/sp ace", "team/data/\xff\xfe/\x80", "team/data/-rf", "team/data/*",
		"team/data/"+strings.Repeat("d/", 500), "team/data/"+strings.Repeat("n", 255))
	for name, target := range map[string]string{
		"out": s.outside, "outfile": s.outside + "/secret/file", "rel": "../../../outside", "in": "../other", "up": "..",
		"self": "self", "gone": "nowhere", "plain/out": s.outside + "/secret", "records": "../../.claimdir",
	} {
		must(t, os.Symlink(target, s.dir+"/team/data/"+name))
	}
	must(t, os.Link(s.outside+"/secret/file", s.dir+"/team/data/hardlink"))
	outside, other, near, records := snapshot(t, s.outside), snapshot(t, s.dir+"/team/other"), snapshot(t, s.dir+"/team/data2"), snapshot(t, s.dir+"/.claimdir")
	must(t, s.share.Remove(pathOf(t, "team/data"), nil))
	absent(t, s.dir+"/team/data")
	untouched(t, s.outside, outside)
	untouched(t, s.dir+"/team/other", other)
	untouched(t, s.dir+"/team/data2", near)
	untouched(t, s.dir+"/.claimdir", records)
}

// On NFS, root without capabilities is refused by its own kernel what it may do
// on the server: to take other users' files out of their sticky directories.
func removeSticky(t *testing.T, s site) {
	tree(t, s.dir, "data/sticky/deep/sticky/file", "data/sticky/file")
	for _, dir := range []string{"data/sticky/deep/sticky", "data/sticky/deep", "data/sticky"} {
		must(t, os.Symlink(s.outside, s.dir+"/"+dir+"/out"))
		if os.Geteuid() == 0 { // nobody else can give files away
			must(t, os.Chown(s.dir+"/"+dir, 1000, 1000))
			for _, name := range []string{"file", "out"} {
				if err := os.Lchown(s.dir+"/"+dir+"/"+name, 2000, 2000); !errors.Is(err, fs.ErrNotExist) {
					must(t, err)
				}
			}
		}
		must(t, os.Chmod(s.dir+"/"+dir, 0o777|fs.ModeSticky))
	}
	must(t, os.Chmod(s.outside, 0o777|fs.ModeSticky))
	outside := snapshot(t, s.outside)
	must(t, s.share.Remove(pathOf(t, "data"), nil))
	absent(t, s.dir+"/data")
	untouched(t, s.outside, outside)
}

// A removal that is told to end does so after the calls under way; the next one
// goes on with what is left.
func removeEnds(t *testing.T, s site) {
	for i := range times(fewNames+20, 250) {
		tree(t, s.dir, fmt.Sprintf("data/many/%d", i))
	}
	tree(t, s.dir, "data/a/b/c/file", "data/d/")
	tree(t, s.dir, "near/file")
	before := entries(t, s.dir)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	began := 0
	counted := s.share.During(ctx, func(_ string, call func() error) error {
		if began++; began > 48 { // some steps of the removal come before the first file, on some servers 20
			cancel(enough)
		}
		return call()
	})
	defer counted.Release()
	if err := paced(counted, pathOf(t, "data")); !errors.Is(err, enough) {
		t.Error(err)
	}
	if left := entries(t, s.dir); left == before || left < 20 {
		t.Errorf("%d of %d entries are left", left, before)
	}
	must(t, s.share.Remove(pathOf(t, "data"), nil))
	absent(t, s.dir+"/data")
	if _, err := os.Stat(s.dir + "/near/file"); err != nil {
		t.Error(err)
	}
}

// paced removes at 100 calls a second.
func paced(s *Share, p volpath.Path) error {
	return s.remove(context.Background(), NewRemover(0, 100), p, nil)
}

// entries counts what is below dir.
func entries(t *testing.T, dir string) (n int) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(_ string, _ fs.DirEntry, err error) error { n++; return err }))
	return n
}

func removeMeanwhile(t *testing.T, s site) {
	tree(t, s.dir, "data/a/b/file")
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		made := 0
		defer func() { stopped <- made }()
		for range 100 {
			select {
			case <-stop:
				return
			default:
			}
			if os.WriteFile(fmt.Sprintf("%s/data/a/b/new-%d", s.dir, made), nil, 0o600) == nil {
				made++
			}
		}
	}()
	var err error
	for range 1000 { // as the library does
		if err = s.share.Remove(pathOf(t, "data"), nil); err == nil {
			break
		}
	}
	close(stop)
	made := <-stopped
	must(t, err)
	must(t, s.share.Remove(pathOf(t, "data"), nil))
	absent(t, s.dir+"/data")
	t.Logf("%d files were made meanwhile", made)
}

// What is ours is opened up on its way out, whoever we are. (What is somebody
// else's, squashed root hears of: nfscases.)
func removeUnreadable(t *testing.T, s site) {
	tree(t, s.dir, "data/closed/deep/file", "data/open/file", "data/frozen/file")
	must(t, os.Chmod(s.dir+"/data/frozen", 0o500))
	must(t, os.Chmod(s.dir+"/data/closed/deep", 0))
	must(t, os.Chmod(s.dir+"/data/closed", 0))
	must(t, s.share.Remove(pathOf(t, "data"), nil))
	absent(t, s.dir+"/data")
}

func removeAbsent(t *testing.T, s site) {
	must(t, s.share.MakeMeta(MovingDir))
	tree(t, s.dir, "team/keep/file")
	before := snapshot(t, s.dir)
	for _, name := range []string{"nothing", "team/nothing", "team/no/thing", "no/such/thing"} {
		p := pathOf(t, name)
		if err := errors.Join(s.share.Remove(p, nil), s.share.RemoveEmpty(p, own, nil, itIs)); err != nil {
			t.Error(name, err)
		}
		if found, err := s.share.Exists(p); found || err != nil {
			t.Error(name, found, err)
		}
	}
	kept(t, s.dir, before) // a directory of its own was made for what might be there
}

func removeEmpty(t *testing.T, s site) {
	must(t, s.share.MakeMeta())
	tree(t, s.dir, "team/empty/", "team/full/file")
	before := snapshot(t, s.dir+"/team/full")
	must(t, s.share.RemoveEmpty(pathOf(t, "team/empty"), own, identify(t, s.share, "team/empty"), itIs))
	absent(t, s.dir+"/team/empty")
	err := s.share.RemoveEmpty(pathOf(t, "team/full"), own, identify(t, s.share, "team/full"), itIs)
	mustBe(t, err, "remove empty team/full")
	mustBe(t, err, ErrOccupied)
	untouched(t, s.dir+"/team/full", before)
	nothingAside(t, s, MovingDir)
}

func renameCases() map[string]func(*testing.T, site) {
	return map[string]func(*testing.T, site){
		"rename moves the directory with all in it": renameMoves,
		"rename replaces nothing":                   renameReplacesNothing,
		"rename of an absent directory says so":     renameAbsent,
		"exists beside renames is no error":         existsBesideRenames,
		"rename opens a closed directory":           renameClosed,
	}
}

// One of two claims that ask for an archive looks at it while the other takes it.
// Of the two names, each has its spelling checked in another way.
func existsBesideRenames(t *testing.T, s site) {
	for _, name := range []string{"here", "l\u00e0"} {
		numbered := func(i int) string { return fmt.Sprint(name, "-", i) }
		tree(t, s.dir, numbered(0)+"/")
		const renames = 300
		var at atomic.Int64
		done := make(chan error, 1)
		go func() {
			for i := range renames {
				if err := os.Rename(s.dir+"/"+numbered(i), s.dir+"/"+numbered(i+1)); err != nil {
					done <- err
					return
				}
				at.Store(int64(i + 1))
			}
			done <- nil
		}()
		for i := 0; i < renames; i = int(at.Load()) {
			if _, err := s.share.Exists(pathOf(t, numbered(i))); err != nil {
				t.Fatal(err, <-done)
			}
			if len(done) > 0 {
				break
			}
		}
		must(t, <-done)
	}
}

// To any user but root it is the owner's mode that forbids it to go elsewhere.
func renameClosed(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	for _, mode := range []os.FileMode{0o555, 0, 0o1511} {
		name := fmt.Sprintf("%o", mode)
		tree(t, s.dir, "team/"+name+"/file")
		must(t, os.Chmod(s.dir+"/team/"+name, goMode(mode)))
		must(t, s.share.Rename(pathOf(t, "team/"+name), pathOf(t, name), identify(t, s.share, "team/"+name)))
		info, err := os.Lstat(s.dir + "/" + name)
		if err != nil || info.Mode() != fs.ModeDir|goMode(mode) {
			t.Error(info, err)
		}
		trash := own + name
		must(t, s.share.SetAside(pathOf(t, name), TrashDir, trash, identify(t, s.share, name)))
		info, err = os.Lstat(s.dir + "/.claimdir/trash/" + trash + "/volume")
		if err != nil || info.Mode() != fs.ModeDir|goMode(mode) {
			t.Error(info, err)
		}
		must(t, s.share.BringBack(TrashDir, trash, pathOf(t, "back-"+name)))
		must(t, os.Chmod(s.dir+"/back-"+name, 0o755))
	}
}

func goMode(mode os.FileMode) os.FileMode { return fileMode(uint32(mode)) }

func renameMoves(t *testing.T, s site) {
	tree(t, s.dir, "team/data/a/file")
	before := snapshot(t, s.dir+"/team/data/a")
	to := volpath.Archive("team", "data", "pvc-1", 1)
	must(t, s.share.Rename(pathOf(t, "team/data"), to, identify(t, s.share, "team/data")))
	absent(t, s.dir+"/team/data")
	untouched(t, s.dir+"/"+to.String()+"/a", before)
}

func renameReplacesNothing(t *testing.T, s site) {
	tree(t, s.dir, "from/file", "empty/", "full/file2", "file", "team/empty/")
	before := snapshot(t, s.dir)
	for _, to := range []string{"empty", "full", "file", "team/empty", "from"} {
		mustBe(t, s.share.Rename(pathOf(t, "from"), pathOf(t, to), nil), fs.ErrExist)
	}
	untouched(t, s.dir, before)
}

func renameAbsent(t *testing.T, s site) {
	tree(t, s.dir, "team/")
	for _, from := range []string{"nothing", "team/nothing", "no/thing"} {
		mustBe(t, s.share.Rename(pathOf(t, from), pathOf(t, "to"), nil), fs.ErrNotExist)
	}
}

func goneCases() map[string]func(*testing.T, site) {
	return map[string]func(*testing.T, site){
		"a share that is gone is not a volume that is absent":       shareGone,
		"records that are gone are not a record that is absent":     recordsGone,
		"a share that is a file now is not a volume that is absent": shareIsFile,
	}
}

func allCalls(t *testing.T, s site) map[string]error {
	t.Helper()
	p := pathOf(t, "team/data")
	_, exists := s.share.Exists(p)
	_, create := s.share.Create(p, Attributes{Mode: 0o777}, nil)
	calls := metaCalls(s)
	calls["exists"], calls["create"] = exists, create
	calls["remove"], calls["remove empty"] = s.share.Remove(p, nil), s.share.RemoveEmpty(p, own, nil, itIs)
	calls["rename"], calls["make meta"] = s.share.Rename(p, pathOf(t, "to"), nil), s.share.MakeMeta("volumes")
	_, calls["identify"] = s.share.Identify(p)
	_, calls["is marked"] = s.share.IsMarked(p)
	_, calls["remove marked"] = s.share.RemoveMarked(p)
	calls["mark"], calls["set aside"] = s.share.Mark(p, 1), s.share.SetAside(p, TrashDir, own, nil)
	return calls
}

func metaCalls(s site) map[string]error {
	_, read := s.share.ReadFile("volumes/x", "r.json")
	_, list := s.share.ListMeta("volumes")
	_, aside := s.share.Aside(TrashDir, own)
	_, listAside := s.share.ListAside(TrashDir)
	_, first := s.share.FirstTrash("pvc-1-1")
	_, serverTime := s.share.ServerTime("staging", "probe")
	_, empty := s.share.EmptyTrash(context.Background(), own, only(nil), NewRemover(0, 0))
	return map[string]error{
		"read": read, "list": list, "create": s.share.CreateFile("x.json", "x.new", nil), "aside": aside, "list aside": listAside, "first trash": first,
		"write": s.share.WriteFile("volumes/x", "r.json", nil), "exchange": s.share.ExchangeFile("volumes/x", "r.json", nil),
		"remove": s.share.RemoveFile("volumes/x", "r.json"), "rename": s.share.RenameFile("volumes/x", "r.json", "volumes/y", "r.json"),
		"place":            s.share.PlaceDirectory("volumes", "x", "staging/x", "r.json", nil),
		"remove directory": s.share.RemoveEmptyDirectory("volumes", "x"), "remove stale": s.share.RemoveStale("staging", "probe"),
		"empty the trash": empty, "server time": serverTime, "bring back": s.share.BringBack(TrashDir, own, volpath.Archive("a", "b", "c", 1)),
	}
}

func noneSaysAbsent(t *testing.T, calls map[string]error) {
	t.Helper()
	for name, err := range calls {
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		} else if !strings.Contains(err.Error(), "reach the share") {
			t.Errorf("%s: %q does not speak of the share", name, err)
		}
	}
}

func shareGone(t *testing.T, s site) {
	must(t, os.Rename(s.dir, s.dir+".unmounted"))
	noneSaysAbsent(t, allCalls(t, s))
	absent(t, s.dir)
	_, err := Open(s.dir)
	mustBe(t, err, "open share")
}

func shareIsFile(t *testing.T, s site) {
	must(t, os.Remove(s.dir))
	must(t, os.WriteFile(s.dir, nil, 0o644))
	noneSaysAbsent(t, allCalls(t, s))
	_, err := Open(s.dir)
	mustBe(t, err, ErrNotDirectory)
}

func recordsGone(t *testing.T, s site) {
	noneSaysAbsent(t, metaCalls(s))
	must(t, os.Symlink(s.outside, s.dir+"/.claimdir"))
	noneSaysAbsent(t, metaCalls(s))
	mustBe(t, s.share.MakeMeta("volumes"), ErrNotDirectory)
	if left := snapshot(t, s.outside); strings.Count(left, "\n") != 1 {
		t.Errorf("written through a link: %s", left)
	}
}

// A tenant chose the name that an error shows in an event and in the log.
func TestTheNameInAnErrorIsQuoted(t *testing.T) {
	o := outcome{}
	parent, err := os.Open(t.TempDir())
	must(t, err)
	defer parent.Close()
	o.note(entry{dir: parent, in: "sub", name: "x\nI0101 forged\r\x1b[2K\xff"}, syscall.EBUSY)
	if got := o.kept.Error(); !strings.HasPrefix(got, `"sub/x\nI0101 forged\r\x1b[2K\xff": `) {
		t.Errorf("it says %q", got)
	}
}
