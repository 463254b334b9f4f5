package share

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func copyTwice(t *testing.T, s site) {
	manyKinds(t, s.dir+"/data")
	s.copy(t, "data")
	before := describe(t, s.staged())
	got := s.copy(t, "data")
	sameTrees(t, s.dir+"/data", s.staged())
	same(t, before, describe(t, s.staged()))
	if got.Cloned+got.Server+got.Read != 0 || got.Found+got.Links < got.Files {
		t.Errorf("the second copy: %+v", got)
	}
	// The tenant goes on: what is gone goes, what has another kind gets it.
	data := s.dir + "/data"
	must(t, os.Chmod(data+"/modes/read-only", 0o755))
	must(t, os.RemoveAll(data+"/modes"))
	must(t, os.RemoveAll(data+"/plain/below"))
	must(t, os.Remove(data+"/pipe"))
	must(t, os.Remove(data+"/middle"))
	tree(t, data, "pipe/is/a/directory", "plain/below")
	must(t, os.Symlink("x", data+"/middle"))
	must(t, os.Chmod(data+"/nothing", 0o600))
	s.copy(t, "data")
	sameTrees(t, data, s.staged())
	s.onlyTree(t)
}

func copyLinksTogether(t *testing.T, s site) {
	names := asked(t, times(20_000, 80))
	tree(t, s.dir, "data/0/0", "data/1/0", "data/2/0", "data/3/0")
	for i := range 4 {
		for j := range names/4 - 1 {
			must(t, os.Link(fmt.Sprintf("%s/data/%d/0", s.dir, i), fmt.Sprintf("%s/data/%d/%d", s.dir, (i+j)%4, j+1+i*names)))
		}
	}
	tree(t, s.dir, "outside-data")
	must(t, os.Link(s.dir+"/outside-data", s.dir+"/data/inside")) // of two names one is elsewhere
	got := s.copy(t, "data")
	sameTrees(t, s.dir+"/data", s.staged())
	s.onlyTree(t)
	if got.Links != int64(names-4) || got.Changed != 0 {
		t.Errorf("%+v, of %d names", got, names)
	}
	if again := s.copy(t, "data"); again.Server+again.Read+again.Cloned > 100 {
		t.Errorf("again: %+v", again)
	}
	sameTrees(t, s.dir+"/data", s.staged())
}

// errKilled is what every call says of a process that was killed.
var errKilled = errors.New("killed")

// copyUntil copies until a call, and none after it.
func (s site) copyUntil(copier *Copier, calls int64) (Copied, int64, error) {
	var made atomic.Int64
	view := s.share.During(context.Background(), func(_ string, call func() error) error {
		if made.Add(1) > calls {
			return errKilled
		}
		return call()
	})
	defer view.Release()
	p := pathOfData()
	got, err := view.Copy(context.Background(), copier, CopyFrom{Path: p}, staging, nil)
	return got, made.Load(), err
}

func copyCutOff(t *testing.T, s site) {
	data := s.dir + "/data"
	manyKinds(t, data)
	must(t, os.Remove(data+"/large"))
	must(t, os.Remove(data+"/plain/large-too"))
	_, all, err := s.copyUntil(NewCopier(1, 0, 0), 1<<40)
	must(t, err)
	sameTrees(t, data, s.staged())
	step := max(1, all/int64(times(150, 4)))
	for calls := rand.Int64N(step); calls < all; calls += step {
		openUpAll(s.dir + "/.claimdir")
		must(t, os.RemoveAll(s.dir+"/.claimdir"))
		workers := 1 + int(calls%3)
		if _, _, err := s.copyUntil(NewCopier(workers, 0, 0), calls); !errors.Is(err, errKilled) && workers == 1 {
			t.Fatalf("killed at call %d: %v", calls, err)
		}
		_, _, err := s.copyUntil(NewCopier(workers, 0, 0), all*2/3) // a second kill
		if err != nil && !errors.Is(err, errKilled) {
			t.Fatalf("killed at call %d, and again: %v", calls, err)
		}
		s.copy(t, "data")
		sameTrees(t, data, s.staged())
		s.onlyTree(t)
		if t.Failed() {
			t.Fatalf("killed at call %d of %d", calls, all)
		}
	}
}

func copyLargeCutOff(t *testing.T, s site) {
	data := s.dir + "/data"
	size := times(80<<20, 20<<20)
	tree(t, data, "file")
	must(t, os.WriteFile(data+"/large", []byte(strings.Repeat("large one ", size/10)), 0o600))
	sparseFile(t, data+"/holes", int64(times(1<<30, 60<<20)), 0, 10<<20, 50<<20)
	setTimes(t, data+"/large", 1)
	copied, rounds := int64(0), 0
	for {
		rounds++
		got, _, err := s.copyUntil(NewCopier(2, 0, 20_000_000), 70)
		copied += got.Cloned + got.Server + got.Read
		if err == nil {
			break
		}
		if !errors.Is(err, errKilled) || rounds > 200 {
			t.Fatal(rounds, err)
		}
	}
	sameTrees(t, data, s.staged())
	s.onlyTree(t)
	want := int64(size) + 50
	if copied > want+int64(rounds)*leastStep*2 || rounds < 2 && copied > 1<<20 && !s.slow() {
		t.Errorf("%d rounds copied %d bytes of %d", rounds, copied, want)
	}
	t.Logf("%d rounds copied %d bytes of %d", rounds, copied, want)
}

func copyDeep(t *testing.T, s site) {
	levels := times(3000, 140)
	at, err := openDirectory(unix.AT_FDCWD, s.dir)
	must(t, err)
	for i := range levels {
		name := "deep"
		if i == 0 {
			name = "data"
		}
		must(t, syscall.Mkdirat(int(at.Fd()), name, 0o700))
		next, err := openDirectory(int(at.Fd()), name)
		must(t, err)
		must(t, syscall.Mkdirat(int(next.Fd()), "beside", 0o750))
		must(t, at.Close())
		at = next
	}
	file, err := unix.Openat(int(at.Fd()), "file", unix.O_CREAT|unix.O_WRONLY, 0o600)
	must(t, err)
	must(t, unix.Close(file))
	must(t, at.Close())
	var most atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	watch.Go(func() {
		for ctx.Err() == nil {
			open, _ := os.ReadDir("/proc/self/fd")
			most.Store(max(most.Load(), int64(len(open))))
			time.Sleep(time.Millisecond)
		}
	})
	got := s.copy(t, "data")
	stop()
	watch.Wait()
	if got.Directories != int64(2*levels) || got.Files != 1 || got.Changed != 0 {
		t.Errorf("%+v of %d levels", got, levels)
	}
	if most.Load() > 500 {
		t.Errorf("%d descriptors were open", most.Load())
	}
	again := s.copy(t, "data")
	if again.Found != 1 || again.Directories != got.Directories {
		t.Errorf("again: %+v", again)
	}
	must(t, s.share.Remove(pathOf(t, "data"), nil)) // too deep for testing to remove
	must(t, os.Rename(s.staged(), s.dir+"/staged"))
	must(t, s.share.Remove(pathOf(t, "staged"), nil))
}

func copyHoles(t *testing.T, s site) {
	must(t, os.Mkdir(s.dir+"/data", 0o755))
	size := int64(1<<63 - 1)
	file, err := os.Create(s.dir + "/data/holes")
	must(t, err)
	for file.Truncate(size) != nil { // as large as the file system allows
		size /= 2
	}
	_, err = file.WriteAt([]byte("content"), 1<<20)
	must(t, err)
	must(t, file.Close())
	begin, end, seekable := int64(0), int64(0), false
	probe, err := os.Open(s.dir + "/data/holes")
	must(t, err)
	if begin, err = unix.Seek(int(probe.Fd()), 0, unix.SEEK_DATA); err == nil {
		end, err = unix.Seek(int(probe.Fd()), begin, unix.SEEK_HOLE)
		seekable = err == nil && end < size
	}
	must(t, probe.Close())
	_, err = s.share.Copy(t.Context(), copier(), CopyFrom{Path: pathOf(t, "data")}, staging, nil)
	if !seekable {
		mustBe(t, err, `"holes"`)
		mustBe(t, err, unix.EFBIG)
		return
	}
	must(t, err)
	info, err := os.Stat(s.staged() + "/holes")
	must(t, err)
	if used := blocksOf(t, s.staged()+"/holes"); info.Size() != size || used > 1<<20 {
		t.Errorf("size %d of %d, on the disk %d", info.Size(), size, used)
	}
	sameTrees(t, s.dir+"/data", s.staged())
}

// A tenant exchanges directories and files for links to another's, grows files, cuts them off and makes holes, over and
// over. CLAIMDIR_TEST_SWAP is how long, as 30s; of what is outside nothing may appear in the copy.
func copySwapped(t *testing.T, s site) {
	canary := "the canary of another tenant"
	tree(t, s.outside, "large/below/")
	for _, name := range []string{"file", "large/file", "large/below/file", "large/only-outside"} {
		must(t, os.WriteFile(s.outside+"/"+name, []byte(strings.Repeat(canary, 100)), 0o644))
	}
	data := s.dir + "/data"
	must(t, os.MkdirAll(data+"/victim/below", 0o755))
	for _, name := range []string{"file", "victim/file", "victim/below/file", "grows"} {
		must(t, os.WriteFile(data+"/"+name, []byte(strings.Repeat("harmless", 20_000)), 0o644))
	}
	must(t, os.Symlink(s.outside+"/large", data+"/link"))
	must(t, os.Symlink(s.outside+"/file", data+"/file-link"))
	outside := snapshot(t, s.outside)
	lasts := time.Duration(times(3, 1)) * time.Second
	if text := os.Getenv("CLAIMDIR_TEST_SWAP"); text != "" {
		var err error
		lasts, err = time.ParseDuration(text)
		must(t, err)
	}
	ctx, stop := context.WithTimeout(t.Context(), lasts)
	defer stop()
	var tenant sync.WaitGroup
	for _, swap := range [][3]string{{data + "/victim", "below", "file"}, {data, "victim", "link"}, {data, "file", "file-link"}} {
		in, err := os.Open(swap[0])
		must(t, err)
		tenant.Go(func() { swapping(ctx, in, swap[1], swap[2]) })
	}
	tenant.Go(func() { growing(ctx, data+"/grows") })
	copies, changed, names := 0, int64(0), 0
	for ; ctx.Err() == nil; copies++ {
		if copies%3 == 0 {
			must(t, os.RemoveAll(s.dir+"/.claimdir/copies"))
		}
		got, err := s.share.Copy(t.Context(), copier(), CopyFrom{Path: pathOfData()}, staging, nil)
		must(t, err)
		changed += got.Changed
		must(t, filepath.WalkDir(s.staged(), func(name string, entry os.DirEntry, err error) error {
			names++
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(name)
			if strings.Contains(string(content), "canary") || strings.Contains(name, "only-outside") {
				t.Errorf("copy %d has the other's %s", copies, name)
			}
			return err
		}))
	}
	tenant.Wait()
	untouched(t, s.outside, outside)
	t.Logf("%d copies of %d names, %d times something changed", copies, names, changed)
}

// swapping works in an open directory, so that it changes nothing outside while the directory's name is a link.
func swapping(ctx context.Context, in *os.File, a, b string) {
	defer in.Close()
	for ctx.Err() == nil {
		for _, step := range [][2]string{{a, "aside-" + a}, {b, a}, {a, b}, {"aside-" + a, a}} {
			_ = unix.Renameat(int(in.Fd()), step[0], int(in.Fd()), step[1])
		}
	}
}

func growing(ctx context.Context, name string) {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer file.Close()
	for ctx.Err() == nil {
		_ = file.Truncate(rand.Int64N(8 << 20))
		_, _ = file.WriteAt([]byte(strings.Repeat("more", 10_000)), rand.Int64N(8<<20))
		_ = unix.Fallocate(int(file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, rand.Int64N(4<<20), 1<<20)
	}
}

// A file that changes in each look is copied four times, and counted.
func copyChanging(t *testing.T, s site) {
	tree(t, s.dir, "data/busy", "data/calm")
	must(t, os.WriteFile(s.dir+"/data/busy", []byte(strings.Repeat("busy", 1000)), 0o600))
	looks := int64(0)
	view := s.share.During(t.Context(), func(_ string, call func() error) error {
		if blocksIn(s.staged()+"/busy") > 0 {
			looks++
			_ = os.Chtimes(s.dir+"/data/busy", time.Unix(looks, 0), time.Unix(looks, 0))
		}
		return call()
	})
	defer view.Release()
	got, err := view.Copy(t.Context(), NewCopier(1, 0, 0), CopyFrom{Path: pathOfData()}, staging, nil)
	must(t, err)
	if got.Changed != 1 || len(got.FirstChanged) != 1 || got.FirstChanged[0] != "busy" {
		t.Errorf("%+v", got)
	}
	s.copy(t, "data")
	sameTrees(t, s.dir+"/data", s.staged())
}

// blocksIn is the size of a file, or 0.
func blocksIn(name string) int64 {
	info, err := os.Lstat(name)
	if err != nil {
		return 0
	}
	return info.Size()
}

func copyBetween(t *testing.T, s site) {
	must(t, os.Mkdir(s.outside+"/share", 0o755))
	manyKinds(t, s.outside+"/share/data")
	other, err := Open(s.outside + "/share")
	must(t, err)
	before := describe(t, s.outside)
	got, err := s.share.Copy(t.Context(), copier(), CopyFrom{Share: other, Path: pathOfData()}, staging, nil)
	must(t, err)
	t.Cleanup(func() { openUpAll(s.dir) })
	sameTrees(t, s.outside+"/share/data", s.staged())
	same(t, before, describe(t, s.outside))
	if got.Files < 10 {
		t.Errorf("%+v", got)
	}
}

// What directories above hand down, a group and a default ACL, the copy does not have.
func copyInherits(t *testing.T, s site) {
	tree(t, s.dir, "data/below/file")
	must(t, os.Chmod(s.dir+"/data/below/file", 0o604))
	before := describe(t, s.dir+"/data")
	extended := acl([3]uint32{1, 7, noID}, [3]uint32{2, 7, 1234}, [3]uint32{4, 7, noID}, [3]uint32{16, 7, noID}, [3]uint32{32, 7, noID})
	must(t, s.share.MakeMeta(CopiesDir))
	err := unix.Lsetxattr(s.dir+"/.claimdir/copies", aclDefault, extended, 0)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		t.Fatal(err)
	}
	_ = os.Chmod(s.dir+"/.claimdir/copies", 0o700|os.ModeSetgid)
	s.copy(t, "data")
	sameTrees(t, s.dir+"/data", s.staged())
	same(t, before, describe(t, s.dir+"/data"))
}

// Without clones, copies of ranges and a word about holes the copy is the same.
func copyWays(t *testing.T, s site) {
	manyKinds(t, s.dir+"/data")
	p := pathOfData()
	for i, refused := range []func(c *copying){
		func(*copying) {},
		func(c *copying) { c.noClone.no.Store(1) },
		func(c *copying) { c.noClone.no.Store(1); c.noServer.no.Store(1) },
	} {
		name := fmt.Sprintf("way-%d", i)
		c := newCopying(t.Context(), copier(), s.share, s.share)
		refused(c)
		must(t, s.share.withDirectory(p, nil, func(source *dir) error { return c.inStaging(CopiesDir+"/"+name, source) }))
		sameTrees(t, s.dir+"/data", s.dir+"/.claimdir/copies/"+name+"/tree")
		got := c.result()
		if i == 2 && (got.Cloned != 0 || got.Server != 0 || got.Read < 6_000_000) {
			t.Errorf("read and written: %+v", got)
		}
	}
}
