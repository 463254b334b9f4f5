//go:build vm

package nfscases

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// exported is a directory on the server, and the names that two clients have
// for it. Each test has its own.
type exported struct {
	t       *testing.T
	squash  string // no_root_squash or root_squash
	subtree string // below the export
}

// export makes a directory that everybody may write to.
func export(t *testing.T, squash string) exported {
	t.Helper()
	e := exported{t, squash, strings.ReplaceAll(t.Name(), "/", "-")}
	must(t, os.Mkdir(e.onServer(), 0o777))
	must(t, os.Chmod(e.onServer(), 0o777))
	t.Cleanup(func() { must(t, os.RemoveAll(e.onServer())) })
	return e
}

// setting is the version and the file system that this run is for.
func setting(t *testing.T) (version, filesystem string) {
	t.Helper()
	version, filesystem, ok := strings.Cut(os.Getenv("NFS_MOUNT"), "-")
	if !ok {
		t.Fatal("NFS_MOUNT names no version and file system, such as v4.1-xfs: run make test-nfs")
	}
	return version, filesystem
}

// other is the network of the second client.
func (e exported) other() string {
	_, filesystem := setting(e.t)
	return "other-" + filesystem
}

func (e exported) onServer(elements ...string) string {
	_, filesystem := setting(e.t)
	return filepath.Join(append([]string{"/srv", filesystem, e.squash, e.subtree}, elements...)...)
}

// mount gives the directory to this machine, with the options that claimdir's
// own mount has and these; mountOther to another client, with a network and a
// host name of its own.
func (e exported) mount(options ...string) string {
	e.t.Helper()
	return e.mountWith("nfs_mount", "", append([]string{os.Getenv("NFS_OPTIONS")}, options...)...)
}

func (e exported) mountOther(options ...string) string {
	e.t.Helper()
	return e.mountWith("nfs_mount_other", "", options...)
}

// mountWith mounts a directory below this one.
func (e exported) mountWith(function, below string, options ...string) string {
	e.t.Helper()
	version, filesystem := setting(e.t)
	dir := e.t.TempDir()
	e.shell(function+` "$@"`, version, filepath.Join(filesystem, e.squash, e.subtree, below), dir, strings.Join(options, ","))
	e.t.Cleanup(func() { e.shell(`nfs_umount "$1"`, dir) })
	return dir
}

// shell runs a line of bash that may use guest/nfs.sh, and returns its output. $other is the network of the second client.
func (e exported) shell(line string, args ...string) string {
	e.t.Helper()
	command := exec.Command("bash", append([]string{"-euc", ". /job/nfs.sh; " + line, "bash"}, args...)...)
	command.Env = append(os.Environ(), "other="+e.other())
	out, err := command.CombinedOutput()
	if err != nil {
		e.t.Fatalf("%s %q: %v\n%s", line, args, err, out)
	}
	return string(out)
}

func open(t *testing.T, dir string) *share.Share {
	t.Helper()
	s, err := share.Open(dir)
	must(t, err)
	return s
}

func pathOf(t *testing.T, s string) volpath.Path {
	t.Helper()
	p, err := volpath.Parse(s)
	must(t, err)
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// create makes a directory and what is missing above it, as provision does, and returns
// which it is.
func create(t *testing.T, s *share.Share, p volpath.Path, mode uint32) (id *share.Identity) {
	t.Helper()
	must(t, s.WithParents(p, func() (err error) {
		id, err = s.Create(p, share.Attributes{Mode: mode}, nil)
		return err
	}))
	return id
}

// archive moves a directory as the release of a volume does.
func archive(t *testing.T, s *share.Share, from, to string, id *share.Identity) {
	t.Helper()
	must(t, s.MakeMeta(share.MovingDir))
	must(t, s.SetAside(pathOf(t, from), share.MovingDir, volpath.Own("pvc-1", "cluster-1"), id))
	must(t, s.BringBack(share.MovingDir, volpath.Own("pvc-1", "cluster-1"), pathOf(t, to)))
}

// wantError fails unless err is that error; nil wants none.
func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// wantExists compares what is at a path.
func wantExists(t *testing.T, path string, want bool) {
	t.Helper()
	_, err := os.Lstat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if (err == nil) != want {
		t.Errorf("%s exists: %v, want %v", path, err == nil, want)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v; want %q", path, got, err, want)
	}
}
