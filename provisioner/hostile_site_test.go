package provisioner

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"claimdir/provisioner/sharetest"
)

// site is a world whose share lies beside directories that links on it can
// point to. Whatever a tenant does, nothing outside its own volume may change,
// on the share and beside it.
type site struct {
	*world

	top string // holds the share and all that is beside it
}

// The directories beside the share that links point to. Each has, or lacks,
// what a call that followed a link would remove, change or make there.
const (
	fullCanary  = "canary-full"  // what lies there would be removed or renamed
	emptyCanary = "canary-empty" // an empty directory would get another mode
	bareCanary  = "canary-bare"  // something would be made
)

func newSite(t *testing.T) *site {
	t.Helper()
	on := sharetest.NewWorld(t)
	top := on.Dir
	on.Dir = top + "/share" // the share moves one down
	must(t, os.RemoveAll(top+"/.claimdir"))
	must(t, os.Mkdir(on.Dir, 0o755))
	on.Restart(t)
	s := &site{world: worldOn(on), top: top}
	must(t, os.MkdirAll(s.Dir+"/.claimdir/moving", 0o700)) // made when needed: no inventory is to miss it
	s.provision(t, options("rival/confidential", "pvc-rival", at("rival/volumes")))
	s.Tree(t, "rival/volumes/file", "rival/volumes/tree/file", "rival/volumes/empty/", "stranger/volumes/file", "stranger/file")
	for _, dir := range []string{"/" + fullCanary, ""} { // "" is where ".." leads to
		s.Tree(t, "../"+dir+"/volumes/file", "../"+dir+"/volumes/tree/file", "../"+dir+"/tree/file")
	}
	s.Tree(t, "../"+emptyCanary+"/volumes/", "../"+emptyCanary+"/tree/", "../"+bareCanary+"/")
	must(t, os.Symlink("file", s.top+"/"+fullCanary+"/link"))
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, name := range []string{fullCanary + "/volumes", emptyCanary + "/volumes", emptyCanary + "/tree", emptyCanary, bareCanary} {
		must(t, os.Chmod(s.top+"/"+name, 0o710))
		must(t, os.Chtimes(s.top+"/"+name, old, old))
	}
	return s
}

// inventory says what there is, by path below the site, and all that one who
// is not its owner could change of it.
type inventory map[string]string

// andMore can end no path.
const andMore = "\x00"

// outside is the inventory of the site without what belongs to the volumes at
// the paths own: their directories with all in them, and their records. A path
// that ends in andMore is all that begin so. The directories above an own path may
// come to be, and get entries, but no other mode or owner.
func (s *site) outside(t *testing.T, own ...string) inventory {
	t.Helper()
	s.EmptyTrash(t) // which reaches nothing else either
	root, err := os.OpenRoot(s.top)
	must(t, err)
	defer root.Close()
	w := walk{inventory: inventory{}, own: own}
	must(t, w.dir(root, "."))
	return w.inventory
}

type walk struct {
	inventory

	own []string
}

// dir goes from one open directory to the next: a path may be longer than a
// system call takes.
func (w walk) dir(dir *os.Root, name string) error {
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		full := path.Join(name, entry.Name())
		if relative, onShare := strings.CutPrefix(full, "share/"); onShare && w.owned(relative) {
			continue
		}
		if err := w.entry(dir, entry.Name(), full); err != nil {
			return err
		}
	}
	return nil
}

func (w walk) entry(dir *os.Root, name, full string) error {
	info, err := dir.Lstat(name)
	if err != nil {
		return err
	}
	stat, _ := info.Sys().(*syscall.Stat_t)
	line := fmt.Sprintf("%v %d:%d", info.Mode(), stat.Uid, stat.Gid)
	if w.above(full) {
		line += " (on the way)"
	} else {
		line += fmt.Sprintf(" %d links, %v", stat.Nlink, info.ModTime().UnixNano())
	}
	switch {
	case info.Mode().IsRegular():
		data, err := read(dir, name)
		if err != nil {
			return err
		}
		if strings.HasPrefix(full, "share/.claimdir/records/") && w.owned(recordedPath(data)) {
			return nil
		}
		line += fmt.Sprintf(" %d bytes %x", info.Size(), sha256.Sum256(data))
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := dir.Readlink(name)
		if err != nil {
			return err
		}
		line += fmt.Sprintf(" -> %q", target)
	case info.IsDir():
		child, err := dir.OpenRoot(name)
		if errors.Is(err, fs.ErrPermission) { // nobody but root reads what may not be read
			break
		}
		if err != nil {
			return err
		}
		defer child.Close()
		if err := w.dir(child, full); err != nil {
			return err
		}
		if entries, err := fs.ReadDir(child.FS(), "."); path.Dir(full) == "share/.claimdir/records" && err == nil && len(entries) > 0 {
			return nil // what is in it is the record
		}
	}
	w.inventory[full] = line
	return nil
}

// read returns the beginning of a file, which is all of those that are not a
// tenant's, and nothing of what may not be read.
func read(dir *os.Root, name string) ([]byte, error) {
	file, err := dir.Open(name)
	if errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, 1<<16))
}

func recordedPath(data []byte) string {
	var record struct{ Path string }
	_ = json.Unmarshal(data, &record) // what cannot be read is nobody's, and compared as it is
	return record.Path
}

func (w walk) owned(relative string) bool {
	return slices.ContainsFunc(w.own, func(own string) bool {
		if start, many := strings.CutSuffix(own, andMore); many {
			return strings.HasPrefix(relative, start)
		}
		return relative == own || strings.HasPrefix(relative, own+"/")
	})
}

// above reports whether an entry of full may come or go.
func (w walk) above(full string) bool {
	own := []string{"share", "share/.claimdir", "share/.claimdir/records", "share/.claimdir/trash", "share/.claimdir/staged", "share/.claimdir/moving"}
	return slices.Contains(own, full) ||
		slices.ContainsFunc(w.own, func(own string) bool { return strings.HasPrefix("share/"+own, full+"/") })
}

// same fails the test unless after is what before was. Directories on the way
// to an own path may be new, or gone with the volume; then they have the mode of
// parents.
func (before inventory) same(t *testing.T, after inventory) {
	t.Helper()
	var wrong []string
	for name, is := range after {
		was, there := before[name]
		if !there && strings.HasPrefix(is, "drwxr--r-x ") && strings.HasSuffix(is, "(on the way)") || was == is {
			continue
		}
		if !there {
			was = "absent"
		}
		wrong = append(wrong, fmt.Sprintf("%q was %s, is %s", name, was, is))
	}
	for name := range maps.Keys(before) {
		ours := strings.HasPrefix(before[name], "drwxr--r-x ") && strings.HasSuffix(before[name], "(on the way)") // made for the volume: see parents_test.go
		if _, there := after[name]; !there && !ours {
			wrong = append(wrong, fmt.Sprintf("%q is gone", name))
		}
	}
	slices.Sort(wrong)
	if len(wrong) > 0 {
		t.Errorf("outside of the volume %d things changed:\n\t%s", len(wrong), strings.Join(wrong[:min(len(wrong), 20)], "\n\t"))
	}
}

// The inventory is what all other tests of this kind rest on: it must see each
// change that a call could make.
func TestHostileInventorySeesEveryChangeOutside(t *testing.T) {
	for name, change := range map[string]func(s *site) error{
		"nothing":                func(*site) error { return nil },
		"a volume's own content": func(s *site) error { return os.WriteFile(s.Dir+"/team/data/file", nil, 0o600) },
		"content":                func(s *site) error { return os.WriteFile(s.Dir+"/rival/volumes/file", []byte("x"), 0o600) },
		"content of the canary":  func(s *site) error { return os.WriteFile(s.top+"/"+fullCanary+"/volumes/file", []byte("x"), 0o600) },
		"a mode":                 func(s *site) error { return os.Chmod(s.top+"/"+emptyCanary+"/volumes", 0o751) },
		"the mode of the parent": func(s *site) error { return os.Chmod(s.Dir+"/team", 0o777) },
		"a new directory":        func(s *site) error { return os.Mkdir(s.top+"/"+bareCanary+"/x", 0o755) },
		"a new neighbour":        func(s *site) error { return os.Mkdir(s.Dir+"/team/data2", 0o755) },
		"a neighbour's record": func(s *site) error {
			return os.Remove(s.Dir + "/.claimdir/records/rival%2Fvolumes/" + s.recordName("pvc-rival"))
		},
		"a temporary file":    func(s *site) error { return os.WriteFile(s.Dir+"/.claimdir/staged/x", nil, 0o600) },
		"a name":              func(s *site) error { return os.Rename(s.Dir+"/stranger/file", s.Dir+"/stranger/fil") },
		"a time":              func(s *site) error { return os.Chtimes(s.Dir+"/stranger/file", time.Time{}, time.Unix(1, 0)) },
		"the number of links": func(s *site) error { return os.Link(s.Dir+"/stranger/file", s.Dir+"/team/data/hard") },
		"a link's target": func(s *site) error {
			link := s.top + "/" + fullCanary + "/link"
			return errors.Join(os.Remove(link), os.Symlink("fil", link))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.provision(t, options("ns/data", "pvc-1", at("team/data")))
			before := s.outside(t, "team/data")
			must(t, change(s))
			after := s.outside(t, "team/data")
			if want := name == "nothing" || name == "a volume's own content"; maps.Equal(before, after) != want {
				t.Errorf("the inventories are equal: %v", !want)
			}
		})
	}
}
