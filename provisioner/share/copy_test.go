package share

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func copyCases() map[string]func(*testing.T, site) {
	return map[string]func(*testing.T, site){
		"a copy keeps everything":                          copyKeeps,
		"a copy takes hostile names as they are":           copyHostile,
		"a copy asks whose directory it is":                copyIdentity,
		"a copy keeps files of several names together":     copyLinksTogether,
		"a copy made twice is the same":                    copyTwice,
		"a copy goes on after a kill at any call":          copyCutOff,
		"a copy goes on in the middle of a large file":     copyLargeCutOff,
		"a copy of a deep tree needs few descriptors":      copyDeep,
		"a copy says what cannot be read":                  copyUnreadable,
		"a copy says that an owner cannot be given":        copyOwner,
		"a copy fails when the share is full":              copyFull,
		"a copy keeps its pace and ends when told to":      copyPaced,
		"a copy of holes costs nothing":                    copyHoles,
		"a copy follows no link that is swapped in":        copySwapped,
		"a copy counts what changes all the time":          copyChanging,
		"a copy of another share is one of this":           copyBetween,
		"a copy takes what the share hands down":           copyInherits,
		"a copy leaves out devices and names them":         copyDevices,
		"a copy of a file of as many names as may be":      copyMostLinks,
		"a copy needs neither clones nor copies of ranges": copyWays,
	}
}

// copier copies as fast as it can.
func copier() *Copier { return NewCopier(16, 0, 0) }

const staging = "pv@cluster"

// staged is the copy, as the share's own path.
func (s site) staged() string { return s.dir + "/.claimdir/copies/" + staging + "/tree" }

func (s site) copy(t *testing.T, name string) Copied {
	t.Helper()
	got, err := s.share.Copy(t.Context(), copier(), CopyFrom{Path: pathOf(t, name)}, staging, nil)
	must(t, err)
	return got
}

// onlyTree fails the test if anything but the tree is left of a copy.
func (s site) onlyTree(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(s.dir + "/.claimdir/copies/" + staging)
	must(t, err)
	if len(entries) != 1 || entries[0].Name() != "tree" {
		t.Errorf("left beside the tree: %v", entries)
	}
}

// setTimes gives a name times that no clock gives.
func setTimes(t *testing.T, name string, at int64) {
	t.Helper()
	times := []unix.Timespec{unix.NsecToTimespec(1e18 + at*1_000_000_007), unix.NsecToTimespec(1.1e18 + at*1_000_000_011)}
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, name, times, unix.AT_SYMLINK_NOFOLLOW))
}

// sparseFile makes a file with some content at some offsets.
func sparseFile(t *testing.T, name string, size int64, at ...int64) {
	t.Helper()
	file, err := os.Create(name)
	must(t, err)
	for _, offset := range at {
		_, err := file.WriteAt([]byte(fmt.Sprintf("content at %d", offset)), offset)
		must(t, err)
	}
	must(t, file.Truncate(size))
	must(t, file.Close())
}

// manyKinds makes a tree of everything that a copy keeps.
func manyKinds(t *testing.T, data string) {
	t.Helper()
	t.Cleanup(func() { openUpAll(filepath.Dir(data)) })
	tree(t, data, "plain/file", "plain/below/empty/", "modes/suid", "modes/sgid", "modes/sticky/", "modes/setgid/file", "modes/read-only/file", "owned")
	must(t, os.WriteFile(data+"/nothing", nil, 0o444))
	must(t, os.WriteFile(data+"/middle", []byte(strings.Repeat("middle ", 100_000)), 0o600))
	must(t, os.WriteFile(data+"/large", []byte(strings.Repeat("large ", 900_000)), 0o640))
	sparseFile(t, data+"/sparse", int64(times(300<<20, 30<<20)), 0, 5<<20, 20<<20)
	sparseFile(t, data+"/hole", int64(times(200<<20, 10<<20)))
	sparseFile(t, data+"/small-hole", 40<<10, 8<<10)
	must(t, os.Symlink("../outside", data+"/link"))
	must(t, os.Symlink(strings.Repeat("x", 1000), data+"/plain/long-link"))
	must(t, syscall.Mkfifo(data+"/pipe", 0o620))
	must(t, syscall.Mknod(data+"/socket", syscall.S_IFSOCK|0o755, 0))
	for _, name := range []string{"a", "plain/b", "plain/below/c"} {
		_ = os.Remove(data + "/" + name)
		if name == "a" {
			must(t, os.WriteFile(data+"/a", []byte("of three names"), 0o600))
			must(t, os.Chmod(data+"/a", 0o711|fs.ModeSetuid))
			continue
		}
		must(t, os.Link(data+"/a", data+"/"+name))
	}
	must(t, os.Link(data+"/large", data+"/plain/large-too"))
	must(t, os.Link(data+"/pipe", data+"/plain/pipe-too"))
	must(t, os.Link(data+"/link", data+"/plain/link-too"))
	giveACLs(t, data) // while we own everything: without capabilities the kernel lets only the owner do that
	if os.Geteuid() == 0 && mayGive(data+"/owned") {
		for name, id := range map[string]int{"owned": 1234, "link": 77, "pipe": 78, "plain/below": 79, "modes/suid": 80, "modes/setgid": 81, "a": 82} {
			must(t, os.Lchown(data+"/"+name, id, id+1))
		}
		must(t, os.Chmod(data+"/a", 0o711|fs.ModeSetuid))
	}
	for name, mode := range map[string]fs.FileMode{
		"modes/suid": 0o755 | fs.ModeSetuid, "modes/sgid": 0o755 | fs.ModeSetgid, "modes/sticky": 0o777 | fs.ModeSticky,
		"modes/setgid": 0o775 | fs.ModeSetgid, "modes/read-only": 0o555, "modes/read-only/file": 0o400,
	} {
		must(t, os.Chmod(data+"/"+name, mode))
	}
	for name, value := range map[string]string{"plain/file": "small", "plain": "of a directory", "large": strings.Repeat("v", 1000)} {
		if err := unix.Lsetxattr(data+"/"+name, "user.claimdir", []byte(value), 0); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			t.Fatal(err)
		}
	}
	at := int64(0)
	for _, name := range []string{
		"plain/file", "nothing", "middle", "large", "sparse", "hole", "small-hole", "link", "plain/long-link", "pipe", "socket", "a", "modes/suid",
		"modes/setgid/file", "modes/read-only/file", "plain/below/empty", "plain/below", "plain", "modes/setgid", "modes/read-only", "modes/sticky", "modes", "",
	} {
		at++
		setTimes(t, data+"/"+name, at)
	}
}

// mayGive reports whether the share lets us give files to others.
func mayGive(name string) bool { return os.Lchown(name, 4321, 4321) == nil }

// acl is a POSIX ACL as the kernel takes it: version 2, and of each entry tag, permissions and ID.
func acl(entries ...[3]uint32) []byte {
	value := []byte{2, 0, 0, 0}
	for _, e := range entries {
		value = append(value, byte(e[0]), 0, byte(e[1]), 0, byte(e[2]), byte(e[2]>>8), byte(e[2]>>16), byte(e[2]>>24))
	}
	return value
}

const noID = 1<<32 - 1

// giveACLs gives a file and a directory ACLs, where the file system has them.
func giveACLs(t *testing.T, data string) {
	t.Helper()
	extended := acl([3]uint32{1, 6, noID}, [3]uint32{2, 4, 1234}, [3]uint32{4, 4, noID}, [3]uint32{16, 6, noID}, [3]uint32{32, 0, noID})
	for name, attribute := range map[string]string{"plain/file": aclAccess, "plain/below": aclDefault, "a": aclAccess} {
		err := unix.Lsetxattr(data+"/"+name, attribute, extended, 0)
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			t.Fatal(err)
		}
	}
}

func copyKeeps(t *testing.T, s site) {
	data := s.dir + "/team/data"
	t.Cleanup(func() { openUpAll(s.dir) })
	manyKinds(t, data)
	before := describe(t, data)
	times := accessTimes(t, data)
	progress := &CopyProgress{}
	got, err := s.share.Copy(t.Context(), copier(), CopyFrom{Path: pathOf(t, "team/data"), Identity: identify(t, s.share, "team/data")}, staging, progress)
	must(t, err)
	same(t, times, accessTimes(t, s.staged()))
	sameTrees(t, data, s.staged())
	s.onlyTree(t)
	files, directories := int64(0), int64(0)
	for _, is := range before {
		if strings.HasPrefix(is, "mode 4") {
			directories++
		} else {
			files++
		}
	}
	if got.Files != files || got.Directories != directories || got.Links != 5 || got.LeftOut != 0 || got.Changed != 0 || got.Found != 0 {
		t.Errorf("%+v, want %d files and %d directories", got, files, directories)
	}
	if progress.Files.Load() != files || progress.Directories.Load() != directories || progress.Bytes.Load() != got.Cloned+got.Server+got.Read {
		t.Errorf("progress %d %d %d of %+v", progress.Files.Load(), progress.Directories.Load(), progress.Bytes.Load(), got)
	}
	if total := got.Cloned + got.Server + got.Read; total < 6_000_000 || total > 8<<20 {
		t.Errorf("copied %d bytes of content", total)
	}
	if used := blocksOf(t, s.staged()+"/sparse"); used > 4<<20 {
		t.Errorf("the copy of a sparse file takes %d bytes", used)
	}
}

func copyHostile(t *testing.T, s site) {
	tree(t, s.outside, "secret/file")
	tree(t, s.dir, "data/new\nline/sp ace", "data/\xff\xfe/\x80", "data/-rf", "data/*", "data/$(id)", "data/.claimdir/x", "data/.hidden", "data/...",
		"data/"+strings.Repeat("n", 255), "data/tree", "data/links/parts", "data/a\\b", "data/\u202e")
	for name, target := range map[string]string{"out": s.outside, "outfile": s.outside + "/secret/file", "up": "..", "self": "self", "gone": "nowhere", "root": "/"} {
		must(t, os.Symlink(target, s.dir+"/data/"+name))
	}
	outside := snapshot(t, s.outside)
	s.copy(t, "data")
	sameTrees(t, s.dir+"/data", s.staged())
	untouched(t, s.outside, outside)
}

func copyIdentity(t *testing.T, s site) {
	tree(t, s.dir, "data/", "other/", "file")
	for name, want := range map[string]error{"data": ErrChanged, "absent": fs.ErrNotExist, "file": ErrNotDirectory} {
		_, err := s.share.Copy(t.Context(), copier(), CopyFrom{Path: pathOf(t, name), Identity: identify(t, s.share, "other")}, staging, nil)
		mustBe(t, err, want)
	}
	must(t, os.Symlink("other", s.dir+"/link"))
	_, err := s.share.Copy(t.Context(), copier(), CopyFrom{Path: pathOf(t, "link")}, staging, nil)
	mustBe(t, err, ErrNotDirectory)
}

func copyDevices(t *testing.T, s site) {
	tree(t, s.dir, "data/file")
	devices := 0
	for i := range 4 {
		err := syscall.Mknod(fmt.Sprintf("%s/data/null%d", s.dir, i), syscall.S_IFCHR|0o666, 1<<8|3)
		if err == nil {
			devices++
		} else if !errors.Is(err, fs.ErrPermission) {
			t.Fatal(err)
		}
	}
	if devices > 0 {
		if err := unix.Lsetxattr(s.dir+"/data/file", "trusted.claimdir", []byte("x"), 0); err == nil {
			devices++
		}
	}
	got := s.copy(t, "data")
	if int(got.LeftOut) != devices || len(got.FirstLeftOut) != min(devices, 3) || got.Files != 1 {
		t.Errorf("%+v with %d devices", got, devices)
	}
}

func copyUnreadable(t *testing.T, s site) {
	tree(t, s.dir, "data/fine", "data/below/secret\n")
	must(t, os.Chmod(s.dir+"/data/below/secret\n", 0))
	_, err := s.share.Copy(t.Context(), copier(), CopyFrom{Path: pathOf(t, "data")}, staging, nil)
	if _, read := os.ReadFile(s.dir + "/data/below/secret\n"); read == nil { // we are root
		must(t, err)
		return
	}
	mustBe(t, err, fs.ErrPermission)
	for _, want := range []string{`"below/secret\n"`, fmt.Sprintf("uid %d", os.Geteuid()), "no_root_squash"} {
		mustBe(t, err, want)
	}
}

func copyOwner(t *testing.T, s site) {
	tree(t, s.dir, "data/below/given")
	must(t, syscall.Chmod(s.dir+"/data/below/given", 0o644))
	refuse := func(name string, call func() error) error {
		err := call()
		var stat syscall.Stat_t
		if name == "copy to" && err == nil && syscall.Lstat(s.staged()+"/below/given", &stat) == nil && stat.Size > 0 {
			return unix.EPERM
		}
		return err
	}
	view := s.share.During(t.Context(), refuse)
	defer view.Release()
	_, err := view.Copy(t.Context(), NewCopier(1, 0, 0), CopyFrom{Path: pathOf(t, "data")}, staging, nil)
	mustBe(t, err, unix.EPERM)
	mustBe(t, err, `"below/given"`)
	stat := unix.Stat_t{Uid: 1234, Gid: 99}
	for _, want := range []any{"uid 1234, gid 99", "no_root_squash", unix.EPERM} {
		mustBe(t, ownerError(&stat, unix.EPERM), want)
	}
}

func copyFull(t *testing.T, s site) {
	for i := range 30 {
		tree(t, s.dir, fmt.Sprintf("data/%d/file", i))
	}
	n := 0
	view := s.share.During(t.Context(), func(name string, call func() error) error {
		if n++; name == "copy to" && n > 150 {
			return unix.ENOSPC
		}
		return call()
	})
	_, err := view.Copy(t.Context(), NewCopier(1, 0, 0), CopyFrom{Path: pathOf(t, "data")}, staging, nil)
	view.Release()
	mustBe(t, err, unix.ENOSPC)
	s.copy(t, "data")
	sameTrees(t, s.dir+"/data", s.staged())
}

func copyPaced(t *testing.T, s site) {
	for i := range 60 {
		tree(t, s.dir, fmt.Sprintf("data/%d", i))
	}
	must(t, os.WriteFile(s.dir+"/data/large", []byte(strings.Repeat("large ", 200_000)), 0o600))
	from := CopyFrom{Path: pathOf(t, "data")}
	begin := time.Now()
	_, err := s.share.Copy(t.Context(), NewCopier(16, 1000, 0), from, "calls", nil)
	must(t, err)
	if took := time.Since(begin); took < 200*time.Millisecond {
		t.Errorf("62 files at 1000 calls a second took %v", took)
	}
	begin = time.Now()
	_, err = s.share.Copy(t.Context(), NewCopier(16, 0, 2_000_000), from, "bytes", nil)
	must(t, err)
	if took := time.Since(begin); took < 300*time.Millisecond {
		t.Errorf("1.2 MB at 2 MB a second took %v", took)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	why := errors.New("the pod stops")
	time.AfterFunc(100*time.Millisecond, func() { stop(why) })
	begin = time.Now()
	_, err = s.share.Copy(ctx, NewCopier(16, 0, 20_000), from, "ends", nil)
	if took := time.Since(begin); !errors.Is(err, why) || took > 2*time.Second {
		t.Errorf("it ended after %v with %v", took, err)
	}
}
