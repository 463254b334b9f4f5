//go:build vm

package nfscases

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// moved is a directory that the second client renames from one parent to another
// while it has its name cached, and that the first client has replaced by then.
type moved struct {
	t            *testing.T
	name         string // of the directory, and of what is made for it
	top          int    // the second client's mount
	source       int    // its parent before
	target       int    // its parent after, held from before the rename
	old, now     string // handles
	oldNo, nowNo string // numbers
}

// places makes one for each way to look, because a look may mend the client's
// cache for the next one.
func places(t *testing.T, two client, looks int) (all []*moved) {
	t.Helper()
	for i := range looks {
		m := &moved{t: t, name: "v" + string(rune('a'+i))}
		for _, parent := range []string{"source-" + m.name, "target-" + m.name} {
			must(t, os.Mkdir(two.dir+"/"+parent, 0o755))
		}
		must(t, os.Mkdir(two.dir+"/source-"+m.name+"/"+m.name, 0o755))
		write(t, two.dir+"/source-"+m.name+"/"+m.name+"/old", "kept by its owner")
		m.top = openDir(t, unix.AT_FDCWD, two.dir, 0)
		m.source, m.target = openDir(t, m.top, "source-"+m.name, 0), openDir(t, m.top, "target-"+m.name, 0)
		m.old, m.oldNo = handleAt(m.source, m.name), numberAt(m.source, m.name)
		all = append(all, m)
	}
	return all
}

// replace puts a new directory in the place, as the first client.
func (m *moved) replace(e exported, one client, alive bool) {
	m.t.Helper()
	dir := one.dir + "/source-" + m.name + "/" + m.name
	if alive {
		must(m.t, os.Rename(dir, one.dir+"/aside-"+m.name))
	} else {
		must(m.t, os.RemoveAll(dir))
	}
	must(m.t, os.Mkdir(dir, 0o755))
	write(m.t, dir+"/new", "the next owner's")
	m.now, m.nowNo = handleAt(unix.AT_FDCWD, dir), numberAt(unix.AT_FDCWD, e.onServer("source-"+m.name, m.name))
}

func (m *moved) rename() error { return unix.Renameat(m.source, m.name, m.target, m.name) }

func (m *moved) again(flags int) int { return openDir(m.t, m.top, "target-"+m.name, flags) }

// looks are the ways to ask which directory has arrived. Those that are true tell
// it on every mount; the others may tell what the client believes.
var looks = []struct {
	name string
	true bool
	look func(m *moved) (saw string)
}{
	{"stat by the held parent", false, func(m *moved) string { return numberAt(m.target, m.name) }},
	{"handle by the held parent", false, func(m *moved) string { return handleAt(m.target, m.name) }},
	{"handle by the parent opened anew", false, func(m *moved) string { return handleAt(m.again(0), m.name) }},
	{"handle by the parent opened anew as parent/.", false, func(m *moved) string {
		return handleAt(openDir(m.t, m.top, "target-"+m.name+"/.", 0), m.name)
	}},
	{"handle by the parent opened anew with O_PATH", false, func(m *moved) string { return handleAt(m.again(unix.O_PATH), m.name) }},
	{"handle of the directory itself, opened", false, func(m *moved) string { return handleAt(openDir(m.t, m.again(0), m.name, 0), "") }},
	{"number in the listing of the held parent", true, func(m *moved) string { return listed(m.t, m.target, m.name) }},
	{"number in the listing of the parent opened anew", true, func(m *moved) string { return listed(m.t, m.again(0), m.name) }},
	{"handle after the listing of the held parent", true, func(m *moved) string {
		listed(m.t, m.target, m.name)
		return handleAt(m.target, m.name)
	}},
	{"handle after the listing of the parent opened anew", true, func(m *moved) string {
		parent := m.again(0)
		listed(m.t, parent, m.name)
		return handleAt(parent, m.name)
	}},
}

// After a rename a client believes that what arrived is what it had cached at the
// old name, however the parent is opened and for ever. A listing of the parent
// tells the truth, and mends the cache.
func TestWhatARenameMovedIsToldByAListing(t *testing.T) {
	for name, alive := range map[string]bool{"the old directory lives on": true, "the old directory is gone": false} {
		t.Run(name, func(t *testing.T) {
			t.Run("replaced before the rename", func(t *testing.T) {
				lookAtWhatMoved(t, os.Getenv("NFS_OPTIONS"), alive, false, false)
			})
			t.Run("replaced while it is on its way", func(t *testing.T) {
				lookAtWhatMoved(t, os.Getenv("NFS_OPTIONS"), alive, true, false)
			})
		})
	}
}

// A client that keeps no names sees the truth in every way.
func TestWithoutANameCacheEveryLookIsTrue(t *testing.T) {
	lookAtWhatMoved(t, "lookupcache=none", true, false, true)
	t.Run("on its way", func(t *testing.T) { lookAtWhatMoved(t, "lookupcache=none", true, true, true) })
}

// lookAtWhatMoved fails where a look that is to be true is not.
func lookAtWhatMoved(t *testing.T, options string, alive, late, allTrue bool) {
	t.Helper()
	e := export(t, "no_root_squash")
	one, two := e.first(), e.second(options)
	all := places(t, two, len(looks))
	renameAll(e, all, late, func() {
		for _, m := range all {
			m.replace(e, one, alive)
		}
	})
	for i, way := range looks {
		m := all[i]
		switch saw := way.look(m); {
		case saw == m.now || saw == m.nowNo:
			t.Logf("true:  %s", way.name)
		case way.true || allTrue:
			t.Errorf("%s: %s, which is not what arrived (%s, %s); the old directory was %s, %s", way.name, saw, m.now, m.nowNo, m.old, m.oldNo)
		case saw == m.old || saw == m.oldNo:
			t.Logf("false: %s", way.name)
		default:
			t.Errorf("%s: %s is neither the old nor the new directory", way.name, saw)
		}
	}
}

// renameAll replaces the directories before it renames them, or, late, while the
// renames are on their way.
func renameAll(e exported, all []*moved, late bool, replace func()) {
	e.t.Helper()
	h := &held{e: e, released: true}
	if late {
		h = e.hold()
	} else {
		replace()
	}
	errs := make([]error, len(all))
	var renames sync.WaitGroup
	for i, m := range all {
		renames.Go(func() { errs[i] = m.rename() })
	}
	if late {
		h.wait()
		replace()
	}
	h.release()
	renames.Wait()
	for _, err := range errs {
		must(e.t, err)
	}
}

// Before a rename, a parent that is opened anew by its own name makes the client
// look again; one that is only walked through, opened with O_PATH or as parent/.
// does not.
func TestBeforeARenameAParentOpenedAnewTellsTheTruth(t *testing.T) {
	ways := []struct {
		name string
		true bool
		look func(m *moved) string
	}{
		{"source opened anew", true, func(m *moved) string { return handleAt(openDir(t, m.top, "source-"+m.name, 0), m.name) }},
		{"source listed", true, func(m *moved) string { listed(t, m.source, m.name); return handleAt(m.source, m.name) }},
		{"source opened anew as source/.", false, func(m *moved) string { return handleAt(openDir(t, m.top, "source-"+m.name+"/.", 0), m.name) }},
		{"source opened anew with O_PATH", false, func(m *moved) string { return handleAt(openDir(t, m.top, "source-"+m.name, unix.O_PATH), m.name) }},
		{"source held", false, func(m *moved) string { return handleAt(m.source, m.name) }},
	}
	e := export(t, "no_root_squash")
	one, two := e.first(), e.second()
	for i, m := range places(t, two, len(ways)) {
		m.replace(e, one, true)
		switch saw := ways[i].look(m); {
		case saw == m.now:
			t.Logf("true:  %s", ways[i].name)
		case ways[i].true || saw != m.old:
			t.Errorf("%s: %s; the directory is %s and was %s", ways[i].name, saw, m.now, m.old)
		default:
			t.Logf("false: %s", ways[i].name)
		}
	}
}

// What is emptied by the name at which it arrived is the directory that the client
// believes to be there: perhaps another volume's archive. After a listing of the
// parent it is the one that did arrive.
func TestEmptyingAfterAListingEmptiesWhatArrived(t *testing.T) {
	e := export(t, "no_root_squash")
	one, two := e.first(), e.second()
	all := places(t, two, 2)
	for _, m := range all {
		m.replace(e, one, true)
		must(t, m.rename())
	}
	blind, careful := all[0], all[1]
	err := os.RemoveAll(two.dir + "/target-" + blind.name + "/" + blind.name)
	_, gone := os.Lstat(e.onServer("aside-"+blind.name, "old"))
	t.Logf("without a listing: %v; the file of the directory that was moved aside: %v", err, gone)

	listed(t, careful.again(0), careful.name)
	must(t, os.RemoveAll(two.dir+"/target-"+careful.name+"/"+careful.name))
	wantFile(t, e.onServer("aside-"+careful.name, "old"), "kept by its owner")
	wantExists(t, e.onServer("target-"+careful.name, careful.name), false)
}

// Where the mount has nordirplus a listing mends nothing, and where the old
// directory is gone its number may be the new one's. The listed number and the
// handle of the directory that was opened after the listing are never both the old
// one's: two living directories differ in the number, and to open one that is gone
// makes the client look again.
func TestListedNumberAndOpenedHandleAreNeverBothTheOldOnes(t *testing.T) {
	e := export(t, "no_root_squash")
	one := e.first()
	for _, options := range []string{os.Getenv("NFS_OPTIONS"), os.Getenv("NFS_OPTIONS") + ",nordirplus"} {
		for _, alive := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, old one alive %v", options, alive), func(t *testing.T) {
				below := exported{t, e.squash, e.subtree}
				two := below.second(options)
				m := places(t, two, 1)[0]
				m.replace(e, one, alive)
				must(t, m.rename())
				parent := m.again(0)
				number, handle := listed(t, parent, m.name), handleAt(openDir(t, parent, m.name, 0), "")
				t.Logf("number true: %v, handle true: %v", number == m.nowNo, handle == m.now)
				if number == m.oldNo && handle == m.old {
					t.Errorf("number %s and handle %s are the old directory's; what arrived is %s, %s", number, handle, m.nowNo, m.now)
				}
				e.shell(`cd "$1" && rm -rf -- *`, e.onServer())
			})
		}
	}
}
