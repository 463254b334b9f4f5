package main

import (
	"os"
	"reflect"
	"slices"
	"testing"
	"time"
)

// TestTheCheckerFindsEachSabotage: claimdir is broken in each way, and the checker says so; of one that
// is not broken it says nothing.
func TestTheCheckerFindsEachSabotage(t *testing.T) {
	bed, err := startBed(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	results, err := runSabotages(t.Context(), bed, dir, sabotages(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if len(results) < 11 {
		t.Errorf("%d runs", len(results))
	}
	for _, r := range results {
		if err := r.missed(); err != nil {
			t.Error(err)
		}
	}
}

// TestOverlay: each sabotage finds its place in the source as it is now.
func TestOverlay(t *testing.T) {
	if _, err := writeOverlay(t.TempDir(), sabotages()); err != nil {
		t.Error(err)
	}
	if _, err := writeOverlay(t.TempDir(), []sabotage{{way: "x", changes: []edit{{"provisioner/doc.go", "not there", ""}}}}); err == nil {
		t.Error("a place that is not there is no error")
	}
}

// TestPlan: a seed replays.
func TestPlan(t *testing.T) {
	plan := func(seed uint64) Plan { return NewPlan(seed, 3*time.Minute, roles()) }
	if !reflect.DeepEqual(plan(1), plan(1)) {
		t.Error("a seed has two plans")
	}
	if reflect.DeepEqual(plan(1), plan(2)) {
		t.Error("two seeds have one plan")
	}
	for _, slot := range plan(1).Slots {
		for _, s := range slot.Stories {
			if classes()[s.Class] == nil {
				t.Errorf("%s: class %q is not there", slot.Name, s.Class)
			}
		}
	}
	var kinds []string
	held := map[int]bool{}
	long := NewPlan(1, 15*time.Minute, roles())
	for _, lane := range long.Lanes {
		for _, f := range lane.Faults {
			kinds = append(kinds, f.Kind)
			held[f.Pick] = held[f.Pick] || f.Kind == killAtStep
			if f.Kind == outage && f.Last != time.Minute {
				t.Errorf("in a long run the API server is stopped for %v", f.Last)
			}
		}
	}
	for i, step := range steps() {
		if !held[i] {
			t.Errorf("a long run does not kill %s", step.name)
		}
	}
	for _, kind := range []string{
		kill, killAll, killAtStep, pauseShort, pauseLong, lateCall, hang, lateAnswer, lostAnswer, failing, full, stale, slow,
		after500, conflict, tooMany, timeOut, cut, steal, outage,
	} {
		if !slices.Contains(kinds, kind) {
			t.Errorf("a long run has no %s", kind)
		}
	}
}
