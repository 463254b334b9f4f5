package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What a shell is offered, without the line that says how.
func TestCompletion(t *testing.T) {
	a := newList(t)
	a.program = func(c *call) int {
		fmt.Fprint(c.stdout, `[{"namespace":"team","claim":"data","volume":"pvc-1","path":"a"},{"namespace":"team","claim":"data","volume":"pvc-2","path":"b"},{"path":"c"},{"namespace":"other","claim":"x","path":"d"}]`)
		return 0
	}
	for line, want := range map[string]string{
		"":                      "archive doctor help list recover snapshot status usage version",
		"archive ":              "list purge restore",
		"archive re":            "restore",
		"archive restore ":      "other/x team/data",
		"archive restore te":    "team/data",
		"archive restore x/y ":  "",
		"archive purge x/y te":  "team/data",
		"snapshot list ":        "other/x team/data",
		"list ot":               "other/data",
		"archive purge --en":    "--ended",
		"usage --namespace ":    "claimdir team",
		"usage --context th":    "there",
		"archive list nothing ": "",
	} {
		args := strings.Split(line, " ")
		r := a.kubectl(append([]string{"__complete"}, args...)...)
		var got []string
		for text := range strings.Lines(r.out) {
			name, _, _ := strings.Cut(strings.TrimSpace(text), "\t")
			if !strings.HasPrefix(name, ":") {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %q, want %q; %s", line, got, want, r.stderr)
		}
	}
	a.refuse = []string{"/api/v1/pods", "/api/v1/namespaces/mine/pods", "/api/v1/namespaces"}
	for _, line := range []string{"archive restore ", "list ", "usage --namespace "} {
		r := a.kubectl(append([]string{"__complete"}, strings.Split(line, " ")...)...)
		if r.want(t, exitDone); strings.Count(r.out, "\n") != 1 {
			t.Errorf("%q without rights: %s", line, r.out)
		}
	}
}

// kubectl runs the script with the words of the command line, and the script the plugin.
func TestTheScriptForCompletion(t *testing.T) {
	dir := t.TempDir()
	kubectl := "#!/bin/sh\nprintf '[%s]' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "kubectl"), []byte(kubectl), 0o755); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("kubectl_complete-claimdir")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), script, "archive", "")
	cmd.Env = []string{"PATH=" + dir + ":/bin:/usr/bin"}
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "[claimdir][__complete][archive][]" {
		t.Errorf("%s, %v", out, err)
	}
}
