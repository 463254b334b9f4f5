package share

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func metaCases() map[string]func(*testing.T, site) {
	return map[string]func(*testing.T, site){
		"claimdir's own files are for the owner alone":         metaPrivate,
		"of many that create a file one succeeds":              metaExclusive,
		"a reader sees the old file or the new one":            metaWhole,
		"what is no file of ours is not read":                  metaStrange,
		"files come, change and go":                            metaLife,
		"what was cut off is in nobody's way":                  metaCutOff,
		"files are renamed from directory to directory":        metaRename,
		"of many that place a directory one succeeds":          placeRace,
		"a directory is placed over an empty one and no other": placeOver,
		"a directory that was placed is the one that is held":  placeHeld,
		"an empty directory is removed and no other":           metaRemoveDirectory,
		"records that were exchanged are not written to":       metaExchanged,
		"what is stale goes by the server's time":              metaStale,
	}
}

const record = "r.json"

func metaPrivate(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes", "staging"))
	must(t, s.share.MakeMeta("volumes", "staging")) // again
	must(t, s.share.CreateFile("share.json", "share.new", []byte("x")))
	must(t, s.share.PlaceDirectory("volumes", "x", "staging/"+own, record, []byte("x")))
	for _, name := range []string{"", "/volumes", "/staging", "/volumes/x"} {
		if mode := modeOf(t, s.dir+"/.claimdir"+name); mode != 0o700 {
			t.Errorf(".claimdir%s has mode %04o", name, mode)
		}
	}
	for _, name := range []string{"share.json", "volumes/x/" + record} {
		info, err := os.Stat(s.dir + "/.claimdir/" + name)
		if err != nil || info.Mode() != 0o600 {
			t.Error(name, info, err)
		}
	}
}

func metaExclusive(t *testing.T, s site) {
	must(t, s.share.MakeMeta())
	var won atomic.Int32
	var winner atomic.Value
	var callers sync.WaitGroup
	for i := range 50 {
		callers.Go(func() {
			data := bytes.Repeat([]byte{byte(' ' + i)}, 5000)
			switch err := s.share.CreateFile("x.json", fmt.Sprint("x.json.", i), data); {
			case err == nil:
				won.Add(1)
				winner.Store(data)
			case !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	callers.Wait()
	data, err := s.share.ReadFile("", "x.json")
	must(t, err)
	if won.Load() != 1 {
		t.Fatalf("%d callers made the file", won.Load())
	}
	if want, _ := winner.Load().([]byte); !bytes.Equal(data, want) {
		t.Error("the content is not the winner's")
	}
	holds(t, s, "", "x.json")
}

// holds fails the test if a directory below .claimdir lists other names.
func holds(t *testing.T, s site, in string, want ...string) {
	t.Helper()
	names, err := s.share.ListMeta(in)
	if err != nil || !slices.Equal(names, want) {
		t.Errorf(".claimdir/%s has %q, %v; want %q", in, names, err, want)
	}
}

// metaWhole: one writes at a time, for a record is its volume's own.
func metaWhole(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	const size = 200_000
	must(t, s.share.WriteFile("volumes", record, bytes.Repeat([]byte("a"), size)))
	done := make(chan struct{})
	var writer, reader sync.WaitGroup
	writer.Go(func() {
		defer close(done)
		for i := range 100 {
			write := s.share.WriteFile
			if i%2 == 0 {
				write = s.share.ExchangeFile
			}
			if err := write("volumes", record, bytes.Repeat([]byte{byte('b' + i%2)}, size)); err != nil {
				t.Error(err)
			}
		}
	})
	var reads atomic.Int32
	reader.Go(func() {
		for stopped := false; !stopped || reads.Load() == 0; {
			select {
			case <-done:
				stopped = true
			default:
			}
			data, err := s.share.ReadFile("volumes", record)
			if err != nil || len(data) != size || bytes.Count(data, data[:1]) != size {
				t.Errorf("read %d bytes, of more than one write or not all: %v", len(data), err)
				return
			}
			reads.Add(1)
		}
	})
	writer.Wait()
	reader.Wait()
	holds(t, s, "volumes", record)
}

func metaStrange(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	tree(t, s.outside, "secret")
	tree(t, s.dir, ".claimdir/volumes/real.json")
	volumes := s.dir + "/.claimdir/volumes/"
	must(t, os.Symlink(s.outside+"/secret", volumes+"out.json"))
	must(t, os.Symlink("real.json", volumes+"in.json"))
	must(t, os.Symlink("nowhere", volumes+"dangling.json"))
	must(t, os.Mkdir(volumes+"dir.json", 0o700))
	must(t, os.WriteFile(volumes+"big.json", nil, 0o600))
	must(t, os.Truncate(volumes+"big.json", maxMetaFile+1))
	for _, name := range []string{"out", "in", "dangling", "dir", "big"} {
		data, err := s.share.ReadFile("volumes", name+".json")
		mustBe(t, err, "not a file of at most 1048576 bytes")
		if errors.Is(err, fs.ErrNotExist) || data != nil {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	must(t, os.Symlink("nowhere", s.dir+"/.claimdir/dangling.json"))
	mustBe(t, s.share.CreateFile("dangling.json", "temporary", []byte("x")), fs.ErrExist)
	absent(t, s.dir+"/.claimdir/nowhere")
	// Links are replaced, and not followed.
	outside := snapshot(t, s.outside)
	must(t, os.Symlink(s.outside+"/secret", volumes+"out.json"+newSuffix))
	for _, name := range []string{"out.json", "in.json", "dangling.json"} {
		must(t, s.share.WriteFile("volumes", name, []byte("x")))
	}
	absent(t, volumes+"nowhere")
	untouched(t, s.outside, outside)
	if data, err := s.share.ReadFile("volumes", "real.json"); err != nil || len(data) < 2 {
		t.Errorf("%q, %v", data, err)
	}
	must(t, os.Symlink(s.outside, s.dir+"/.claimdir/volumes/link"))
	mustBe(t, s.share.WriteFile("volumes/link", record, nil), ErrNotDirectory)
	untouched(t, s.outside, outside)
}

func reads(t *testing.T, s *Share, in, want string) {
	t.Helper()
	if data, err := s.ReadFile(in, record); err != nil || string(data) != want {
		t.Errorf("%s: %q, %v; want %q", in, data, err, want)
	}
}

func metaLife(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	_, err := s.share.ReadFile("volumes", record)
	mustBe(t, err, fs.ErrNotExist)
	mustBe(t, s.share.ExchangeFile("volumes", record, []byte("zero")), fs.ErrNotExist)
	holds(t, s, "volumes")
	must(t, s.share.WriteFile("volumes", record, []byte("one")))
	reads(t, s.share, "volumes", "one")
	must(t, s.share.ExchangeFile("volumes", record, []byte("two")))
	reads(t, s.share, "volumes", "two")
	must(t, s.share.WriteFile("volumes", record, []byte("three")))
	reads(t, s.share, "volumes", "three")
	must(t, s.share.RemoveFile("volumes", record))
	must(t, s.share.RemoveFile("volumes", record)) // a repeat
	_, err = s.share.ReadFile("volumes", record)
	mustBe(t, err, fs.ErrNotExist)
	must(t, s.share.CreateFile("x.json", "temporary", []byte("one")))
	mustBe(t, s.share.CreateFile("x.json", "temporary", []byte("two")), fs.ErrExist)
	if data, err := s.share.ReadFile("", "x.json"); err != nil || string(data) != "one" {
		t.Errorf("%q, %v", data, err)
	}
	for _, err := range []error{s.share.WriteFile("none", record, nil), s.share.ExchangeFile("none", record, nil), s.share.RenameFile("none", record, "volumes", record)} {
		mustBe(t, err, fs.ErrNotExist)
	}
	_, err = s.share.ListMeta("none")
	mustBe(t, err, fs.ErrNotExist)
	must(t, s.share.RemoveFile("none", record))
	holds(t, s, "", "volumes", "x.json")
	tree(t, s.dir, ".claimdir/volumes/.nfs000000012345", ".claimdir/volumes/.nfs.json", ".claimdir/volumes/x")
	holds(t, s, "volumes", ".nfs.json", "x")
}

// metaCutOff: each write may end after any call, and the next one goes on.
func metaCutOff(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes", "staging"))
	cut := errors.New("cut off")
	writes := map[string]func(*Share) error{
		"write":    func(v *Share) error { return v.WriteFile("volumes", record, []byte("new")) },
		"exchange": func(v *Share) error { return v.ExchangeFile("volumes", record, []byte("new")) },
		"create":   func(v *Share) error { return ignoreExist(v.CreateFile("x.json", "temporary", []byte("new"))) },
		"place": func(v *Share) error {
			return ignoreExist(v.PlaceDirectory("volumes", "x", "staging/"+own, record, []byte("new")))
		},
	}
	for name, write := range writes {
		for n := 1; ; n++ {
			must(t, s.share.WriteFile("volumes", record, []byte("old")))
			calls := 0
			view := s.share.During(t.Context(), func(_ string, call func() error) error {
				if calls++; calls > n {
					return cut
				}
				return call()
			})
			err := write(view)
			view.Release()
			if data, readErr := s.share.ReadFile("volumes", record); readErr != nil || string(data) != "old" && string(data) != "new" {
				t.Errorf("%s, %d calls: %q, %v", name, n, data, readErr)
			}
			if calls <= n {
				must(t, err)
				break
			}
			if err != nil { // of what exists already only the clearing is cut off
				mustBe(t, err, cut)
			}
			must(t, write(s.share))
		}
	}
	holds(t, s, "staging")
	holds(t, s, "volumes", record, "x")
	reads(t, s.share, "volumes/x", "new")
	holds(t, s, "", "staging", "volumes", "x.json")
}

func ignoreExist(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func metaRename(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes", "trash"))
	must(t, s.share.WriteFile("volumes", record, []byte("one")))
	must(t, s.share.WriteFile("trash", record, []byte("replaced")))
	must(t, s.share.RenameFile("volumes", record, "trash", record))
	reads(t, s.share, "trash", "one")
	holds(t, s, "volumes")
	mustBe(t, s.share.RenameFile("volumes", record, "trash", record), fs.ErrNotExist)
	reads(t, s.share, "trash", "one")
}

func placeRace(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes", "staging"))
	var won atomic.Int32
	var winner atomic.Value
	var callers sync.WaitGroup
	for i := range 50 {
		callers.Go(func() {
			data := fmt.Sprint("caller ", i)
			view := s.share.During(t.Context(), nil)
			defer view.Release()
			switch err := view.PlaceDirectory("volumes", "x", "staging/"+fmt.Sprint(own, i), record, []byte(data)); {
			case err == nil:
				won.Add(1)
				winner.Store(data)
			case !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d callers placed the directory", won.Load())
	}
	want, _ := winner.Load().(string)
	reads(t, s.share, "volumes/x", want)
	holds(t, s, "volumes/x", record)
	holds(t, s, "staging")
}

func placeOver(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes", "staging"))
	place := func(data string) error {
		return s.share.PlaceDirectory("volumes", "x", "staging/"+own, record, []byte(data))
	}
	tree(t, s.dir, ".claimdir/volumes/x/") // what a removal left that was cut off
	must(t, place("one"))
	reads(t, s.share, "volumes/x", "one")
	mustBe(t, place("two"), fs.ErrExist)
	reads(t, s.share, "volumes/x", "one")
	holds(t, s, "staging")
	must(t, os.Rename(s.dir+"/.claimdir/volumes/x/"+record, s.dir+"/.claimdir/volumes/x/other"))
	mustBe(t, place("three"), fs.ErrExist)
	holds(t, s, "volumes/x", "other")
	must(t, os.RemoveAll(s.dir+"/.claimdir/volumes/x"))
	tree(t, s.dir, ".claimdir/volumes/x")
	if err := place("four"); err == nil {
		t.Error("placed over a file")
	}
	holds(t, s, "volumes", "x")
}

func placeHeld(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes", "staging"))
	view := s.share.During(t.Context(), nil)
	defer view.Release()
	for _, name := range []string{"x", "y"} { // the second under the same staged name
		must(t, view.PlaceDirectory("volumes", name, "staging/"+own, record, []byte(name)))
		must(t, view.ExchangeFile("volumes/"+name, record, []byte(name+" later")))
	}
	reads(t, s.share, "volumes/x", "x later")
	reads(t, s.share, "volumes/y", "y later")
}

func metaRemoveDirectory(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	tree(t, s.dir, ".claimdir/volumes/empty/", ".claimdir/volumes/full/"+record)
	for _, name := range []string{"empty", "full", "none"} {
		must(t, s.share.RemoveEmptyDirectory("volumes", name))
	}
	holds(t, s, "volumes", "full")
	holds(t, s, "volumes/full", record)
}

// metaExchanged: a view has the directory of a volume's records open. Another leader
// removes it, and the path gets another volume with records of its own.
func metaExchanged(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes", "staging", TrashDir))
	must(t, s.share.PlaceDirectory("volumes", "x", "staging/"+own, record, []byte("first")))
	view := s.share.During(t.Context(), nil)
	defer view.Release()
	reads(t, view, "volumes/x", "first")
	must(t, s.share.RemoveFile("volumes/x", record))
	must(t, s.share.RemoveEmptyDirectory("volumes", "x"))
	must(t, s.share.PlaceDirectory("volumes", "x", "staging/"+own, record, []byte("second")))
	for name, err := range map[string]error{
		"write":    view.WriteFile("volumes/x", record, []byte("late")),
		"other":    view.WriteFile("volumes/x", "other.json", []byte("late")),
		"exchange": view.ExchangeFile("volumes/x", record, []byte("late")),
		"rename":   view.RenameFile("volumes/x", record, TrashDir, record),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := view.RemoveFile("volumes/x", record); err != nil && !IsStale(err) {
		t.Error(err)
	}
	if data, err := view.ReadFile("volumes/x", record); err == nil {
		t.Errorf("reads %q", data)
	}
	holds(t, s, "volumes/x", record)
	reads(t, s.share, "volumes/x", "second")
	holds(t, s, TrashDir)
	view.Drop("volumes/x") // it is asked to look anew
	reads(t, view, "volumes/x", "second")
}

// metaStale: nobody can set a server's clock in a test, but the time of the probe, which
// stands for it. What this process's clock says does not matter.
func metaStale(t *testing.T, s site) {
	must(t, s.share.MakeMeta("staging"))
	must(t, s.share.RemoveStale("staging", "probe")) // there is nothing
	tree(t, s.dir, ".claimdir/staging/file", ".claimdir/staging/dir/"+record, ".claimdir/staging/empty/", ".claimdir/staging/deep/dir/file", ".claimdir/staging/deep/file")
	clear := func(ahead time.Duration) {
		t.Helper()
		view := s.share.During(t.Context(), before("look at probe", func() error {
			then := time.Now().Add(ahead)
			return os.Chtimes(s.dir+"/.claimdir/staging/probe", then, then)
		}))
		defer view.Release()
		must(t, view.RemoveStale("staging", "probe"))
	}
	for _, ahead := range []time.Duration{0, -3 * time.Hour, 50 * time.Minute} {
		clear(ahead)
		holds(t, s, "staging", "deep", "dir", "empty", "file")
	}
	// Written anew a moment ago, it would not be stale whatever its time of change says.
	soon := time.Now().Add(2 * time.Hour)
	must(t, os.Chtimes(s.dir+"/.claimdir/staging/file", soon, soon))
	clear(2 * time.Hour)
	holds(t, s, "staging", "deep", "file")
	holds(t, s, "staging/deep", "dir") // nothing of ours is deeper: it is left to people
	clear(4 * time.Hour)
	holds(t, s, "staging", "deep")
}
