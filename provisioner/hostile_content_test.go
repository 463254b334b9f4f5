package provisioner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"claimdir/provisioner/refusal"
	"claimdir/provisioner/sharetest"
)

// content is what a tenant leaves in a volume: each makes something in dir. An
// unprivileged user can make all of it.
func (s *site) content() map[string]func(dir string) error {
	links := func(targets map[string]string) func(string) error {
		return func(dir string) error {
			var errs []error
			for name, target := range targets {
				errs = append(errs, os.Symlink(target, dir+"/"+name))
			}
			return errors.Join(errs...)
		}
	}
	return map[string]func(string) error{
		"nothing": func(string) error { return nil },
		"links outside": links(map[string]string{
			"full": s.top + "/" + fullCanary, "empty": s.top + "/" + emptyCanary, "file": s.top + "/" + fullCanary + "/volumes/file",
			"root": s.top, "relative": "../../../" + fullCanary, "link": s.top + "/" + fullCanary + "/link",
		}),
		"links into the share": links(map[string]string{
			"rival": s.Dir + "/rival", "relative": "../../rival/volumes", "records": "../../.claimdir", "share": s.Dir, "parent": "..", "grandparent": "../..",
			"record": s.Dir + "/.claimdir/records/rival%2Fvolumes/" + s.recordName("pvc-rival"),
		}),
		"links nowhere": links(map[string]string{"self": "self", "here": ".", "nowhere": "nowhere", "long": strings.Repeat("x/", 2000) + "x", "new\nline": "/\n"}),
		"hard links":    s.hardLinks,
		"pipes":         func(dir string) error { return syscall.Mkfifo(dir+"/pipe", 0o666) },
		"sockets":       func(dir string) error { return unix.Mknod(dir+"/socket", unix.S_IFSOCK|0o666, 0) },
		"closed trees":  closedTrees,
		"sticky trees":  stickyTrees,
		"special bits":  specialBits,
		"a deep tree":   deepTree,
		"a large one":   largeDirectory,
		"names":         oddNames,
		"a share in it": fakeShare,
		"what is open":  openFiles,
		"a sparse file": func(dir string) error {
			return errors.Join(os.WriteFile(dir+"/file", nil, 0o600), os.Truncate(dir+"/file", 1<<35))
		},
	}
}

// hardLinks gives files of others a second name. A tenant may do that where it
// may write to both, or reads the other and the kernel does not protect it.
func (s *site) hardLinks(dir string) error {
	return errors.Join(
		os.Link(s.top+"/"+fullCanary+"/volumes/file", dir+"/canary"),
		os.Link(s.Dir+"/rival/volumes/file", dir+"/rival"),
		os.Link(s.Dir+"/.claimdir/records/rival%2Fvolumes/"+s.recordName("pvc-rival"), dir+"/record.json"),
		os.Mkdir(dir+"/sub", 0o700),
		os.Link(s.Dir+"/stranger/file", dir+"/sub/stranger"),
	)
}

func closedTrees(dir string) error {
	return errors.Join(
		os.MkdirAll(dir+"/closed/deep/deeper", 0o755), os.WriteFile(dir+"/closed/deep/file", nil, 0),
		os.MkdirAll(dir+"/frozen", 0o755), os.WriteFile(dir+"/frozen/file", nil, 0o400), os.Chmod(dir+"/frozen", 0o500),
		os.Chmod(dir+"/closed/deep", 0), os.Chmod(dir+"/closed", 0),
	)
}

// open takes back what closedTrees did, for the owner who is not root.
func open(dir string) {
	for _, name := range []string{"", "/closed", "/closed/deep", "/frozen"} {
		_ = os.Chmod(dir+name, 0o755) // most have none
	}
}

func stickyTrees(dir string) error {
	return errors.Join(
		os.MkdirAll(dir+"/sticky/sticky", 0o755), os.Symlink("../../../..", dir+"/sticky/sticky/out"),
		os.Chmod(dir+"/sticky/sticky", 0o777|fs.ModeSticky), os.Chmod(dir+"/sticky", 0o777|fs.ModeSticky),
	)
}

func specialBits(dir string) error {
	return errors.Join(
		os.WriteFile(dir+"/setuid", []byte("#!"), 0o755), os.Chmod(dir+"/setuid", 0o755|fs.ModeSetuid),
		os.Mkdir(dir+"/setgid", 0o755), os.Chmod(dir+"/setgid", 0o777|fs.ModeSetgid), os.Chmod(dir, 0o777),
	)
}

// deepTree is one that no path reaches in a single system call.
func deepTree(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return root.MkdirAll(strings.Repeat(strings.Repeat("d", 100)+"/", times(400, 60)), 0o755)
}

func largeDirectory(dir string) error {
	for i := range times(5000, 300) {
		name := fmt.Sprintf("%s/%05d", dir, i)
		err := os.WriteFile(name, nil, 0o600)
		if i%10 == 0 {
			err = errors.Join(err, os.Symlink("../../rival/volumes", name+".link"), os.Mkdir(name+".dir", 0o700))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func oddNames(dir string) error {
	var errs []error
	for _, name := range []string{"-rf", "*", "...", " ", "a\nb", "\x1b[2J", "\\..", ".claimdir", "archived-x", "%2F", "volumes", strings.Repeat("n", 255)} {
		errs = append(errs, os.Mkdir(dir+"/"+name, 0o700), os.WriteFile(dir+"/"+name+"/..x", nil, 0o600))
	}
	return errors.Join(errs...)
}

// fakeShare makes a volume look like a share, with records and archives.
func fakeShare(dir string) error {
	return errors.Join(
		os.MkdirAll(dir+"/.claimdir/records", 0o700), os.MkdirAll(dir+"/archived-ns-data-pvc-1", 0o700), os.Mkdir(dir+"/team", 0o700),
		os.WriteFile(dir+"/.claimdir/records/rival%2Fvolumes.json", []byte(`{"layout":1,"path":"rival/volumes"}`), 0o600),
	)
}

// openFiles leaves a file open: on NFS its name stays in another form until it
// is closed, which is before the release here, as a node unmounts first.
func openFiles(dir string) error {
	file, err := os.Create(dir + "/open")
	if err != nil {
		return err
	}
	return errors.Join(os.Remove(dir+"/open"), file.Close(), os.WriteFile(dir+"/closed", nil, 0o600))
}

func TestHostileWhateverATenantLeavesIsReleasedAloneAndWhole(t *testing.T) {
	for what := range (&site{world: &world{World: &sharetest.World{}}}).content() {
		for _, policy := range []string{"delete", "archive", "retain"} {
			if what == "a large one" && policy != "delete" { // only a removal goes into it
				continue
			}
			t.Run(what+" "+policy, func(t *testing.T) {
				s := newSite(t)
				const own, archive = "team/data", "archived-ns-data-pvc-1"
				pv := s.provision(t, options("ns/data", "pvc-1", at(own, "onDelete", policy)))
				before := s.outside(t, own, archive)
				must(t, s.content()[what](s.Dir+"/"+own))
				inside := s.inside(t, own)
				err := s.Delete(t.Context(), pv)
				if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 && what == "closed trees" {
					refused(t, err, refusal.ReasonStorage, false) // only root takes it; anybody else must hear of it
					open(s.Dir + "/" + own)
					err = s.Delete(t.Context(), pv)
				}
				must(t, err)
				switch policy {
				case "archive":
					inside.same(t, s.inside(t, archive))
				case "retain":
					inside.same(t, s.inside(t, own))
				}
				if left := s.inside(t, own); policy != "retain" && len(left) > 0 {
					t.Errorf("left are %v", left)
				}
				open(s.Dir + "/" + own) // for the one who clears up
				open(s.Dir + "/" + archive)
				if policy == "delete" {
					before.same(t, s.outside(t, own, archive))
					return
				}
				// A file with a name in the volume too has one link more.
				must(t, os.RemoveAll(s.Dir+"/"+own))
				must(t, os.RemoveAll(s.Dir+"/"+archive))
				before.same(t, s.outside(t, own, archive))
			})
		}
	}
}

// inside is what lies below the directory at name on the share; nothing if
// there is no such directory.
func (s *site) inside(t *testing.T, name string) inventory {
	t.Helper()
	found := inventory{}
	for full, is := range s.outside(t) {
		if below, ok := strings.CutPrefix(full, "share/"+name+"/"); ok {
			found[below] = is
		}
	}
	return found
}
