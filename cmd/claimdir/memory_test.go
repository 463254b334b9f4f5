package main

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// The collector must run early where much memory is in use, and rarely where there is little.
func TestGarbageFollowsTheMemoryInUse(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	limitGarbage()
	in := make([]byte, 200<<20)
	percent := func(want func(int) bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; <-time.After(time.Millisecond) {
			runtime.GC()
			now := debug.SetGCPercent(100)
			debug.SetGCPercent(now)
			if want(now) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("it is %d %%", now)
			}
		}
	}
	percent(func(now int) bool { return now == garbagePercent })
	runtime.KeepAlive(in)
	percent(func(now int) bool { return now > 2*garbagePercent })
	for live, want := range map[uint64]int{0: 600, 4 << 20: 600, 8 << 20: 300, 80 << 20: 30, 200 << 20: 30} {
		if got := garbageFor(live); got != want {
			t.Errorf("%d bytes in use: %d %%, want %d %%", live, got, want)
		}
	}
}

func TestMemoryLimitFollowsTheContainer(t *testing.T) {
	for text, want := range map[string]int64{"268435456\n": 241591905, "max\n": 0, "": 0, "-1": 0, "0": 0, "x": 0} {
		if got := memoryLimit(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	file := filepath.Join(t.TempDir(), "memory.max")
	limitMemory(t.Context(), file) // there is none
	if now := debug.SetMemoryLimit(-1); now != before {
		t.Errorf("without a limit it is %d", now)
	}
	if err := os.WriteFile(file, []byte("1073741824\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOMEMLIMIT", "off")
	limitMemory(t.Context(), file)
	if now := debug.SetMemoryLimit(-1); now != before {
		t.Errorf("beside GOMEMLIMIT it is %d", now)
	}
	if err := os.Unsetenv("GOMEMLIMIT"); err != nil {
		t.Fatal(err)
	}
	limitMemory(t.Context(), file)
	if now := debug.SetMemoryLimit(-1); now != 966367638 {
		t.Errorf("it is %d", now)
	}
}
