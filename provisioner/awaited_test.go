package provisioner

import (
	"errors"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volume"
)

func TestWhatKeepsAReleasedVolume(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(w *copyWorld, claim *v1.PersistentVolumeClaim)
		kept   bool
	}{
		"a claim that waits":           {func(*copyWorld, *v1.PersistentVolumeClaim) {}, true},
		"one that came later":          {func(_ *copyWorld, c *v1.PersistentVolumeClaim) { c.CreationTimestamp = minute(21) }, false},
		"one that is deleted":          {func(_ *copyWorld, c *v1.PersistentVolumeClaim) { c.DeletionTimestamp = new(minute(20)) }, false},
		"one that is bound":            {func(_ *copyWorld, c *v1.PersistentVolumeClaim) { c.Spec.VolumeName = "pvc-1" }, false},
		"one of another namespace":     {func(_ *copyWorld, c *v1.PersistentVolumeClaim) { c.Namespace = "other" }, false},
		"one of another source":        {func(_ *copyWorld, c *v1.PersistentVolumeClaim) { c.Spec.DataSource.Name = "another" }, false},
		"one of another provisioner":   {func(w *copyWorld, _ *v1.PersistentVolumeClaim) { w.Seen.Classes["nfs"].Provisioner = "other" }, false},
		"one of no class":              {func(w *copyWorld, _ *v1.PersistentVolumeClaim) { delete(w.Seen.Classes, "nfs") }, false},
		"one that requests too little": {func(_ *copyWorld, c *v1.PersistentVolumeClaim) { c.Spec.Resources.Requests = gib("1Mi") }, false},
		"one that is copied while the source is expanded": {func(w *copyWorld, c *v1.PersistentVolumeClaim) {
			w.Copies.begun.begin(string(c.UID), copyPlace{})
			w.pvs["pvc-0"].Spec.Capacity = gib("2Gi")
		}, true},
		"one that is refused for its selector": {func(_ *copyWorld, c *v1.PersistentVolumeClaim) { c.Spec.Selector = &metav1.LabelSelector{} }, false},
		"nobody says when it was released":     {func(w *copyWorld, _ *v1.PersistentVolumeClaim) { w.pvs["pvc-0"].Status.LastPhaseTransitionTime = nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newCopyWorld(t)
			w.hasBound(t)
			o := w.wants(t, "copy", "pvc-1")
			pv := w.pvs["pvc-0"]
			pv.Status.Phase, pv.Status.LastPhaseTransitionTime = v1.VolumeReleased, new(minute(20))
			tt.change(w, o.PVC)
			err := w.Delete(t.Context(), pv)
			if !tt.kept {
				must(t, err)
				return
			}
			refused(t, err, refusal.ReasonBusy, false, `claim "copy" of namespace "ns" is to be a copy of this volume`)
			must(t, w.sameAsSource(t, "source"))
		})
	}
}

// keptUntil is when the archive and the snapshot of these tests end, or go.
const keptUntil = 20

// awaitedCase is what is true of a claim that may keep an archive or a snapshot.
type awaitedCase struct {
	change func(w *copyWorld, claim *v1.PersistentVolumeClaim)
	kept   bool
}

// awaitedCases are those of every kind of source.
func awaitedCases() map[string]awaitedCase {
	return map[string]awaitedCase{
		"a claim that waits":                   {func(*copyWorld, *v1.PersistentVolumeClaim) {}, true},
		"one that requests more":               {func(_ *copyWorld, c *v1.PersistentVolumeClaim) { c.Spec.Resources.Requests = gib("2Gi") }, true},
		"one that came at the last moment":     {func(_ *copyWorld, c *v1.PersistentVolumeClaim) { c.CreationTimestamp = minute(keptUntil) }, true},
		"one that came later":                  {func(_ *copyWorld, c *v1.PersistentVolumeClaim) { c.CreationTimestamp = minute(keptUntil + 1) }, false},
		"one that is deleted":                  {func(_ *copyWorld, c *v1.PersistentVolumeClaim) { c.DeletionTimestamp = new(minute(20)) }, false},
		"one that is bound":                    {func(_ *copyWorld, c *v1.PersistentVolumeClaim) { c.Spec.VolumeName = "pvc-1" }, false},
		"one of another namespace":             {func(_ *copyWorld, c *v1.PersistentVolumeClaim) { c.Namespace = "other" }, false},
		"one of another provisioner":           {func(w *copyWorld, _ *v1.PersistentVolumeClaim) { w.Seen.Classes["nfs"].Provisioner = "other" }, false},
		"one of no class":                      {func(w *copyWorld, _ *v1.PersistentVolumeClaim) { delete(w.Seen.Classes, "nfs") }, false},
		"one that requests too little":         {func(_ *copyWorld, c *v1.PersistentVolumeClaim) { c.Spec.Resources.Requests = gib("1023Mi") }, false},
		"one that is refused for its selector": {func(_ *copyWorld, c *v1.PersistentVolumeClaim) { c.Spec.Selector = &metav1.LabelSelector{} }, false},
	}
}

func TestWhatKeepsAnArchive(t *testing.T) {
	cases := awaitedCases()
	cases["one that wants the latest"] = awaitedCase{func(_ *copyWorld, c *v1.PersistentVolumeClaim) {
		c.Name, c.Annotations[volume.AnnotationRestoreCopy] = "data", volume.RestoreLatest
	}, true}
	cases["one that wants its own latest"] = awaitedCase{func(_ *copyWorld, c *v1.PersistentVolumeClaim) {
		c.Annotations[volume.AnnotationRestoreCopy] = volume.RestoreLatest
	}, false}
	cases["one of another archive"] = awaitedCase{func(_ *copyWorld, c *v1.PersistentVolumeClaim) { c.Annotations[volume.AnnotationRestoreCopy] = "pvc-8" }, false}
	cases["one with another source as well"] = awaitedCase{func(_ *copyWorld, c *v1.PersistentVolumeClaim) {
		c.Spec.DataSource = &v1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "source"}
	}, false}
	cases["one of a later namespace of the name"] = awaitedCase{func(w *copyWorld, _ *v1.PersistentVolumeClaim) { w.Seen.Namespaces["ns"] = "ns-later" }, false}
	cases["one of a later namespace, whose class adopts"] = awaitedCase{func(w *copyWorld, _ *v1.PersistentVolumeClaim) {
		w.Seen.Namespaces["ns"] = "ns-later"
		w.Seen.Classes["nfs"].Parameters["onExisting"] = "adopt"
	}, true}
	cases["one of a namespace that nobody knows"] = awaitedCase{func(w *copyWorld, _ *v1.PersistentVolumeClaim) { delete(w.Seen.Namespaces, "ns") }, false}
	cases["one of a namespace that cannot be asked"] = awaitedCase{func(w *copyWorld, _ *v1.PersistentVolumeClaim) {
		w.Seen.Silent = errors.New("timeout")
	}, true}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			w := newCopyWorld(t)
			archive := ledger.Record{
				State: ledger.Archived, Path: "archived-ns-data-pvc-9", PV: "pvc-9", Size: "1Gi", Until: new(minute(keptUntil).Time),
				Claim: ledger.Claim{Namespace: "ns", Name: "data", UID: "uid-9", NamespaceUID: "ns-uid"},
			}
			claim := w.wants(t, "copy", "pvc-1").PVC
			claim.Spec.DataSource = nil
			claim.Annotations = map[string]string{volume.AnnotationRestoreCopy: "pvc-9"}
			w.change(func() { tt.change(w, claim) })
			want := ""
			if tt.kept {
				want = claim.Name
			}
			if got := w.CopyOfArchive(t.Context(), archive); got != want {
				t.Errorf("it is kept for %q, want %q", got, want)
			}
			archive.Until = nil
			if got := w.CopyOfArchive(t.Context(), archive); got != "" {
				t.Errorf("one without an end is kept for %q", got)
			}
		})
	}
}

func TestWhatKeepsASnapshot(t *testing.T) {
	cases := awaitedCases()
	cases["one of another VolumeSnapshot"] = awaitedCase{func(_ *copyWorld, c *v1.PersistentVolumeClaim) { c.Spec.DataSource.Name = "other" }, false}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			w := newCopyWorld(t)
			claim := w.wants(t, "copy", "pvc-1").PVC
			claim.Spec.DataSource = &v1.TypedLocalObjectReference{APIGroup: new("snapshot.storage.k8s.io"), Kind: "VolumeSnapshot", Name: "now"}
			w.change(func() { tt.change(w, claim) })
			want := ""
			if tt.kept {
				want = "copy"
			}
			if got := w.RestoreOf("ns", "now", resource.MustParse("1Gi"), minute(keptUntil).Time); got != want {
				t.Errorf("it is kept for %q, want %q", got, want)
			}
		})
	}
}

// As the copy of a claim or of a snapshot, one of an archive requests as much as that did: otherwise it could be kept for a claim
// that counts for less.
func TestTheCopyOfAnArchiveRequestsAsMuch(t *testing.T) {
	for size, enough := range map[string]bool{"1023Mi": false, "1Gi": true} {
		t.Run(size, func(t *testing.T) {
			w := newCopyWorld(t)
			o := options("ns/data", "pvc-0", at("data", "onDelete", "archive"))
			pv := w.provision(t, o)
			w.Tree(t, "data/file")
			must(t, w.Delete(t.Context(), pv))
			o = w.wants(t, "copy", "pvc-1")
			o.PVC.Spec.DataSource, o.PVC.Spec.Resources.Requests = nil, gib(size)
			o.PVC.Annotations = map[string]string{volume.AnnotationRestoreCopy: "pvc-0"}
			_, err := w.made(t, o)
			if enough {
				must(t, err)
				return
			}
			refused(t, err, refusal.ReasonSource, true, "spec.resources.requests.storage 1023Mi: the archive of volume pvc-0, which is to be copied, has 1Gi; a copy must request at least as much")
		})
	}
}
