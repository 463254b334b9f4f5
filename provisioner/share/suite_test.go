package share

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"claimdir/provisioner/volpath"
)

// TestShare is what every directory that is used as a share must pass. TMPDIR
// puts it on a mounted export; make test-nfs does that, for all suites.
func TestShare(t *testing.T) {
	cases := map[string]func(*testing.T, site){}
	for _, part := range []map[string]func(*testing.T, site){createCases(), parentCases(), linkCases(), identityCases(), asideCases(), settleCases(), removeCases(), trashCases(), renameCases(), metaCases(), goneCases(), usageCases(), copyCases()} {
		maps.Copy(cases, part)
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) { test(t, newSite(t, t.TempDir())) })
	}
}

// site is a share and a directory outside of it.
type site struct {
	share   *Share
	dir     string // of the share
	outside string
}

func newSite(t *testing.T, dir string) site {
	t.Helper()
	s := site{dir: dir + "/share", outside: dir + "/outside"}
	must(t, os.Mkdir(s.dir, 0o755))
	must(t, os.Mkdir(s.outside, 0o755))
	var err error
	s.share, err = Open(s.dir)
	must(t, err)
	return s
}

// tree makes directories (names that end in "/") and files below dir.
func tree(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		full := dir + "/" + name
		if strings.HasSuffix(name, "/") {
			must(t, os.MkdirAll(full, 0o755))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(full), 0o755))
		must(t, os.WriteFile(full, []byte("content of "+name), 0o640))
	}
}

// snapshot lists everything below dir with all that a stranger could change.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		owner, _ := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%q %v %d:%d %v", strings.TrimPrefix(name, dir), info.Mode(), owner.Uid, owner.Gid, info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q", data)
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %q", target)
		}
		b.WriteByte('\n')
		return nil
	}))
	return b.String()
}

// untouched fails the test if anything below dir differs from before.
func untouched(t *testing.T, dir, before string) {
	t.Helper()
	if after := snapshot(t, dir); after != before {
		t.Errorf("touched:\nbefore\n%safter\n%s", before, after)
	}
}

// kept is untouched but for times.
func kept(t *testing.T, dir, before string) {
	t.Helper()
	times := regexp.MustCompile(`(?m)^(".*" \S+ \d+:\d+) -?\d+`)
	before, after := times.ReplaceAllString(before, "$1"), times.ReplaceAllString(snapshot(t, dir), "$1")
	if after != before {
		t.Errorf("changed:\nbefore\n%safter\n%s", before, after)
	}
}

func pathOf(t *testing.T, s string) volpath.Path {
	t.Helper()
	p, err := volpath.Parse(s)
	must(t, err)
	return p
}

// own is a name of a volume's own.
var own = volpath.Own("pvc-1", "cluster")

// identify returns which directory is at a path, by a call of its own.
func identify(t *testing.T, s *Share, name string) *Identity {
	t.Helper()
	id, err := s.Identify(pathOf(t, name))
	must(t, err)
	return id
}

// before is a Call that does something before the first call of the name. An error of it
// is that of the call, which is not made then.
func before(name string, do func() error) Call {
	done := false
	return func(called string, call func() error) error {
		if called == name && !done {
			done = true
			if err := do(); err != nil {
				return err
			}
		}
		return call()
	}
}

// modeOf is the mode as chmod(1) writes it, and fails if name is no directory.
func modeOf(t *testing.T, name string) uint32 {
	t.Helper()
	var stat syscall.Stat_t
	must(t, syscall.Lstat(name, &stat))
	if stat.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		t.Fatalf("%s is no directory", name)
	}
	return stat.Mode & 0o7777
}

func absent(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Lstat(name); !os.IsNotExist(err) {
		t.Errorf("%s is there (%v)", name, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mustBe fails the test if err says nothing of want, an error or a word.
func mustBe(t *testing.T, err error, want any) {
	t.Helper()
	if !matches(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// times is how often something is repeated, or how many there are of it: fewer
// with CLAIMDIR_TEST_BRIEF set, for a slow share.
func times(fast, slow int) int {
	if os.Getenv("CLAIMDIR_TEST_BRIEF") != "" {
		return slow
	}
	return fast
}

// only lets EmptyTrash remove the directory with this identity, or any if it is nil.
func only(id *Identity) func(found *Identity, begun bool) error {
	return func(found *Identity, _ bool) error {
		if id.Match(found) == Different {
			return ErrChanged
		}
		return nil
	}
}
