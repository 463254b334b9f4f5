package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"claimdir/hack/chaos/check"
	"claimdir/hack/testbed"
)

// atOnce is how many broken claimdirs run at a time.
const atOnce = 5

// scenario is a short plan with one kill in its middle, in which each of the sabotages does something.
func scenario() (p Plan, duration time.Duration) {
	tell := func(role Role, stories ...Story) {
		p.Slots = append(p.Slots, Slot{Name: fmt.Sprintf("%s-%02d", role, len(p.Slots)), Role: role, Stories: stories})
	}
	archive := Story{Class: "archive"}
	tell(Unique, archive, archive, Story{Class: "archive", Restore: Latest}, Story{Class: "delete"})
	tell(Shared, Story{Class: "expire-path"}, Story{Class: "archive-path"}, Story{Class: "delete-path"})
	tell(Contended, Story{Class: "contended", Hold: 300 * time.Millisecond})
	tell(Contended, Story{Class: "contended", Hold: 300 * time.Millisecond})
	tell(Retained, Story{Class: "retain-path"})
	tell(Adopting, Story{Class: "adopt-archive", Hold: time.Second}, Story{Class: "adopt-delete", Hold: time.Second, Stay: true}, Story{Class: "adopt-retain", Stay: true})
	tell(Handing, Story{Class: "archive", HandOn: true}, Story{Class: "delete", HandOn: true}, Story{Class: "retain", HandOn: true})
	tell(Resident, Story{Class: "retain-path", Hold: time.Hour, Stay: true})
	tell(Unique, Story{Class: "expire-slow"})
	slow := p.Slots[len(p.Slots)-1].Name // its archives must be there when claimdir comes back from the kill and looks for what has expired
	p.Lanes = []Lane{{Name: "process", Faults: []Fault{{Kind: kill, Wait: 10 * time.Second, After: slow}}}}
	return p, 20 * time.Second
}

// result is what the checker said of one claimdir.
type result struct {
	sabotage
	violations []check.Violation
	err        error
}

// missed says what is wrong with the result itself, or nil: of a sabotage something must be found, and of
// an unbroken claimdir nothing.
func (r result) missed() error {
	texts := make([]string, len(r.violations))
	for i, v := range r.violations {
		texts[i] = v.Text
	}
	switch {
	case r.err != nil:
		return fmt.Errorf("%s: %w", r.way, r.err)
	case r.want == "" && len(texts) > 0:
		return fmt.Errorf("the checker finds in an unbroken claimdir:\n%s", strings.Join(texts, "\n"))
	case r.want != "" && !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, r.want) }):
		return fmt.Errorf("claimdir %s, and the checker does not say %q; it says:\n%s", r.way, r.want, strings.Join(texts, "\n"))
	}
	return nil
}

// runSabotages runs an unbroken claimdir, and a broken one for each sabotage, and returns what the
// checker said of each.
func runSabotages(ctx context.Context, bed *testbed.Bed, dir string, all []sabotage, progress io.Writer) ([]result, error) {
	fmt.Fprintln(progress, "Building a claimdir that can be broken in", len(all), "ways")
	overlay, err := writeOverlay(dir, all)
	if err != nil {
		return nil, err
	}
	program, err := bed.Build(ctx, "sabotaged", "-overlay="+overlay)
	if err != nil {
		return nil, err
	}
	results := make([]result, len(all)+1)
	slots := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	for i := range results {
		if i > 0 {
			results[i].sabotage = all[i-1]
		}
		running.Go(func() {
			slots <- struct{}{}
			r := &results[i]
			name := fmt.Sprintf("world%02d", i)
			r.violations, r.err = runSabotage(ctx, bed, filepath.Join(dir, name), testbed.Config{Program: program, Env: []string{sabotageEnv + "=" + r.way}})
			fmt.Fprintf(progress, "%s: claimdir %q: %d violations %v\n", name, r.way, len(r.violations), r.violations[:min(1, len(r.violations))])
			<-slots
		})
	}
	running.Wait()
	return results, nil
}

func runSabotage(ctx context.Context, bed *testbed.Bed, dir string, as testbed.Config) (violations []check.Violation, err error) {
	w, err := newWorld(ctx, bed, dir, filepath.Base(dir), 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	w.as = as
	p, duration := scenario()
	patience := 30 * time.Second
	if as.Env[0] == sabotageEnv+"=" { // this one must become quiet, also on a busy machine
		patience = 2 * time.Minute
	}
	return w.run(ctx, p, duration, settling{patience: patience, all: true}, io.Discard)
}

// sabotageAll is main with -sabotage.
func sabotageAll(ctx context.Context, bed *testbed.Bed, dir string) (missed error) {
	results, err := runSabotages(ctx, bed, dir, sabotages(), os.Stdout)
	if err != nil {
		return err
	}
	for _, r := range results {
		missed = errors.Join(missed, r.missed())
	}
	if missed == nil {
		fmt.Printf("the checker finds each of %d sabotages, and nothing without one\n", len(results)-1)
	}
	return missed
}
