//go:build vm

package nfscases

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// content fills a volume with what its owner wants to find again.
func content(t *testing.T, dir, whose string) (want map[string]string) {
	t.Helper()
	want = map[string]string{"top": whose, "sub/deep/file": whose + " too", "sub/more": ""}
	must(t, os.MkdirAll(dir+"/sub/deep", 0o755))
	for name, text := range want {
		write(t, filepath.Join(dir, name), text)
	}
	return want
}

func checkContent(dir string, want map[string]string) error {
	for name, text := range want {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != text {
			return fmt.Errorf("%s holds %q, %w; want %q", name, got, err, text)
		}
	}
	return nil
}

// A leader is cut off while it moves a released volume into the trash. The next
// one does it in its place, empties the trash, and gives the path to a new claim,
// whose pod writes. Then the rename arrives, and takes the new claim's directory.
// Who leads finds that and brings it back, with every byte.
func TestARenameIntoTheTrashArrivesAfterThePathHasANewOwner(t *testing.T) {
	for name, killed := range map[string]bool{"its process is gone": true, "its process goes on": false} {
		t.Run(name, func(t *testing.T) {
			e := export(t, "no_root_squash")
			next, cutOff := e.first(), e.second()
			must(t, cutOff.act("provision", "data", "pvc-1"))
			content(t, cutOff.dir+"/data", "first owner's")

			h := e.holdRename("data")
			late := cutOff.start("release", "data", "pvc-1")
			h.wait()
			must(t, next.act("release", "data", "pvc-1"))
			must(t, next.act("look-after"))
			wantExists(t, e.onServer("data"), false)
			must(t, next.act("provision", "data", "pvc-2"))
			want := content(t, next.dir+"/data", "second owner's")

			if killed {
				late.kill()
			}
			h.release()
			if killed {
				_ = late.wait()
				eventually(t, "the late rename arrives", func() error {
					if _, err := os.Lstat(e.onServer("data")); err == nil {
						return errors.New("the directory is at its path")
					}
					return nil
				})
			} else {
				t.Logf("the late release: %v", late.wait())
			}
			for range 3 { // what a pass finds the next one may finish
				must(t, next.act("look-after"))
			}
			if err := checkContent(e.onServer("data"), want); err != nil {
				t.Errorf("after the leader's passes: %v; on the share are %s", err, e.shell(`cd "$1" && find . -printf "%P "`, e.onServer()))
			}
		})
	}
}

// A directory of records that another one has replaced by a rename is gone for
// whoever holds it: no call of theirs reaches the new one, nor does one that is on
// its way.
func TestCallsInADirectoryThatARenameReplaced(t *testing.T) {
	t.Run("after it", func(t *testing.T) { replaceRecords(t, false) })
	t.Run("on their way", func(t *testing.T) { replaceRecords(t, true) })
}

func replaceRecords(t *testing.T, late bool) {
	t.Helper()
	e := export(t, "no_root_squash")
	one, two := e.first(), e.second()
	calls := map[string]func(records, top int) error{
		"mkdir": func(records, _ int) error { return unix.Mkdirat(records, "new", 0o755) },
		"create": func(records, _ int) error {
			fd, err := unix.Openat(records, "new", unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o600)
			if err == nil {
				err = unix.Close(fd)
			}
			return err
		},
		"rename": func(records, top int) error { return unix.Renameat(top, "rename-staged", records, "new") },
		"link":   func(records, top int) error { return unix.Linkat(top, "link-staged", records, "new", 0) },
	}
	for name := range calls {
		must(t, os.Mkdir(two.dir+"/"+name, 0o755)) // records/<key>
		write(t, two.dir+"/"+name+"-staged", "late record")
	}
	h := &held{e: e, released: true}
	var ended sync.WaitGroup
	var starts []func()
	for name, call := range calls {
		top := openDir(t, unix.AT_FDCWD, two.dir, 0)
		records := openDir(t, top, name, 0)
		numberAt(top, name+"-staged") // cached
		starts = append(starts, func() {
			if err := call(records, top); !errors.Is(err, syscall.ESTALE) && !errors.Is(err, syscall.ENOENT) {
				t.Errorf("%s in a directory that was replaced: %v", name, err)
			}
		})
	}
	begin := func() {
		for _, start := range starts {
			ended.Go(start)
		}
	}
	if late {
		h = e.hold()
		begin()
		h.wait()
	}
	for name := range calls {
		must(t, os.Mkdir(one.dir+"/staged", 0o755))
		write(t, one.dir+"/staged/record", "next owner's")
		must(t, unix.Rename(one.dir+"/staged", one.dir+"/"+name)) // os.Rename refuses a directory as the target
	}
	if !late {
		begin()
	}
	h.release()
	ended.Wait()
	for name := range calls {
		entries, err := os.ReadDir(e.onServer(name))
		if err != nil || len(entries) != 1 || entries[0].Name() != "record" {
			t.Errorf("%s: the next owner's directory holds %v, %v", name, entries, err)
		}
	}
}
