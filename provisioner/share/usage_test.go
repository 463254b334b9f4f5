package share

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func usageCases() map[string]func(*testing.T, site) {
	return map[string]func(*testing.T, site){
		"measure counts what du counts":                measureAsDu,
		"measure asks whose directory it is":           measureIdentity,
		"measure follows no link that is swapped in":   measureSwapped,
		"measure says what it could not look into":     measureUnreadable,
		"measure goes no deeper than it has memory":    measureDeep,
		"measure keeps its pace and ends when told to": measurePaced,
		"the trash is measured":                        measureTrash,
	}
}

// walked is what an independent walk counts.
func walked(t *testing.T, dir string) (usage Usage) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		stat, _ := info.Sys().(*syscall.Stat_t)
		if entry.IsDir() {
			usage.Directories++
			usage.Bytes += stat.Blocks * 512
			return nil
		}
		usage.Files++
		usage.Bytes += stat.Blocks * 512 / int64(stat.Nlink)
		return nil
	}))
	return usage
}

func measureAsDu(t *testing.T, s site) {
	tree(t, s.dir, "team/data/file", "team/data/below/file", "team/data/empty/", "team/other/file", "team/data/new\nline/\xff")
	tree(t, s.outside, "secret")
	data := s.dir + "/team/data"
	must(t, os.WriteFile(data+"/large", make([]byte, 300_000), 0o600))
	must(t, os.WriteFile(s.outside+"/large", make([]byte, 3_000_000), 0o600))
	must(t, os.Link(data+"/large", data+"/below/again"))
	must(t, os.Link(data+"/large", s.dir+"/team/third"))
	must(t, os.Symlink(s.outside, data+"/out"))
	must(t, os.Symlink(s.outside+"/large", data+"/below/out"))
	must(t, syscall.Mkfifo(data+"/fifo", 0o600))
	sparse, err := os.Create(data + "/sparse")
	must(t, err)
	must(t, sparse.Truncate(1<<40))
	must(t, sparse.Close())
	for i := range 3000 { // several listings
		must(t, os.Mkdir(fmt.Sprintf("%s/empty/%d", data, i), 0o755))
		if i == 200 && s.slow() {
			break
		}
	}
	before := snapshot(t, s.dir+"/team/other")
	id := identify(t, s.share, "team/data")
	var got, want Usage
	// XFS gives a file that grows more blocks than it needs, and takes them back when its server closes it, some seconds later.
	for deadline := time.Now().Add(time.Minute); ; {
		var err error
		got, err = s.share.Measure(t.Context(), NewMeter(0), pathOf(t, "team/data"), id)
		must(t, err)
		if want = walked(t, data); got == want || !s.slow() || time.Now().After(deadline) {
			break
		}
	}
	if got != want || got.Files < 8 || got.Bytes < 200_000 || got.Bytes > 100<<20 {
		t.Errorf("measured %+v, an independent walk %+v", got, want)
	}
	untouched(t, s.dir+"/team/other", before)
}

// slow reports whether the share is on a server in a virtual machine.
func (s site) slow() bool { return os.Getenv("NFS_MOUNT") != "" }

func measureIdentity(t *testing.T, s site) {
	tree(t, s.dir, "data/", "other/", "file")
	other := identify(t, s.share, "other")
	if _, err := s.share.Measure(t.Context(), NewMeter(0), pathOf(t, "data"), other); !errors.Is(err, ErrChanged) {
		t.Errorf("another directory: %v", err)
	}
	if _, err := s.share.Measure(t.Context(), NewMeter(0), pathOf(t, "absent"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if _, err := s.share.Measure(t.Context(), NewMeter(0), pathOf(t, "file"), nil); !errors.Is(err, ErrNotDirectory) {
		t.Errorf("a file: %v", err)
	}
	must(t, os.Symlink("other", s.dir+"/link"))
	if _, err := s.share.Measure(t.Context(), NewMeter(0), pathOf(t, "link"), nil); !errors.Is(err, ErrNotDirectory) {
		t.Errorf("a link: %v", err)
	}
}

// A tenant exchanges a directory for a link to another's, over and over.
func measureSwapped(t *testing.T, s site) {
	tree(t, s.dir, "data/victim/file", "data/spare")
	must(t, os.MkdirAll(s.outside+"/large", 0o755))
	must(t, os.WriteFile(s.outside+"/large/file", make([]byte, 10<<20), 0o600))
	must(t, os.Symlink(s.outside+"/large", s.dir+"/data/link"))
	ctx, stop := context.WithCancel(t.Context())
	var tenant sync.WaitGroup
	tenant.Go(func() {
		for ctx.Err() == nil {
			for _, step := range [][2]string{{"victim", "aside"}, {"link", "victim"}, {"victim", "link"}, {"aside", "victim"}} {
				_ = os.Rename(s.dir+"/data/"+step[0], s.dir+"/data/"+step[1])
			}
		}
	})
	defer tenant.Wait()
	defer stop()
	rounds := 300
	if s.slow() {
		rounds = 30
	}
	for range rounds {
		got, err := s.share.Measure(t.Context(), NewMeter(0), pathOf(t, "data"), nil)
		must(t, err)
		if got.Bytes > 1<<20 {
			t.Fatalf("it measured another's files: %+v", got)
		}
	}
}

func measureUnreadable(t *testing.T, s site) {
	tree(t, s.dir, "data/open/file", "data/closed/file")
	must(t, os.Chmod(s.dir+"/data/closed", 0))
	defer func() { must(t, os.Chmod(s.dir+"/data/closed", 0o755)) }()
	got, err := s.share.Measure(t.Context(), NewMeter(0), pathOf(t, "data"), nil)
	must(t, err)
	want := Usage{Files: 1, Directories: 3, Unreadable: 1}
	if _, err := os.ReadDir(s.dir + "/data/closed"); err == nil { // we are root
		want = Usage{Files: 2, Directories: 3}
	}
	got.Bytes = 0
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func measureDeep(t *testing.T, s site) {
	at, err := os.Open(s.dir)
	must(t, err)
	for i := range maxMeasured + 10 {
		name := "d"
		if i == 0 {
			name = "data"
		}
		must(t, syscall.Mkdirat(int(at.Fd()), name, 0o755))
		next, err := openDirectory(int(at.Fd()), name)
		must(t, err)
		must(t, at.Close())
		at = next
	}
	must(t, at.Close())
	got, err := s.share.Measure(t.Context(), NewMeter(0), pathOf(t, "data"), nil)
	must(t, err)
	if got.Unreadable != 1 || got.Directories != maxMeasured+2 {
		t.Errorf("%+v, want %d directories and one that is too deep", got, maxMeasured+2)
	}
}

func measurePaced(t *testing.T, s site) {
	for i := range 200 {
		tree(t, s.dir, fmt.Sprintf("data/%d", i))
	}
	begin := time.Now()
	_, err := s.share.Measure(t.Context(), NewMeter(400), pathOf(t, "data"), nil)
	must(t, err)
	if took := time.Since(begin); took < 300*time.Millisecond { // 40 of them at once
		t.Errorf("200 files at 400 a second took %v", took)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	why := errors.New("the pod stops")
	time.AfterFunc(100*time.Millisecond, func() { stop(why) })
	begin = time.Now()
	_, err = s.share.Measure(ctx, NewMeter(1), pathOf(t, "data"), nil)
	if took := time.Since(begin); !errors.Is(err, why) || took > 2*time.Second {
		t.Errorf("it ended after %v with %v", took, err)
	}
}

func measureTrash(t *testing.T, s site) {
	must(t, s.share.MakeMeta())
	got, err := s.share.MeasureTrash(t.Context(), NewMeter(0))
	if err != nil || got != (Usage{}) {
		t.Errorf("no trash: %+v, %v", got, err)
	}
	tree(t, s.dir, ".claimdir/trash/pv@cluster-1/volume/file", ".claimdir/trash/pv@cluster-1/record.json")
	must(t, os.WriteFile(s.dir+"/.claimdir/trash/pv@cluster-1/volume/large", []byte(strings.Repeat("x", 100_000)), 0o600))
	got, err = s.share.MeasureTrash(t.Context(), NewMeter(0))
	must(t, err)
	if want := walked(t, s.dir+"/.claimdir/trash"); got != want || got.Files != 3 {
		t.Errorf("measured %+v, an independent walk %+v", got, want)
	}
}
