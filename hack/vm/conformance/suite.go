package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"claimdir/hack/child"
	"claimdir/hack/controlplane"
)

//go:embed testdata/driver.yaml
var driver []byte

// top is the container of the suite's specs, which their names leave out.
const top = "External Storage [Driver: claimdir] "

// suite is Kubernetes' test binary with its runner.
type suite struct {
	binaries controlplane.ConformanceBinaries
	results  string // directory
	out      io.Writer
}

// spec is one test, after it ran.
type spec struct {
	name    string
	state   string // passed, failed, skipped and others of Ginkgo's
	message string // why, unless it passed
	took    time.Duration
	output  string
}

// ginkgoReport is the part of Ginkgo's report that matters here.
type ginkgoReport struct {
	SpecialSuiteFailureReasons []string
	SpecReports                []struct {
		ContainerHierarchyTexts    []string
		LeafNodeType, LeafNodeText string
		State                      string
		RunTime                    time.Duration
		Failure                    struct{ Message string }
		CapturedGinkgoWriterOutput string
	}
}

// invocation is one run of Ginkgo.
type invocation struct {
	name  string   // of the files that it leaves
	specs []string // nil for all
	procs int
	flags []string // of Ginkgo
	args  []string // of the tests
	env   []string
}

// registered returns the names of all specs that the driver file brings about,
// without running them.
func (s *suite) registered(ctx context.Context) ([]string, error) {
	specs, err := s.run(ctx, invocation{name: "dry-run", procs: 1, flags: []string{"--dry-run"}})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, spec := range specs {
		names = append(names, spec.name)
	}
	return names, nil
}

// run runs specs and returns how they ended. It is no error if some fail.
func (s *suite) run(ctx context.Context, i invocation) ([]spec, error) {
	driverFile := filepath.Join(s.results, "driver.yaml")
	if err := os.WriteFile(driverFile, driver, 0o644); err != nil {
		return nil, err
	}
	focus := regexp.QuoteMeta(top)
	if i.specs != nil {
		quoted := make([]string, len(i.specs))
		for n, name := range i.specs {
			quoted[n] = regexp.QuoteMeta(name)
		}
		focus += "(?:" + strings.Join(quoted, "|") + ")$"
	}
	file := filepath.Join(s.results, i.name+".json")
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	args := append([]string{"run", "-v", "--no-color", fmt.Sprint("--procs=", i.procs), "--focus=" + focus, "--timeout=24h",
		"--output-dir=" + s.results, "--json-report=" + i.name + ".json", "--junit-report=" + i.name + ".xml"}, i.flags...)
	args = append(args, s.binaries.E2ETest, "--", "-storage.testdriver="+driverFile)
	cmd := exec.Command(s.binaries.Ginkgo, append(args, i.args...)...)
	cmd.Dir, cmd.Env = s.results, append(os.Environ(), i.env...)
	failed := s.watch(ctx, cmd, i.name)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s: %w", i.name, ctx.Err())
	}
	specs, err := readReport(file)
	if err != nil { // it did not come to its end
		return nil, fmt.Errorf("%s: %w", i.name, errors.Join(failed, err))
	}
	return specs, nil
}

// watch runs Ginkgo to its end and says every minute how far it is.
func (s *suite) watch(ctx context.Context, cmd *exec.Cmd, name string) (err error) {
	log, err := os.Create(filepath.Join(s.results, name+".log"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	count := &counter{to: log}
	cmd.Stdout, cmd.Stderr = count, count
	begin := time.Now()
	c, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return err
	}
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fmt.Fprintf(s.out, "%s: %s, %s\n", name, count, time.Since(begin).Round(time.Second))
		case <-ctx.Done():
			// Started in the background, Ginkgo has no ear for milder signals, and its
			// processes must go too.
			_ = syscall.Kill(-c.PID(), syscall.SIGKILL)
			return c.Err()
		case <-c.Done:
			return c.Err()
		}
	}
}

// readReport returns the specs that ran, among the many that were not asked
// for.
func readReport(path string) ([]spec, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var reports []ginkgoReport
	if err := json.Unmarshal(data, &reports); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(reports) != 1 {
		return nil, fmt.Errorf("read %s: it has %d reports, not one", path, len(reports))
	}
	var specs []spec
	for _, r := range reports[0].SpecReports {
		if r.LeafNodeType != "It" {
			if r.State != "passed" {
				return nil, fmt.Errorf("%s %s: %s", r.LeafNodeType, r.State, r.Failure.Message)
			}
			continue
		}
		if r.State == "skipped" && r.Failure.Message == "" {
			continue
		}
		// Ginkgo's focus does not see containers without a text.
		containers := slices.DeleteFunc(r.ContainerHierarchyTexts, func(text string) bool { return text == "" })
		name := strings.Join(append(containers, r.LeafNodeText), " ")
		specs = append(specs, spec{strings.TrimPrefix(name, top), r.State, r.Failure.Message, r.RunTime, r.CapturedGinkgoWriterOutput})
	}
	// A suite may fail where no spec does, as at a time limit.
	for _, reason := range reports[0].SpecialSuiteFailureReasons {
		if len(specs) == 0 {
			return nil, errors.New(reason)
		}
	}
	return specs, nil
}

// counter counts the specs in Ginkgo's output on its way into a log.
type counter struct {
	to io.Writer

	mu           sync.Mutex
	rest         string // line that has not ended yet
	done, failed int
}

// Write counts the lines that Ginkgo begins with "•" or "S" for a spec.
func (c *counter) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := strings.Split(c.rest+string(p), "\n")
	c.rest = lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		switch {
		case strings.HasPrefix(line, "• ["):
			c.done++
			if strings.HasPrefix(line, "• [FAILED]") {
				c.failed++
			}
		case strings.HasPrefix(line, "S [SKIPPED]"):
			c.done++
		}
	}
	return c.to.Write(p)
}

// String says how far it is.
func (c *counter) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("%d specs done, %d failed", c.done, c.failed)
}
