package share

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func metaCases() map[string]func(*testing.T, site) {
	return map[string]func(*testing.T, site){
		"claimdir's own files are for the owner alone":       metaPrivate,
		"of many that create a file one succeeds":            metaExclusive,
		"a reader sees the old file or the new one":          metaWhole,
		"temporary files are cleared when they are nobody's": metaTemp,
		"what is no file of ours is not read":                metaStrange,
		"files come, change and go":                          metaLife,
	}
}

func metaPrivate(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	must(t, s.share.MakeMeta("volumes")) // again
	must(t, s.share.CreateMeta("volumes/x.json", []byte("x")))
	temp, err := filepath.Glob(s.dir + "/.claimdir/tmp-*")
	must(t, err)
	if len(temp) != 1 {
		t.Fatalf("directories for temporary files: %q, want the one that was needed", temp)
	}
	for _, name := range []string{"", "/volumes", "/" + filepath.Base(temp[0])} {
		if mode := modeOf(t, s.dir+"/.claimdir"+name); mode != 0o700 {
			t.Errorf(".claimdir%s has mode %04o", name, mode)
		}
	}
	info, err := os.Stat(s.dir + "/.claimdir/volumes/x.json")
	if err != nil || info.Mode() != 0o600 {
		t.Error(info.Mode(), err)
	}
}

func metaExclusive(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	var won atomic.Int32
	var winner atomic.Value
	var callers sync.WaitGroup
	for i := range 50 {
		callers.Go(func() {
			data := bytes.Repeat([]byte{byte(' ' + i)}, 5000)
			switch err := s.share.CreateMeta("volumes/x.json", data); {
			case err == nil:
				won.Add(1)
				winner.Store(data)
			case !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	callers.Wait()
	data, err := s.share.ReadMeta("volumes/x.json")
	must(t, err)
	if won.Load() != 1 {
		t.Fatalf("%d callers made the file", won.Load())
	}
	if want, _ := winner.Load().([]byte); !bytes.Equal(data, want) {
		t.Error("the content is not the winner's")
	}
	noTemp(t, s)
}

func metaWhole(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	const size = 200_000
	must(t, s.share.CreateMeta("volumes/x.json", bytes.Repeat([]byte("a"), size)))
	done := make(chan struct{})
	var writers, readers sync.WaitGroup
	for _, letter := range []string{"b", "c"} {
		writers.Go(func() {
			for range 50 {
				if err := s.share.ReplaceMeta("volumes/x.json", bytes.Repeat([]byte(letter), size)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var reads atomic.Int32
	readers.Go(func() {
		for stopped := false; !stopped || reads.Load() == 0; {
			select {
			case <-done:
				stopped = true
			default:
			}
			data, err := s.share.ReadMeta("volumes/x.json")
			if err != nil || len(data) != size || bytes.Count(data, data[:1]) != size {
				t.Errorf("read %d bytes, of more than one writer or not all: %v", len(data), err)
				return
			}
			reads.Add(1)
		}
	})
	writers.Wait()
	close(done)
	readers.Wait()
	noTemp(t, s)
}

func metaTemp(t *testing.T, s site) {
	must(t, s.share.MakeMeta())
	tree(t, s.dir, ".claimdir/tmp-3/old", ".claimdir/tmp-3/young", ".claimdir/tmp-f/old")
	for name, age := range map[string]time.Duration{"old": 2 * time.Hour, "young": 50 * time.Minute} {
		then := time.Now().Add(-age)
		must(t, os.Chtimes(s.dir+"/.claimdir/tmp-3/"+name, then, then))
	}
	must(t, os.Chtimes(s.dir+"/.claimdir/tmp-f/old", time.Time{}, time.Unix(1, 0)))
	must(t, s.share.MakeMeta())
	if names := temporary(t, s); len(names) != 1 || !strings.HasSuffix(names[0], "/young") {
		t.Errorf("left are %q, want the young one", names)
	}
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
		data, err := s.share.ReadMeta("volumes/" + name + ".json")
		mustBe(t, err, "not a file of at most 1048576 bytes")
		if errors.Is(err, fs.ErrNotExist) || data != nil {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	mustBe(t, s.share.CreateMeta("volumes/dangling.json", []byte("x")), fs.ErrExist)
	absent(t, volumes+"nowhere")
}

func metaLife(t *testing.T, s site) {
	must(t, s.share.MakeMeta("volumes"))
	const name = "volumes/x.json"
	_, err := s.share.ReadMeta(name)
	mustBe(t, err, fs.ErrNotExist)
	must(t, s.share.CreateMeta(name, []byte("one")))
	mustBe(t, s.share.CreateMeta(name, []byte("two")), fs.ErrExist)
	read := func(want string) {
		t.Helper()
		if data, err := s.share.ReadMeta(name); err != nil || string(data) != want {
			t.Errorf("%q, %v; want %q", data, err, want)
		}
	}
	read("one")
	must(t, s.share.ReplaceMeta(name, []byte("three")))
	read("three")
	must(t, s.share.RemoveMeta(name))
	must(t, s.share.RemoveMeta(name)) // a repeat
	_, err = s.share.ReadMeta(name)
	mustBe(t, err, fs.ErrNotExist)
	metaRemoveIf(t, s, name)
	mustBe(t, s.share.CreateMeta("nodir/x.json", nil), fs.ErrNotExist)
	mustBe(t, s.share.ReplaceMeta("nodir/x.json", nil), fs.ErrNotExist)
	noTemp(t, s)
}

func metaRemoveIf(t *testing.T, s site, name string) {
	t.Helper()
	if removed, err := s.share.RemoveMetaIf(name, nil); !removed || err != nil {
		t.Errorf("an absent file: %v, %v", removed, err)
	}
	must(t, s.share.CreateMeta(name, []byte("another")))
	newer := false
	is := func(data []byte) bool {
		_, err := s.share.ReadMeta(name)
		mustBe(t, err, fs.ErrNotExist) // it is moved aside
		if newer {
			must(t, s.share.CreateMeta(name, []byte("newer")))
		}
		return string(data) == "newer"
	}
	for _, want := range []string{"another", "newer"} {
		removed, err := s.share.RemoveMetaIf(name, is)
		if data, readErr := s.share.ReadMeta(name); removed || err != nil || readErr != nil || string(data) != want {
			t.Errorf("another file: %v, %v; then %q, %v, want %q", removed, err, data, readErr, want)
		}
		newer = true
	}
	newer = false
	removed, err := s.share.RemoveMetaIf(name, is)
	_, readErr := s.share.ReadMeta(name)
	if !removed || err != nil || !errors.Is(readErr, fs.ErrNotExist) {
		t.Errorf("the file: %v, %v; then %v", removed, err, readErr)
	}
	must(t, os.Mkdir(s.dir+"/.claimdir/"+name, 0o700))
	if removed, err := s.share.RemoveMetaIf(name, is); removed || err == nil {
		t.Errorf("a directory: %v, %v", removed, err)
	}
	must(t, os.Remove(s.dir+"/.claimdir/"+name))
}

// noTemp fails the test if temporary files are left.
func noTemp(t *testing.T, s site) {
	t.Helper()
	if names := temporary(t, s); len(names) > 0 {
		t.Errorf("temporary files %q are left", names)
	}
}

func temporary(t *testing.T, s site) []string {
	t.Helper()
	names, err := filepath.Glob(s.dir + "/.claimdir/tmp*/*")
	must(t, err)
	return names
}
