package provisioner

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/steps"
)

// losing is a process for which the cluster says what is gone.
func (w *world) losing(gone func(ledger.Record) error, grace time.Duration, reported *[]string) *Provisioner {
	s := steps.New(steps.Config{
		Cluster: sharetest.Cluster, Objects: w.Seen, Grace: grace,
		Report: func(_ context.Context, _ ledger.Record, _, text string) { *reported = append(*reported, text) },
		Gone:   func(_ context.Context, r ledger.Record) error { return gone(r) },
	})
	return New(s, w.Seen, w.Keeper).Provisioners()[0]
}

func isGone(ledger.Record) error { return nil }

// The PersistentVolume was removed by force, and the claim is made again.
func TestALostVolumeEndsWhenItsClaimIsMadeAgain(t *testing.T) {
	const archive = "archived-ns-data-pvc-1"
	archived := []string{archive, archive + "/precious", archive + " = pvc-1 archived", "data", "data = pvc-2 active"}
	for policy, want := range map[string][]string{
		"retain":  {"data", "data/precious", "data = pvc-2 active"},
		"archive": archived,
		"delete":  archived,
	} {
		t.Run(policy, func(t *testing.T) {
			w := newWorld(t)
			w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", policy)))
			w.Tree(t, "data/precious")
			next := options("ns/data", "pvc-2", at("data", "onDelete", policy))
			var reported []string
			_, _, err := w.losing(isGone, 2*time.Hour, &reported).Provision(t.Context(), next)
			must(t, err)
			w.Holds(t, want...)
			if policy != "delete" {
				if len(reported) > 0 {
					t.Errorf("reported %q", reported)
				}
				return
			}
			r := w.Record(t, archive)
			if r.Until == nil || r.Until.Sub(*r.Released) != 2*time.Hour {
				t.Errorf("it expires %v after %v", r.Until, r.Released)
			}
			if len(reported) != 1 || !strings.Contains(reported[0], "it is archive "+archive+" for 2h0m0s") || !strings.Contains(reported[0], "claimdir/restore: pvc-1") {
				t.Errorf("reported %q", reported)
			}
		})
	}
	t.Run("delete without grace", func(t *testing.T) {
		w := newWorld(t)
		w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", "delete")))
		w.Tree(t, "data/precious")
		_, _, err := w.losing(isGone, 0, new([]string)).Provision(t.Context(), options("ns/data", "pvc-2", at("data")))
		must(t, err)
		w.Holds(t, "data", "data = pvc-2 active")
	})
}

func TestWhatIsNotLostIsLeftAlone(t *testing.T) {
	needed := errors.New("its PersistentVolume is there")
	for name, tt := range map[string]struct {
		claim string
		uid   string // of the new claim, if not its own
		gone  func(ledger.Record) error
	}{
		"its PersistentVolume is there": {"ns/data", "", func(ledger.Record) error { return needed }},
		"another claim asks":            {"ns/other", "", isGone},
		"another namespace asks":        {"other/data", "", isGone},
		"the same claim asks":           {"ns/data", "uid-pvc-1", isGone},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", "delete")))
			w.Tree(t, "data/precious")
			before := w.Snapshot(t)
			o := options(tt.claim, "pvc-2", at("data", "onExisting", "adopt"))
			if tt.uid != "" {
				o.PVC.UID = "uid-pvc-1"
			}
			_, _, err := w.losing(tt.gone, time.Hour, new([]string)).Provision(t.Context(), o)
			refused(t, err, refusal.ReasonTaken, false, `path "data" belongs to the volume pvc-1`)
			w.Untouched(t, before)
		})
	}
	t.Run("another cluster's", func(t *testing.T) {
		w := newWorld(t)
		w.beside(t, "cluster-2").provision(t, options("ns/data", "pvc-1", at("data")))
		_, _, err := w.losing(isGone, time.Hour, new([]string)).Provision(t.Context(), options("ns/data", "pvc-2", at("data")))
		refused(t, err, refusal.ReasonTaken, false, "of another namespace or cluster")
	})
}

func TestALostVolumeIsEndedLikeAnyOther(t *testing.T) {
	for policy, want := range map[string][]string{
		"retain": {"data", "data/precious", "data = pvc-2 active"},
		"delete": {"archived-ns-data-pvc-1", "archived-ns-data-pvc-1/precious", "archived-ns-data-pvc-1 = pvc-1 archived", "data", "data = pvc-2 active"},
	} {
		t.Run(policy, func(t *testing.T) {
			everywhere(t, func(t *testing.T, w *world) func() error {
				w.provision(t, options("ns/data", "pvc-1", at("data", "onDelete", policy)))
				w.Tree(t, "data/precious")
				return func() error {
					_, _, err := w.losing(isGone, time.Hour, new([]string)).Provision(t.Context(), options("ns/data", "pvc-2", at("data", "onDelete", policy)))
					return err
				}
			}, want...)
		})
	}
}
