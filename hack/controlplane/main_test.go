package controlplane

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// helperEnv makes the test binary a program that starts a control plane, says
// so on standard output and waits to be killed.
const helperEnv = "CLAIMDIR_CONTROLPLANE_HELPER"

// helperReport is what it says.
type helperReport struct {
	Dir  string
	PIDs []int
}

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		if err := helper(); err != nil {
			fmt.Fprintln(os.Stderr, "helper:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func helper() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	cp, err := Start(ctx, Options{})
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(helperReport{cp.Dir(), cp.pids()}); err != nil {
		return err
	}
	<-ctx.Done()
	return cp.Stop()
}

func (cp *ControlPlane) pids() []int {
	var pids []int
	for _, p := range []*process{cp.etcd, cp.apiServer, cp.controllerManager} {
		pids = append(pids, p.PID())
	}
	return pids
}

func start(t *testing.T, opts Options) *ControlPlane {
	t.Helper()
	begin := time.Now()
	cp, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("started in %s, %d MB resident", time.Since(begin).Round(time.Millisecond), resident(t, cp.pids()))
	return cp
}

// resident sums the resident memory of the processes, in MB.
func resident(t *testing.T, pids []int) int {
	t.Helper()
	var pages int
	for _, pid := range pids {
		var size, rss int
		statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(string(statm), &size, &rss); err != nil {
			t.Fatal(err)
		}
		pages += rss
	}
	return pages * os.Getpagesize() >> 20
}

// alive reports whether a process runs; one that nobody has reaped yet does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(stat, []byte(") ")) // after the name
	return !bytes.HasPrefix(rest, []byte("Z"))
}

// eventually polls until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func kubectl(t *testing.T, cp *ControlPlane, args ...string) string {
	t.Helper()
	out, err := cp.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// leftovers lists what control planes left in dir.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "claimdir-controlplane-*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}
