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
	s := &site{world: newWorld(t)}
	s.top, s.dir = s.dir, s.dir+"/share" // the share moves one down
	must(t, os.RemoveAll(s.top+"/.claimdir"))
	must(t, os.Mkdir(s.dir, 0o755))
	s.restart(t)
	for _, digit := range "0123456789abcdef" { // made when needed: no inventory is to miss them
		must(t, os.MkdirAll(s.dir+"/.claimdir/tmp-"+string(digit), 0o700))
	}
	s.provision(t, options("rival/confidential", "pvc-rival", at("rival/volumes")))
	s.tree(t, "rival/volumes/file", "rival/volumes/tree/file", "rival/volumes/empty/", "stranger/volumes/file", "stranger/file")
	for _, dir := range []string{"/" + fullCanary, ""} { // "" is where ".." leads to
		s.tree(t, "../"+dir+"/volumes/file", "../"+dir+"/volumes/tree/file", "../"+dir+"/tree/file")
	}
	s.tree(t, "../"+emptyCanary+"/volumes/", "../"+emptyCanary+"/tree/", "../"+bareCanary+"/")
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
	s.emptyTrash(t) // which reaches nothing else either
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
		if strings.HasPrefix(full, "share/.claimdir/volumes/") && w.owned(recordedPath(data)) {
			return nil
		}
		if path := recordedPath(data); strings.HasPrefix(full, "share/.claimdir/parents/") && (w.owned(path) || w.above("share/"+path)) {
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
	return slices.Contains([]string{"share", "share/.claimdir", "share/.claimdir/volumes", "share/.claimdir/parents", "share/.claimdir/trash"}, full) || strings.HasPrefix(full, "share/.claimdir/tmp-") && strings.Count(full, "/") == 2 ||
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
		if !there && strings.HasPrefix(is, "drwxr-xr-x ") && strings.HasSuffix(is, "(on the way)") || was == is {
			continue
		}
		if !there {
			was = "absent"
		}
		wrong = append(wrong, fmt.Sprintf("%q was %s, is %s", name, was, is))
	}
	for name := range maps.Keys(before) {
		ours := strings.HasPrefix(before[name], "drwxr-xr-x ") && strings.HasSuffix(before[name], "(on the way)") // made for the volume: see parents_test.go
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
		"a volume's own content": func(s *site) error { return os.WriteFile(s.dir+"/team/data/file", nil, 0o600) },
		"content":                func(s *site) error { return os.WriteFile(s.dir+"/rival/volumes/file", []byte("x"), 0o600) },
		"content of the canary":  func(s *site) error { return os.WriteFile(s.top+"/"+fullCanary+"/volumes/file", []byte("x"), 0o600) },
		"a mode":                 func(s *site) error { return os.Chmod(s.top+"/"+emptyCanary+"/volumes", 0o751) },
		"the mode of the parent": func(s *site) error { return os.Chmod(s.dir+"/team", 0o777) },
		"a new directory":        func(s *site) error { return os.Mkdir(s.top+"/"+bareCanary+"/x", 0o755) },
		"a new neighbour":        func(s *site) error { return os.Mkdir(s.dir+"/team/data2", 0o755) },
		"a neighbour's record":   func(s *site) error { return os.Remove(s.dir + "/.claimdir/volumes/rival%2Fvolumes.json") },
		"a temporary file":       func(s *site) error { return os.WriteFile(s.dir+"/.claimdir/tmp-0/x", nil, 0o600) },
		"a name":                 func(s *site) error { return os.Rename(s.dir+"/stranger/file", s.dir+"/stranger/fil") },
		"a time":                 func(s *site) error { return os.Chtimes(s.dir+"/stranger/file", time.Time{}, time.Unix(1, 0)) },
		"the number of links":    func(s *site) error { return os.Link(s.dir+"/stranger/file", s.dir+"/team/data/hard") },
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
