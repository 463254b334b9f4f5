package provisioner

import (
	"syscall"
	"testing"
	"time"

	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volume"
)

// A release that failed half-way does not fix when the archive ends.
func TestTheRetentionCountsWhenTheArchiveIsMade(t *testing.T) {
	w := newWorld(t)
	pv := w.provision(t, options("ns/data", "pvc-1", at("data", "archiveRetention", "1ns")))
	w.Hook(func(name string, call func() error) error {
		if name == "rename data" {
			return syscall.EIO
		}
		return call()
	})
	if err := w.Delete(t.Context(), pv); err == nil {
		t.Fatal("it was released")
	}
	failed := w.Record(t, "archived-ns-data-pvc-1")
	if failed.Until == nil {
		t.Fatal("there is no record of the first try")
	}
	w.Hook(nil)
	pv.Annotations[volume.AnnotationArchiveRetention] = "720h" // an administrator saw the event
	must(t, w.Delete(t.Context(), pv))
	r := w.Record(t, "archived-ns-data-pvc-1")
	if !r.Released.After(*failed.Released) || r.Until.Sub(*r.Released) != 720*time.Hour {
		t.Errorf("released %v, until %v", r.Released, r.Until)
	}
}

func TestTheRetentionOfTheVolumeCounts(t *testing.T) {
	for name, tt := range map[string]struct {
		class     []string
		annotated string
		want      time.Duration
	}{
		"the class's":                     {class: []string{"archiveRetention", "48h"}, want: 48 * time.Hour},
		"the annotation's":                {annotated: "90m", want: 90 * time.Minute},
		"the annotation before the class": {class: []string{"archiveRetention", "48h"}, annotated: "90m", want: 90 * time.Minute},
		"the annotation's, in days":       {annotated: "30d", want: 720 * time.Hour},
		"none":                            {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			pv := w.provision(t, options("ns/data", "pvc-1", at("data", tt.class...)))
			if tt.annotated != "" {
				pv.Annotations[volume.AnnotationArchiveRetention] = tt.annotated
			}
			must(t, w.Delete(t.Context(), pv))
			r := w.Record(t, "archived-ns-data-pvc-1")
			if tt.annotated == "30d" && r.ArchiveRetention != "720h" {
				t.Errorf("the record says %q, which an earlier claimdir cannot read", r.ArchiveRetention)
			}
			if (r.Until == nil) != (tt.want == 0) || r.Until != nil && r.Until.Sub(*r.Released) != tt.want {
				t.Errorf("until %v, released %v", r.Until, r.Released)
			}
		})
	}
	t.Run("a mistake", func(t *testing.T) {
		w := newWorld(t)
		pv := w.provision(t, options("ns/data", "pvc-1", at("data")))
		pv.Annotations[volume.AnnotationArchiveRetention] = "30 days"
		before := w.Snapshot(t)
		refused(t, w.Delete(t.Context(), pv), refusal.ReasonVolume, true, volume.AnnotationArchiveRetention, `"30 days"`, `"30d" (30 days)`)
		w.Untouched(t, before)
	})
}
