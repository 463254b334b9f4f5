package main

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
)

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
