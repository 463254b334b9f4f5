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

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/volpath"
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

// lateCall is a story of a leader that is cut off in the middle of an operation on the
// volume pvc-1 at the path data.
type lateCall struct {
	set  [][]string             // what comes before, by the leader that is cut off
	hold func(e exported) *held // the call that is on its way
	act  []string               // the operation
	next [][]string             // what the next leader does, after which the path is free
	kept string                 // where the first owner's content is in the end
}

func lateCalls() map[string]lateCall {
	own, ownFile := volpath.Own("pvc-1", sharetest.Cluster), volpath.Own("pvc-1", sharetest.Cluster)+".json.new"
	renames := func(name string, others ...string) func(e exported) *held {
		return func(e exported) *held { return e.holdRename(name, others...) }
	}
	provision := func(policy string) []string { return []string{"provision", "data", "pvc-1", policy} }
	release := func(policy string) []string { return []string{"release", "data", "pvc-1", policy} }
	restore, fill, lookAfter := []string{"restore", "data", "pvc-1", "delete", "pvc-0"}, []string{"fill", "data"}, []string{"look-after"}
	set := func(policy string) [][]string { return [][]string{provision(policy), fill} }
	again := [][]string{provision("delete"), release("delete"), lookAfter}
	archived := [][]string{{"provision", "data", "pvc-0", "archive"}, fill, {"release", "data", "pvc-0", "archive"}}
	restored := [][]string{restore, release("delete"), lookAfter}
	return map[string]lateCall{
		"delete: the directory into the trash": {set("delete"), renames("data"), release("delete"), [][]string{release("delete"), lookAfter}, ""},
		"delete: the record into the trash":    {set("delete"), renames(own + ".json"), release("delete"), [][]string{release("delete"), lookAfter}, ""},
		"archive: the directory aside":         {set("archive"), renames("data"), release("archive"), [][]string{release("archive"), lookAfter}, "archived-ns-claim-pvc-1"},
		"archive: to its name":                 {set("archive"), renames("volume"), release("archive"), [][]string{release("archive"), lookAfter}, "archived-ns-claim-pvc-1"},
		"retain: the record":                   {set("retain"), renames(ownFile), release("retain"), [][]string{release("retain"), lookAfter}, ""},
		"provision: the path":                  {nil, renames(volpath.OwnAt("pvc-1", sharetest.Cluster, mustParse("data"))), provision("delete"), again, ""},
		"provision: the directory":             {nil, func(e exported) *held { return e.holdMkdir("data") }, provision("delete"), again, ""},
		"provision: the record":                {nil, renames(ownFile), provision("delete"), again, ""},
		"restore: the archive aside":           {archived, renames("archived-ns-claim-pvc-0"), restore, restored, ""},
		"restore: to the path":                 {archived, renames("volume", "data"), restore, restored, ""},
	}
}

// A leader is cut off while a call is on its way. The next one does the operation in its
// place, releases the volume and empties the trash; a new claim gets the path, and its
// pod writes. Then the call arrives, and the first leader's process goes on, or is gone.
// When the next leader has looked after its volumes, the new claim has every byte, its
// directory is at its path, and its record is its own.
func TestACallArrivesAfterThePathHasANewOwner(t *testing.T) {
	for name, c := range lateCalls() {
		t.Run(name, func(t *testing.T) {
			t.Run("its process goes on", func(t *testing.T) { c.run(t, false) })
			if _, filesystem := setting(t); filesystem == "ext4" { // the file system only makes the directory's identity
				t.Run("its process is gone", func(t *testing.T) { c.run(t, true) })
			}
		})
	}
}

func (c lateCall) run(t *testing.T, killed bool) {
	t.Helper()
	e := export(t, "no_root_squash")
	next, cutOff := e.first(), e.second()
	var first map[string]string
	do := func(by client, actions [][]string) {
		t.Helper()
		for _, action := range actions {
			if action[0] == "fill" {
				first = content(t, by.dir+"/"+action[1], "first owner's")
				continue
			}
			if err := by.act(action[0], action[1:]...); err != nil {
				t.Fatalf("%q: %v", action, err)
			}
		}
	}
	do(cutOff, c.set)
	h := c.hold(e)
	late := cutOff.start(c.act[0], c.act[1:]...)
	h.wait()
	do(next, c.next)
	must(t, next.act("provision", "data", "pvc-2", "archive"))
	want := content(t, next.dir+"/data", "second owner's")

	if killed {
		late.kill()
	}
	h.release()
	err := late.wait()
	t.Logf("the late process: %v", err)
	must(t, cutOff.act("mkdir", "delivered")) // and all that was sent before
	for range 2 {                             // what a pass finds the next one may finish
		must(t, next.act("look-after"))
	}
	wantWhole(t, e, next, "data", "pvc-2", want)
	if c.kept != "" {
		must(t, checkContent(e.onServer(c.kept), first))
	}
	must(t, next.act("release", "data", "pvc-2", "archive"))
	must(t, next.act("look-after"))
	must(t, checkContent(e.onServer("archived-ns-claim-pvc-2"), want))
}

// wantWhole fails unless the path is the volume's and its directory and content are there.
func wantWhole(t *testing.T, e exported, c client, name, pv string, want map[string]string) {
	t.Helper()
	if err := checkContent(e.onServer(name), want); err != nil {
		t.Errorf("%v; on the share are %s", err, e.shell(`cd "$1" && find . -printf "%P "`, e.onServer()))
	}
	p, err := openProcess(c.dir)
	must(t, err)
	all, err := p.on.Store.Records.LookupAll(pathOf(t, name))
	must(t, err)
	id, err := p.on.Store.Dirs.Identify(pathOf(t, name))
	if err != nil || len(all) != 1 || all[0].PV != pv || all[0].State != ledger.Active || all[0].Directory.Match(id) != share.Same {
		t.Errorf("the path has the records %+v, and the directory %+v (%v)", all, id, err)
	}
	if number := numberAt(unix.AT_FDCWD, e.onServer(name)); err == nil && number != fmt.Sprint(id.Number) {
		t.Errorf("the server has the directory %s, and on record is %d", number, id.Number)
	}
}

func mustParse(name string) volpath.Path {
	p, err := volpath.Parse(name)
	if err != nil {
		panic(err)
	}
	return p
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
