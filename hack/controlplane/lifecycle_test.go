package controlplane

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestStopLeavesNoProcessAndNoDirectory(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	cp := start(t, Options{})
	pids := cp.pids()
	begin := time.Now()
	if err := cp.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped in %s", time.Since(begin).Round(time.Millisecond))
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is alive", pid)
		}
	}
	if left := leftovers(t, os.TempDir()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := cp.Stop(); err != nil {
		t.Errorf("second Stop: %v", err)
	}
	if err := cp.StartAPIServer(t.Context()); err == nil {
		t.Error("the API server of a stopped control plane starts")
	}
}

func TestKeepDirKeepsTheDirectory(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	_, err := Start(t.Context(), Options{KeepDir: true, APIServerArgs: []string{"--no-such-flag"}})
	if err == nil {
		t.Fatal("no error for a flag that does not exist")
	}
	if left := leftovers(t, os.TempDir()); len(left) != 1 {
		t.Errorf("directories: %v, want one", left)
	}
}

func TestAFailedStartSaysWhyAndCleansUp(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	noSuchFlag := []string{"--no-such-flag"}
	for _, tc := range []struct {
		opts  Options
		wants []string
	}{
		{Options{APIServerArgs: noSuchFlag}, []string{"kube-apiserver ended: exit status 1", "unknown flag: --no-such-flag"}},
		{Options{ControllerManagerArgs: noSuchFlag}, []string{"kube-controller-manager ended: exit status 1", "unknown flag: --no-such-flag"}},
		{Options{Binaries: brokenEtcd(t)}, []string{"etcd ended: exit status 1"}},
	} {
		_, err := Start(t.Context(), tc.opts)
		if err == nil {
			t.Fatalf("no error, want %q", tc.wants)
		}
		for _, want := range tc.wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error lacks %q: %v", want, err)
			}
		}
	}
	if left := leftovers(t, os.TempDir()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// brokenEtcd is a set of programs whose etcd ends at once.
func brokenEtcd(t *testing.T) Binaries {
	t.Helper()
	binaries, err := Build(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	binaries.Etcd = filepath.Join(t.TempDir(), "etcd")
	if err := os.WriteFile(binaries.Etcd, []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return binaries
}

// The kernel must do it: a process killed so cannot clean up itself.
func TestChildrenDieWithAKilledParent(t *testing.T) {
	tmp := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"=1", "TMPDIR="+tmp)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var report helperReport
	if err := json.NewDecoder(stdout).Decode(&report); err != nil {
		t.Fatalf("read helper's report: %v, %v", err, cmd.Wait())
	}
	for _, pid := range report.PIDs {
		if !alive(pid) {
			t.Errorf("process %d is dead before its parent", pid)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // "signal: killed"
	eventually(t, "children end", func() bool { return !slices.ContainsFunc(report.PIDs, alive) })
}

func TestATakenPortIsNoticedAndAnotherOneTried(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cp := start(t, Options{})
	cp.StopAPIServer()
	var tried []int
	err = onFreePort(func(port int) error {
		tried = append(tried, port)
		if len(tried) == 1 {
			port = l.Addr().(*net.TCPAddr).Port
		}
		p, err := cp.runAPIServer(t.Context(), port)
		if err == nil {
			p.Kill()
		}
		return err
	})
	if err != nil || len(tried) != 2 {
		t.Errorf("tried ports %v: %v, want a second port to succeed", tried, err)
	}
	err = onFreePort(func(int) error { return errors.New("other") })
	if err == nil || err.Error() != "other" {
		t.Errorf("another error became %v", err)
	}
}
