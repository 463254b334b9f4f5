package faultfs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"claimdir/hack/child"
	"claimdir/hack/project"
)

// TestSuites holds this file system to what claimdir's own tests ask of a share,
// and claimdir to one where every call is a call. Each has a mount of its own, and waits
// for the disk under it much of its time.
func TestSuites(t *testing.T) {
	suites := func(uid uint32, packages ...string) {
		for _, pkg := range packages {
			t.Run(fmt.Sprintf("provisioner/%s as %d", pkg, uid), func(t *testing.T) {
				t.Parallel()
				suite(t, "provisioner/"+pkg, uid)
			})
		}
	}
	suites(0, "", "share", "ledger", "trash")
	// Root may do what modes forbid; with components/nonroot claimdir is not root.
	suites(65532, "share")
}

// hostile tests swap links and directories as fast as they can: one mount of make
// test-nfs has them.
const hostile = "^(Test|Fuzz)Hostile"

// repeated do one thing over and over, cut off at each of its calls or against another process: make test-unit runs them on a plain
// directory, and make test-nfs on NFS, some with --all alone.
const repeated = "CutOff|LikeAnyOther$|^TestAKillAnywhere|^TestOfTwoC|^TestACopyThatIsKilled|^TestACallThatComesLate"

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
	cmd := exec.Command(program, "-test.v=test2json", "-test.timeout=15m", "-test.skip="+hostile+"|"+repeated)
	cmd.Dir = filepath.Join(root, pkg)
	cmd.Env = append(os.Environ(), "TMPDIR="+s.dir, "CLAIMDIR_TEST_BRIEF=25")
	cmd.Stdout, cmd.Stderr = &out, &out
	if uid != 0 {
		cmd.Dir = "/" // its tests need no file, and may not get to the source
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		must(t, errors.Join(os.Chown(s.backing, int(uid), int(uid)), os.Chmod(filepath.Dir(program), 0o755), os.Chmod(filepath.Dir(filepath.Dir(program)), 0o755)))
	}
	start := time.Now()
	process, err := child.Start(cmd, syscall.SIGKILL)
	must(t, err)
	err = process.Err()
	took, calls := time.Since(start), total(s.Calls())-before

	tests := readResults(t, &out)
	passed, failed, skipped := len(tests["pass"]), len(tests["fail"]), len(tests["skip"])
	t.Logf("%s: %d tests passed, %d failed, %d skipped in %v, with %d calls", pkg, passed, failed, skipped, took.Round(time.Second/10), calls)
	switch {
	case err != nil || failed > 0:
		for _, output := range tests["fail"] {
			t.Log(output)
		}
		t.Errorf("%s: %v: these tests failed: %q", pkg, err, slices.Sorted(maps.Keys(tests["fail"])))
	case skipped > 0:
		t.Errorf("%s: tests are skipped: %q", pkg, slices.Sorted(maps.Keys(tests["skip"])))
	case passed == 0:
		t.Errorf("%s: no tests ran", pkg)
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

// readResults reads what a test program printed with -test.v=test2json: by result
// ("pass", "fail", "skip"), each test's output by the test's name. The program
// itself, as a test without a name, counts if it failed: its output says why it
// ended.
func readResults(t *testing.T, printed io.Reader) map[string]map[string]string {
	t.Helper()
	convert := exec.CommandContext(t.Context(), "go", "tool", "test2json")
	convert.Stdin = printed
	events, err := convert.Output()
	must(t, err)
	output, results := map[string]string{}, map[string]map[string]string{"pass": {}, "fail": {}, "skip": {}}
	for decoder := json.NewDecoder(bytes.NewReader(events)); ; {
		var event struct{ Action, Test, Output string }
		switch err := decoder.Decode(&event); {
		case errors.Is(err, io.EOF):
			return results
		case err != nil:
			t.Fatal(err)
		}
		output[event.Test] += event.Output
		if tests := results[event.Action]; tests != nil && (event.Test != "" || event.Action == "fail") {
			tests[event.Test] = output[event.Test]
		}
	}
}
