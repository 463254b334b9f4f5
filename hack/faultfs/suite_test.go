package faultfs

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"claimdir/hack/child"
	"claimdir/hack/project"
)

// TestSuites holds this file system to what claimdir's own tests ask of a share,
// and claimdir to one where every call is a call.
func TestSuites(t *testing.T) {
	for _, pkg := range []string{"share", "ledger", "trash", ""} {
		t.Run("provisioner/"+pkg, func(t *testing.T) { suite(t, "provisioner/"+pkg, 0) })
	}
	// Root may do what modes forbid; with components/nonroot claimdir is not root.
	t.Run("provisioner/share as another user", func(t *testing.T) { suite(t, "provisioner/share", 65532) })
}

// hostile tests swap links and directories as fast as they can, for minutes: one
// mount of make test-nfs has them.
const hostile = "^(Test|Fuzz)Hostile"

// suite runs a package's tests as a user, with their share on the mount. All must
// pass.
func suite(t *testing.T, pkg string, uid uint32) {
	t.Helper()
	root, err := project.Root()
	must(t, err)
	s, program := newSite(t), t.TempDir()+"/test"
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", program, "./"+pkg)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the tests of %s: %v\n%s", pkg, err, out)
	}
	before := total(s.Calls())
	var out bytes.Buffer
	cmd := exec.Command(program, "-test.v", "-test.timeout=5m", "-test.skip="+hostile)
	cmd.Dir = filepath.Join(root, pkg)
	cmd.Env = append(os.Environ(), "TMPDIR="+s.dir, "CLAIMDIR_TEST_BRIEF=1")
	cmd.Stdout, cmd.Stderr = &out, &out
	if uid != 0 {
		cmd.Dir = "/" // its tests need no file, and may not get to the source
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		must(t, errors.Join(os.Chown(s.backing, int(uid), int(uid)), os.Chmod(filepath.Dir(program), 0o755), os.Chmod(filepath.Dir(filepath.Dir(program)), 0o755)))
	}
	start := time.Now()
	tests, err := child.Start(cmd, syscall.SIGKILL)
	must(t, err)
	err = tests.Err()
	took, calls := time.Since(start), total(s.Calls())-before

	passed, failed, skipped := count(out.String(), "PASS"), count(out.String(), "FAIL"), count(out.String(), "SKIP")
	t.Logf("%s: %d tests passed, %d failed, %d skipped in %v, with %d calls", pkg, passed, failed, skipped, took.Round(time.Second/10), calls)
	switch {
	case err != nil || failed > 0:
		t.Errorf("%s: %v\n%s", pkg, err, &out)
	case skipped > 0:
		t.Errorf("%s: tests are skipped\n%s", pkg, &out)
	case passed == 0:
		t.Errorf("%s: no tests ran\n%s", pkg, &out)
	case calls < passed:
		t.Errorf("%s: %d tests made %d calls: they ran elsewhere", pkg, passed, calls)
	}
	if left := names(t, s.backing); len(left) > 0 {
		t.Errorf("%s left %q", pkg, left)
	}
}

func total(calls map[Call]int) (n int) {
	for _, of := range calls {
		n += of
	}
	return n
}

func count(out, verdict string) (n int) {
	for line := range strings.Lines(out) {
		if strings.HasPrefix(strings.TrimLeft(line, " "), "--- "+verdict+": ") {
			n++
		}
	}
	return n
}
