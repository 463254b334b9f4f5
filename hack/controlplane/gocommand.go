package controlplane

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"claimdir/hack/child"
)

// goCommand runs the go command in a module and reports how far it is.
type goCommand struct {
	name     string // what is built, for people
	dir      string
	env      []string // added to cleanEnv
	progress io.Writer
	every    time.Duration
}

// build builds a set into out.
func (g *goCommand) build(ctx context.Context, s set, out, version string) error {
	fmt.Fprintf(g.progress, "%s: building %s %s into the cache, once; about %d minutes on 2 cores\n", g.name, s.module, version, s.minutes)
	begin := time.Now()
	packages, err := g.run(ctx, "fetch modules", &meter{}, append([]string{"list", "-deps"}, s.packages()...)...)
	if err != nil {
		return err
	}
	// What Go's cache holds is not compiled again, so the count may stop early.
	m := &meter{total: strings.Count(packages, "\n")}
	for _, args := range s.recipe(out, version) {
		if _, err := g.run(ctx, "compile and link", m, args...); err != nil {
			return err
		}
	}
	fmt.Fprintf(g.progress, "%s: built in %s\n", g.name, elapsed(begin))
	return nil
}

// run executes one go command and returns what it prints; stderr counts what it
// says meanwhile.
func (g *goCommand) run(ctx context.Context, step string, stderr *meter, args ...string) (string, error) {
	env, err := cleanEnv(os.Environ())
	if err != nil {
		return "", err
	}
	var stdout strings.Builder
	cmd := exec.CommandContext(ctx, "go", args...)
	env = append(env, g.env...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = g.dir, env, &stdout, stderr
	// Compilers and linkers are grandchildren: end the whole group with go.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	begin := time.Now()
	c, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return "", fmt.Errorf("%s: %w", step, err)
	}
	tick := time.NewTicker(g.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fmt.Fprintf(g.progress, "%s: %s: %s, %s%s\n", g.name, step, stderr, elapsed(begin), stderr.left(time.Since(begin)))
		case <-c.Done:
			if ctx.Err() != nil {
				return "", fmt.Errorf("%s: %w", step, ctx.Err())
			}
			if err := c.Err(); err != nil {
				return "", fmt.Errorf("%s: go %s: %w\n%s", step, args[0], err, stderr.tail())
			}
			return stdout.String(), nil
		}
	}
}

// cleanEnv is the caller's environment without what would change the build:
// a -race or -mod in GOFLAGS must not reach it. GOFLAGS gets a value instead of
// none: go takes an empty one for unset and looks into its own settings file.
// HOME, if unset, is set: go keeps its caches there.
func cleanEnv(environ []string) ([]string, error) {
	fixed := []string{
		"GOFLAGS=-buildvcs=false", "GOWORK=off", "CGO_ENABLED=0", "GO111MODULE=on",
		"GOOS=" + runtime.GOOS, "GOARCH=" + runtime.GOARCH,
	}
	home, err := homeDir()
	if err != nil {
		return nil, err
	}
	env := slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains([]string{"HOME", "GOTMPDIR", "GOEXPERIMENT"}, name) || slices.ContainsFunc(fixed, func(f string) bool {
			return strings.HasPrefix(f, name+"=")
		})
	})
	return append(append(env, "HOME="+home), fixed...), nil
}
