package faultfs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestItIsTheDirectory does the same on a plain directory and on a mount of one,
// and compares what each call answers and what is there in the end.
func TestItIsTheDirectory(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(stories())) {
		t.Run(name, func(t *testing.T) {
			plain, s := t.TempDir(), newSite(t)
			must(t, errors.Join(os.Chmod(plain, 0o755), os.Chmod(filepath.Dir(plain), 0o755))) // others must get there
			want := story(t, plain, stories()[name])
			got := story(t, s.dir, stories()[name])
			if got != want {
				t.Errorf("plain\n%s\nmount\n%s", want, got)
			}
			if below := listing(t, s.backing); below != listing(t, s.dir) {
				t.Errorf("mount\n%s\nbelow\n%s", listing(t, s.dir), below)
			}
			if strings.Count(want, "\n") < 3 {
				t.Errorf("it says nothing:\n%s", want)
			}
			if name == "owners" && !strings.Contains(want, " 1000:2000 ") {
				t.Errorf("nobody else made anything:\n%s", want)
			}
		})
	}
}

// steps is told what each call answers; dir is where to make them.
type steps func(dir string, say func(...any))

func stories() map[string]steps {
	return map[string]steps{
		"modes": func(dir string, say func(...any)) {
			say(os.Mkdir(dir+"/d", 0o777), os.Mkdir(dir+"/d", 0o777), unix.Mkdir(dir+"/sticky", 0o1777))
			say(os.WriteFile(dir+"/f", []byte("1"), 0o666))
			for _, mode := range []uint32{0, 0o2770, 0o1777, 0o6755, 0o3700} {
				say(unix.Chmod(dir+"/d", mode), unix.Chmod(dir+"/f", mode), os.Mkdir(dir+fmt.Sprintf("/d/%o", mode), 0o755))
			}
			say(unix.Chown(dir+"/f", 1000, 1001), unix.Chown(dir+"/d", 1000, -1), unix.Chown(dir+"/missing", 1, 1))
			say(os.Symlink("f", dir+"/l"), unix.Lchown(dir+"/l", 3, 4))
		},
		"owners": func(dir string, say func(...any)) {
			say(os.Mkdir(dir+"/open", 0o777), unix.Chmod(dir+"/open", 0o777))
			say(os.Mkdir(dir+"/group", 0o777), unix.Chown(dir+"/group", 0, 2000), unix.Chmod(dir+"/group", 0o2777))
			say(os.Mkdir(dir+"/sticky", 0o777), unix.Chmod(dir+"/sticky", 0o1777), os.WriteFile(dir+"/sticky/root", nil, 0o666))
			say(os.Mkdir(dir+"/mine", 0o700))
			for _, script := range []string{
				"umask 0; mkdir open/d group/d; touch open/f group/f; ln -s x open/l; mkfifo group/p",
				"umask 077; mkdir open/d7 group/d7; touch open/f7 group/f7",
				"rm -f sticky/root", "touch mine/f", "chown 0 open/f", "chmod 2755 open/f group/d", "ls mine", "echo more >>open/f",
			} {
				// The shell goes there itself: while Go starts it, this process serves no file.
				cmd := exec.Command("sh", "-c", `cd "$0" && { `+script+`; }`, dir)
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
				out, err := cmd.CombinedOutput()
				say(script, string(out), err)
			}
		},
		"files": func(dir string, say func(...any)) {
			say(os.WriteFile(dir+"/f", []byte("content"), 0o644))
			_, err := os.OpenFile(dir+"/f", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
			say(err)
			f, err := os.OpenFile(dir+"/f", os.O_RDWR|os.O_APPEND, 0)
			say(err)
			defer f.Close()
			_, err = f.WriteString(", more")
			say(err, f.Sync())
			data, err := os.ReadFile(dir + "/f")
			say(string(data), err)
			say(f.Truncate(3), os.Remove(dir+"/f"), os.Remove(dir+"/f"))
			info, err := f.Stat()
			say(info.Size(), err)
			n, err := f.ReadAt(make([]byte, 10), 0)
			say(n, err)
			say(os.WriteFile(dir+"/big", make([]byte, 3<<20), 0o644), os.WriteFile(dir+"/big", []byte("small"), 0o644))
			_, err = os.OpenFile(dir+"/none", os.O_RDONLY, 0)
			say(err)
			_, err = os.OpenFile(dir, os.O_WRONLY, 0)
			say(err)
		},
		"names": func(dir string, say func(...any)) {
			say(os.MkdirAll(dir+"/a/b", 0o755), os.WriteFile(dir+"/f", nil, 0o600), os.WriteFile(dir+"/g", []byte("g"), 0o600))
			say(os.Link(dir+"/f", dir+"/a/f2"), os.Link(dir+"/f", dir+"/g"), os.Link(dir+"/a", dir+"/a2"))
			say(os.Symlink("../nowhere", dir+"/l"), os.Link(dir+"/l", dir+"/l2"), os.Symlink("x", dir+"/l"))
			say(os.Readlink(dir + "/l"))
			say(os.Rename(dir+"/f", dir+"/g"), os.Rename(dir+"/a", dir+"/a/b/c"), os.Rename(dir+"/g", dir+"/a"), os.Rename(dir+"/missing", dir+"/x"))
			say(os.Mkdir(dir+"/full", 0o755), os.Mkdir(dir+"/full/d", 0o755), os.Rename(dir+"/a", dir+"/full"))
			say(unix.Rmdir(dir+"/full"), unix.Rmdir(dir+"/l"), unix.Unlink(dir+"/full"), unix.Rmdir(dir+"/full/d"))
			say(os.Rename(dir+"/a", dir+"/full"), os.Mkdir(dir+"/"+strings.Repeat("n", 256), 0o755), os.Mkdir(dir+"/new\nline\xff", 0o755))
			say(unix.Mkfifo(dir+"/pipe", 0o640))
		},
		"times": func(dir string, say func(...any)) {
			at := time.Date(2001, 2, 3, 4, 5, 6, 789, time.UTC)
			say(os.Mkdir(dir+"/d", 0o755), os.Symlink("gone", dir+"/l"))
			say(os.Chtimes(dir+"/d", at, at), os.Chtimes(dir+"/l", at, at))
			say(unix.UtimesNanoAt(unix.AT_FDCWD, dir+"/l", []unix.Timespec{{Sec: 5}, {Sec: 6}}, unix.AT_SYMLINK_NOFOLLOW))
			say(os.Chtimes(dir, at, time.Unix(-5, 7)))
			for _, name := range []string{"", "/d", "/l"} {
				info, err := os.Lstat(dir + name)
				say(info.ModTime().UTC(), err)
			}
		},
		"directories": func(dir string, say func(...any)) {
			say(os.Mkdir(dir+"/d", 0o755))
			for i := range 2000 {
				must := os.WriteFile(fmt.Sprintf("%s/d/%04d-%s", dir, i, strings.Repeat("x", i%100)), nil, 0o644)
				if must != nil {
					say(must)
				}
			}
			d, err := os.Open(dir + "/d")
			say(err)
			defer d.Close()
			say(d.Sync())
			first, err := d.ReadDir(700)
			rest, err2 := d.ReadDir(-1)
			say(len(first), err, len(rest), err2)
			_, err = d.Seek(0, 0)
			all, err2 := d.Readdirnames(-1)
			say(err, len(all), err2)
			say(os.RemoveAll(dir+"/d"), d.Sync())
			info, err := d.Stat()
			say(info.IsDir(), err)
			all, err = d.Readdirnames(-1)
			say(all, err)
		},
	}
}

// story is what the calls answered, and what they left.
func story(t *testing.T, dir string, do steps) string {
	t.Helper()
	var told strings.Builder
	do(dir, func(answers ...any) {
		told.WriteString(strings.ReplaceAll(fmt.Sprintln(answers...), dir, "DIR"))
	})
	return told.String() + listing(t, dir)
}

// listing is everything below dir, but for times.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var list strings.Builder
	must(t, filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var stat unix.Stat_t
		if err := unix.Lstat(name, &stat); err != nil {
			return err
		}
		size := stat.Size
		if entry.IsDir() {
			size = 0
		}
		_, err = fmt.Fprintf(&list, "%q %v %o %d:%d %d links, %d bytes\n", strings.TrimPrefix(name, dir), entry.Type(), stat.Mode, stat.Uid, stat.Gid, stat.Nlink, size)
		return err
	}))
	return list.String()
}

// What is unlike the directory is like NFS.
func TestItIsAShare(t *testing.T) {
	s := newSite(t)
	must(t, os.WriteFile(s.dir+"/f", []byte("content"), 0o644))
	mustBe(t, unix.Renameat2(unix.AT_FDCWD, s.dir+"/f", unix.AT_FDCWD, s.dir+"/g", unix.RENAME_NOREPLACE), unix.EINVAL)
	if n := s.Calls()[Rename]; n > 0 {
		t.Errorf("%d calls of Rename, which the client refuses", n)
	}
	mustBe(t, unix.Setxattr(s.dir+"/f", "user.x", []byte("1"), 0), unix.EOPNOTSUPP)
	_, err := unix.Open(s.dir, unix.O_TMPFILE|unix.O_WRONLY, 0o600)
	mustBe(t, err, unix.EOPNOTSUPP)
	var above, below unix.Statfs_t
	must(t, errors.Join(unix.Statfs(s.dir, &above), unix.Statfs(s.backing, &below)))
	if above.Blocks != below.Blocks || above.Namelen != below.Namelen || above.Bsize != below.Bsize {
		t.Errorf("statfs: %+v, below %+v", above, below)
	}
	// What changes on the server is seen at once.
	must(t, os.WriteFile(s.backing+"/f", []byte("other, and longer"), 0o644))
	must(t, os.Chmod(s.backing+"/f", 0o600))
	data, err := os.ReadFile(s.dir + "/f")
	info, err2 := os.Stat(s.dir + "/f")
	if err != nil || err2 != nil || string(data) != "other, and longer" || info.Mode() != 0o600 {
		t.Errorf("%q, %v, %v, %v", data, err, info, err2)
	}
	f, err := os.OpenFile(s.dir+"/f", os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	must(t, os.WriteFile(s.backing+"/f", []byte("longer than it was before"), 0o644))
	_, err = f.WriteString("!")
	data, err2 = os.ReadFile(s.backing + "/f")
	if err != nil || err2 != nil || string(data) != "longer than it was before!" {
		t.Errorf("appended to %q, %v, %v", data, err, err2)
	}
	must(t, os.Remove(s.backing+"/f"))
	absent(t, s.dir+"/f")
}
