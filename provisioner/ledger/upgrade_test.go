package ledger_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/volpath"
)

// openHooked opens the share as a new process does, whose calls are made through call.
func openHooked(t *testing.T, dir string, call share.Call) *ledger.Ledger {
	t.Helper()
	s, err := share.Open(dir)
	sharetest.Must(t, err)
	l, err := ledger.Open(s, "another id")
	sharetest.Must(t, err)
	view := s.During(t.Context(), call)
	t.Cleanup(view.Release)
	if before, open := lastOpened.Swap(t, view); open { // a test opens more than a process may have open
		before.(*share.Share).Release() //nolint:forcetypeassert // nothing else is in it
	}
	return l.On(view)
}

// lastOpened has, for each test, the view that openHooked opened last.
var lastOpened sync.Map

// upgrade does what the start of a controller does.
func upgrade(l *ledger.Ledger) error {
	var paths []volpath.Path
	for path, err := range l.FirstPaths() {
		if err != nil {
			return err
		}
		paths = append(paths, path)
	}
	for _, path := range paths {
		if err := l.Convert(path); err != nil {
			return err
		}
	}
	return l.EndFirst()
}

// allRecords are the records by their paths, as layout 2 writes them.
func allRecords(t *testing.T, l *ledger.Ledger) map[string]ledger.Record {
	t.Helper()
	all := map[string]ledger.Record{}
	for r, err := range l.Records() {
		sharetest.Must(t, err)
		if _, twice := all[r.Path]; twice {
			t.Errorf("%s comes twice", r.Path)
		}
		r.Layout = ledger.Layout
		all[r.Path] = r
	}
	return all
}

// outside is what a share holds beside .claimdir, without the modes of the given paths.
func outside(t *testing.T, dir string, but map[string]string) map[string]string {
	t.Helper()
	all := tree(t, dir)
	for name := range all {
		if _, skip := but[name]; skip || strings.HasPrefix(name, ".claimdir") {
			delete(all, name)
		}
	}
	return all
}

// recordedParents are the directories of which layout 1 knows that claimdir made them, and
// which still are those.
func recordedParents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(dir + "/.claimdir/parents/*")
	sharetest.Must(t, err)
	parents := map[string]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		sharetest.Must(t, err)
		var parent struct {
			Path      string
			Directory *struct{ Number uint64 }
		}
		sharetest.Must(t, json.Unmarshal(data, &parent))
		if parent.Directory == nil {
			continue
		}
		if _, err := os.Stat(dir + "/" + parent.Path); err == nil {
			parents[parent.Path] = file
		}
	}
	return parents
}

// upgraded fails the test unless the share is one of layout 2 alone, with those records.
func upgraded(t *testing.T, dir string, want map[string]ledger.Record) {
	t.Helper()
	l := openHooked(t, dir, nil)
	if got := allRecords(t, l); !reflect.DeepEqual(got, want) {
		t.Errorf("the records are\n%+v, were\n%+v", got, want)
	}
	if id, err := l.Identity(); err != nil || id.Layout != 2 || id.ID != "share-1" || id.Created.IsZero() {
		t.Errorf("the identity is %+v, %v", id, err)
	}
	files, err := filepath.Glob(dir + "/.claimdir/records/*/*")
	sharetest.Must(t, err)
	if len(files) != len(want) {
		t.Errorf("the files are %q", files)
	}
	for _, left := range []string{"volumes", "parents", "staged/*", "tmp-*"} {
		if found, err := filepath.Glob(dir + "/.claimdir/" + left); err != nil || len(found) > 0 {
			t.Errorf("%q is left", found)
		}
	}
}

// withoutTemporary removes what layout 1 was writing: the time of change, by which the
// product tells what is old, cannot be set.
func withoutTemporary(t *testing.T, dir string) {
	t.Helper()
	found, err := filepath.Glob(dir + "/.claimdir/tmp-*/*")
	sharetest.Must(t, err)
	for _, name := range found {
		sharetest.Must(t, os.Remove(name))
	}
}

// Every share that an older claimdir left, whole or cut off anywhere, becomes one of layout
// 2: no record is lost, what people and pods have is untouched, and the parents that it
// made are marked.
func TestSharesOfLayout1AreUpgraded(t *testing.T) {
	fsys := os.DirFS("testdata/layout1")
	names, err := sharetest.Names(fsys)
	sharetest.Must(t, err)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sharetest.Must(t, sharetest.Write(fsys, name, dir))
			withoutTemporary(t, dir)
			parents := recordedParents(t, dir)
			files := outside(t, dir, parents)
			l := openHooked(t, dir, nil)
			records := allRecords(t, l)
			sharetest.Must(t, upgrade(l))
			upgraded(t, dir, records)
			if now := outside(t, dir, parents); !reflect.DeepEqual(now, files) {
				t.Errorf("the share became\n%v, was\n%v", now, files)
			}
			for parent := range parents {
				if info, err := os.Stat(dir + "/" + parent); err != nil || info.Mode().Perm() != 0o745 {
					t.Errorf("parent %s: %v, %v", parent, info, err)
				}
			}
			for p := range records { // a volume is never marked
				if info, err := os.Stat(dir + "/" + p); err == nil && info.Mode().Perm() == 0o745 {
					t.Errorf("volume %s is marked", p)
				}
			}
			calls := 0
			again := openHooked(t, dir, func(name string, call func() error) error { calls++; return call() })
			if sharetest.Must(t, upgrade(again)); calls > 0 {
				t.Errorf("an upgraded share costs %d calls", calls)
			}
		})
	}
}

// Another directory than the one that layout 1 made is never marked, and so never removed.
func TestOtherDirectoriesThanTheRecordedParentAreNotMarked(t *testing.T) {
	for name, exchange := range map[string]func(t *testing.T, parent string){
		"another directory": func(t *testing.T, parent string) {
			sharetest.Must(t, os.Rename(parent, parent+"-away"))
			sharetest.Must(t, os.Mkdir(parent, 0o755))
		},
		"a file": func(t *testing.T, parent string) {
			sharetest.Must(t, os.Remove(parent))
			sharetest.Must(t, os.WriteFile(parent, nil, 0o755)) //nolint:gosec // as a directory has it
		},
		"a link": func(t *testing.T, parent string) {
			sharetest.Must(t, os.Rename(parent, parent+"-away"))
			sharetest.Must(t, os.Symlink(parent+"-away", parent))
		},
		"nothing": func(t *testing.T, parent string) { sharetest.Must(t, os.Remove(parent)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sharetest.Must(t, sharetest.Write(os.DirFS("testdata/layout1"), "parent-left", dir))
			exchange(t, dir+"/team")
			before := outside(t, dir, nil)
			sharetest.Must(t, upgrade(openHooked(t, dir, nil)))
			upgraded(t, dir, map[string]ledger.Record{})
			if after := outside(t, dir, nil); !reflect.DeepEqual(after, before) {
				t.Errorf("the share became %v, was %v", after, before)
			}
		})
	}
}

// What an older claimdir may still be writing stays, and the next start removes it.
func TestAYoungTemporaryFileOutlivesTheUpgrade(t *testing.T) {
	dir := t.TempDir()
	sharetest.Must(t, sharetest.Write(os.DirFS("testdata/layout1"), "temporary", dir))
	l := openHooked(t, dir, nil)
	records := allRecords(t, l)
	sharetest.Must(t, upgrade(l))
	if found, err := filepath.Glob(dir + "/.claimdir/tmp-c/NEW*"); err != nil || len(found) != 1 {
		t.Errorf("it is %q", found)
	}
	withoutTemporary(t, dir)
	sharetest.Must(t, upgrade(openHooked(t, dir, nil)))
	upgraded(t, dir, records)
}

// An older claimdir that comes back after the upgrade refuses the share, as this one
// refuses a newer one: it compares the layout in share.json, first of all.
func TestAnUpgradedShareSaysSoBeforeItsFirstRecord(t *testing.T) {
	dir := t.TempDir()
	sharetest.Must(t, sharetest.Write(os.DirFS("testdata/layout1"), "active-nested", dir))
	var order []string
	l := openHooked(t, dir, func(name string, call func() error) error { order = append(order, name); return call() })
	identity := func() (text string) {
		data, err := os.ReadFile(dir + "/.claimdir/share.json")
		sharetest.Must(t, err)
		return string(data)
	}
	for _, err := range l.Records() {
		sharetest.Must(t, err)
	}
	for _, err := range l.FirstPaths() {
		sharetest.Must(t, err)
	}
	if text := identity(); !strings.Contains(text, `"layout":1,`) {
		t.Errorf("to read it upgrades it: %s", text)
	}
	order = nil
	_, err := l.Take(sharetest.PathOf(t, "new"), ledger.Record{State: ledger.Creating, PV: "pvc-3", Cluster: "cluster-1"}, false)
	sharetest.Must(t, err)
	if text := identity(); !strings.HasPrefix(text, `{"layout":2,"id":"share-1","created":"2026-01-02T03:04:05.000001Z"}`) {
		t.Errorf("the identity is %s", text)
	}
	for _, name := range order {
		if strings.HasPrefix(name, "create ") || strings.HasPrefix(name, "make ") {
			if !strings.HasPrefix(name, "create share.") {
				t.Errorf("the first that is written is %q", name)
			}
			break
		}
	}
}

// Several processes begin to write at the same moment, each with several operations. None
// of them fails, and whoever reads the identity meanwhile sees one that is whole.
func TestManyUpgradeAShareAtOnce(t *testing.T) {
	dir := t.TempDir()
	sharetest.Must(t, sharetest.Write(os.DirFS("testdata/layout1"), "active-nested", dir))
	var ledgers []*ledger.Ledger
	for range 4 {
		s, err := share.Open(dir)
		sharetest.Must(t, err)
		l, err := ledger.Open(s, "another id")
		sharetest.Must(t, err)
		ledgers = append(ledgers, l)
	}
	reader, err := share.Open(dir)
	sharetest.Must(t, err)
	var writers sync.WaitGroup
	for i, l := range ledgers {
		for j := range 4 {
			writers.Go(func() {
				r := ledger.Record{State: ledger.Creating, PV: fmt.Sprintf("pvc-%d-%d", i, j), Cluster: "cluster-1"}
				if _, err := l.Take(sharetest.PathOf(t, r.PV), r, false); err != nil {
					t.Error(err)
				}
				if _, err := ledger.Open(reader, "another id"); err != nil {
					t.Error(err)
				}
			})
		}
	}
	writers.Wait()
	if l, err := ledger.Open(reader, "another id"); err != nil || l.ID() != "share-1" {
		t.Errorf("the share is another one (%v)", err)
	}
	if left, err := filepath.Glob(dir + "/.claimdir/share.*"); err != nil || len(left) != 1 {
		t.Errorf("it has %q (%v)", left, err)
	}
}

// A volume that is being made has its path, too, while its record is still that of layout 1.
func TestARecordOfLayout1IsItsVolumes(t *testing.T) {
	dir := t.TempDir()
	sharetest.Must(t, sharetest.Write(os.DirFS("testdata/layout1"), "creating-directory", dir))
	l := openHooked(t, dir, nil)
	path := sharetest.PathOf(t, "data")
	r, found, err := l.Lookup(path)
	if err != nil || !found {
		t.Fatal(found, err)
	}
	sharetest.Must(t, l.Ours(path, r))
	r.PV = "pvc-other"
	if err := l.Ours(path, r); !errors.Is(err, ledger.ErrLost) {
		t.Errorf("another volume has it, too: %v", err)
	}
}

// The upgrade is cut off at each of its calls, before or after it, and started again.
func TestAnUpgradeThatIsCutOffGoesOn(t *testing.T) {
	for _, name := range []string{"active-nested", "restore-cut-04", "trash"} {
		for n := 0; ; n += sharetest.Times(1, 23) {
			dir := t.TempDir()
			sharetest.Must(t, sharetest.Write(os.DirFS("testdata/layout1"), name, dir))
			parents := recordedParents(t, dir)
			files := outside(t, dir, parents)
			records := allRecords(t, openHooked(t, dir, nil))
			cut := &sharetest.Fault{N: n + 1, Kill: true}
			if err := upgrade(openHooked(t, dir, cut.Call)); (err != nil) != (cut.Hit() != "") {
				t.Fatalf("%s, cut off at call %d: %v", name, n, err)
			}
			if got := allRecords(t, openHooked(t, dir, nil)); !reflect.DeepEqual(got, records) {
				t.Errorf("%s, cut off at %s: the records are\n%+v, were\n%+v", name, cut.Hit(), got, records)
			}
			sharetest.Must(t, upgrade(openHooked(t, dir, nil)))
			upgraded(t, dir, records)
			if now := outside(t, dir, parents); !reflect.DeepEqual(now, files) {
				t.Errorf("%s, cut off at %s: the share became\n%v, was\n%v", name, cut.Hit(), now, files)
			}
			for parent := range parents {
				if info, err := os.Stat(dir + "/" + parent); err != nil || info.Mode().Perm() != 0o745 {
					t.Errorf("%s, cut off at %s: parent %s is %v, %v", name, cut.Hit(), parent, info, err)
				}
			}
			if t.Failed() || cut.Hit() == "" {
				break
			}
		}
	}
}

// A record of layout 1 is changed, moved and removed like any other, cut off anywhere, and
// never comes back.
func TestARecordOfLayout1IsChangedLikeAnyOther(t *testing.T) {
	for name, act := range map[string]func(l *ledger.Ledger, p volpath.Path, r ledger.Record) error{
		"activate": func(l *ledger.Ledger, p volpath.Path, r ledger.Record) error {
			return l.Activate(p, r, &share.Identity{Number: 7})
		},
		"remove": func(l *ledger.Ledger, p volpath.Path, r ledger.Record) error { return l.Remove(p, r) },
		"discard": func(l *ledger.Ledger, p volpath.Path, r ledger.Record) error {
			return l.Discard(p, r, volpath.Trash(r.PV, r.Cluster, 1))
		},
		"take over": func(l *ledger.Ledger, p volpath.Path, r ledger.Record) error {
			to := r
			to.Cluster = "cluster-2"
			_, err := l.TakeOver(p, r, to)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 0; ; n += sharetest.Times(1, 23) {
				dir := t.TempDir()
				sharetest.Must(t, sharetest.Write(os.DirFS("testdata/layout1"), "active-default", dir))
				sharetest.Must(t, os.MkdirAll(dir+"/.claimdir/trash/"+volpath.Trash("pvc-1", "cluster-1", 1), 0o700))
				p := sharetest.PathOf(t, "ns-data-pvc-1")
				r, found, err := openHooked(t, dir, nil).Lookup(p)
				if err != nil || !found {
					t.Fatal(found, err)
				}
				c := &sharetest.Fault{N: n + 1, Kill: true}
				if err := act(openHooked(t, dir, c.Call), p, r); (err != nil) != (c.Hit() != "") {
					t.Fatalf("call %d: %v", n, err)
				}
				between, gone, err := openHooked(t, dir, nil).Lookup(p)
				if gone = !gone; err != nil || gone && name != "remove" && name != "discard" {
					t.Errorf("cut off at %s: %+v, gone %v, %v", c.Hit(), between, gone, err)
				}
				sharetest.Must(t, act(openHooked(t, dir, nil), p, r))
				now, found, err := openHooked(t, dir, nil).Lookup(p)
				sharetest.Must(t, err)
				switch name {
				case "remove", "discard":
					if found {
						t.Errorf("cut off at %s: it is still there: %+v", c.Hit(), now)
					}
				case "activate":
					if !found || now.PV != "pvc-1" || now.Directory == nil {
						t.Errorf("cut off at %s: %+v, %v", c.Hit(), now, found)
					}
				default:
					if !found || now.PV != "pvc-1" || now.Cluster != "cluster-2" {
						t.Errorf("cut off at %s: %+v, %v", c.Hit(), now, found)
					}
				}
				if _, err := os.Stat(dir + "/.claimdir/volumes/ns-data-pvc-1.json"); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("cut off at %s: the record of layout 1 is there: %v", c.Hit(), err)
				}
				if t.Failed() || c.Hit() == "" {
					break
				}
			}
		})
	}
}

// BenchmarkConvert is the upgrade of 100,000 records.
func BenchmarkConvert(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		for _, name := range []string{"volumes", "trash", "parents"} {
			if err := os.MkdirAll(dir+"/.claimdir/"+name, 0o700); err != nil {
				b.Fatal(err)
			}
		}
		must := func(err error) {
			if err != nil {
				b.Fatal(err)
			}
		}
		must(os.WriteFile(dir+"/.claimdir/share.json", []byte(`{"layout":1,"id":"share-1"}`), 0o600))
		const records = 100_000
		for i := range records {
			text := fmt.Sprintf(`{"layout":1,"state":"active","path":"data-%d","pv":"pvc-%d","claim":{"namespace":"ns","name":"data"},"cluster":"c1"}`, i, i)
			must(os.WriteFile(fmt.Sprintf("%s/.claimdir/volumes/data-%d.json", dir, i), []byte(text), 0o600))
		}
		s, err := share.Open(dir)
		must(err)
		l, err := ledger.Open(s, "id")
		must(err)
		began := time.Now()
		must(upgrade(l))
		b.ReportMetric(float64(records)/time.Since(began).Seconds(), "records/s")
	}
}
