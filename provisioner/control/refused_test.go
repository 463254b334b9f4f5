package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"
)

// refusedNames are the claims that are refused, each with its reason and text.
func (w *world) refusedNames() (names []string) {
	list, total, more := w.controller.Refused(100)
	for _, r := range list {
		names = append(names, fmt.Sprintf("%s/%s %s %s: %s", r.Namespace, r.Name, r.Class, r.Reason, r.Text))
		if r.Since.IsZero() {
			w.t.Errorf("%s has no time", r.Name)
		}
	}
	if total != len(names) || more {
		w.t.Errorf("%d of %d are listed, more: %v", len(names), total, more)
	}
	slices.Sort(names)
	return names
}

func (w *world) refusedBecome(why string, want ...string) {
	w.t.Helper()
	w.eventually(why, func() bool { return slices.Equal(w.refusedNames(), want) })
}

// A claim is refused until it is bound, deleted or somebody else's.
func TestRefusedAreClaimsWhoseRefusalStands(t *testing.T) {
	two := newClaim("two", "nfs")
	two.Annotations = map[string]string{v1.BetaStorageClassAnnotation: "nfs"}
	two.Spec.StorageClassName = new("other")
	w := newWorld(t, newClass("nfs"), newClaim("final", "nfs"), newClaim("again", "nfs"), newClaim("good", "nfs"), newClaim("ignored", "nfs"), two)
	var mu sync.Mutex
	text := "ask for less"
	w.provisioner.onProvision = func(_ context.Context, o controller.ProvisionOptions) error {
		mu.Lock()
		defer mu.Unlock()
		switch o.PVC.Name {
		case "final":
			if text != "" {
				return final(text)
			}
		case "again":
			return errors.New("disk full")
		case "ignored":
			return &controller.IgnoredError{Reason: "a populator's"}
		}
		return nil
	}
	w.start()
	claims := func(more ...string) []string {
		return append(more, `team/two nfs claim: annotation volume.beta.kubernetes.io/storage-class is "nfs", and spec.storageClassName is "other": remove the annotation, or make both the same`)
	}
	w.refusedBecome("three are refused", claims("team/again nfs other: disk full", "team/final nfs claim: ask for less")...)
	set := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		text = s
	}
	change := func(label string) {
		t.Helper()
		claim := newClaim("final", "nfs")
		claim.Labels = map[string]string{label: "true"}
		if err := w.main.Tracker().Update(claimsResource, claim, claim.Namespace); err != nil {
			t.Fatal(err)
		}
	}
	set("ask for much less")
	change("a")
	w.refusedBecome("the last reason counts", claims("team/again nfs other: disk full", "team/final nfs claim: ask for much less")...)
	set("")
	change("b")
	w.refusedBecome("what is provisioned is not refused", claims("team/again nfs other: disk full")...)
	if err := w.main.Tracker().Delete(claimsResource, "team", "again"); err != nil {
		t.Fatal(err)
	}
	w.refusedBecome("nor is what was deleted", claims()...)
	if err := w.main.Tracker().Delete(classesResource, "", "nfs"); err != nil {
		t.Fatal(err)
	}
	w.refusedBecome("nor what nobody's class has")
}

func TestAVolumeThatIsNotSavedIsARefusal(t *testing.T) {
	w := newWorld(t)
	w.start()
	claim := newClaim("a", "nfs")
	w.add(newClass("nfs"), claim)
	pv := newReleased("pvc-x")
	pv.Spec.ClaimRef = &v1.ObjectReference{Namespace: "team", Name: "a", UID: claim.UID}
	watch := &saveWatch{w.controller.gate, w.controller.recorder, w.controller.metrics, w.controller.claims}
	w.eventually("the class and the claim are known", func() bool {
		watch.observe(pv, apierrors.NewInvalid(schema.GroupKind{Kind: "PersistentVolume"}, "x", nil))
		names := w.refusedNames()
		return len(names) == 1 && strings.Contains(names[0], "save: the API server refuses PersistentVolume pvc-x")
	})
	watch.observe(pv, nil)
	w.refusedBecome("it is saved")
}

// One tenant has very many refused claims, and others have some.
func TestRefusedClaimsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := map[types.UID]bool{}
		c := newRefusals(func(uid types.UID, _ Refused) bool { return !gone[uid] })
		add := func(namespace string, i int) types.UID {
			uid := types.UID(fmt.Sprint(namespace, i))
			c.add(uid, Refused{Namespace: namespace, Name: fmt.Sprint(i), Text: "no", Since: time.Now()})
			return uid
		}
		var first []types.UID
		for i := range refusedMostOfOne + 500 {
			first = append(first, add("greedy", i))
			add("greedy", i/2)
		}
		list, total, more := c.list(60)
		if len(list) != explainedMostOfOne || total != refusedMostOfOne || !more {
			t.Errorf("%d of %d, more: %v", len(list), total, more)
		}
		for _, uid := range first[:400] {
			gone[uid] = true
		}
		time.Sleep(missedLong)
		for i := range 30 {
			add("small", i)
			add(fmt.Sprint("other-", i), 1)
		}
		list, total, more = c.list(60)
		count := map[string]int{}
		for _, r := range list {
			count[r.Namespace]++
		}
		if len(list) != 60 || count["greedy"] > 1 || count["small"] < 20 || len(count) < 31 {
			t.Errorf("of 60 these are listed: %v", count)
		}
		if want := refusedMostOfOne - 400 + 60; total != want || more {
			t.Errorf("%d refused, more: %v; want %d", total, more, want)
		}
		for i := range refusedMost + 500 {
			add(fmt.Sprint("tenant-", i), 1)
		}
		if c.explained != explainedMost || len(c.objects) != refusedMost {
			t.Errorf("%d of %d are explained", c.explained, len(c.objects))
		}
		for uid := range c.objects {
			c.forget(uid)
		}
		if len(c.objects) != 0 || c.explained != 0 || len(c.explainedOf) != 0 || len(c.countedOf) != 0 {
			t.Errorf("when all are forgotten, %d, %d, %v and %v are left", len(c.objects), c.explained, c.explainedOf, c.countedOf)
		}
	})
}

func TestAnExpansionIsRefusedUntilItIsComplete(t *testing.T) {
	stands := true
	c := newRefusals(func(_ types.UID, r Refused) bool { return r.Reason == reasonExpansion && stands })
	w := newWorld(t).start()
	w.controller.claims = c
	claim := newClaim("a", "nfs")
	w.controller.TellExpansion(claim, v1.EventTypeWarning, "VolumeResizeFailed", "no room")
	since := time.Now()
	w.controller.TellExpansion(claim, v1.EventTypeWarning, "VolumeResizeFailed", "still no room")
	if list, total, _ := w.controller.Refused(5); total != 1 || list[0].Text != "still no room" || list[0].Since.After(since) {
		t.Errorf("%+v of %d", list, total)
	}
	w.controller.Tell(claim, v1.EventTypeWarning, "VolumeOverSize", "it holds more than it requests") // is no refusal
	if list, total, _ := w.controller.Refused(5); total != 1 || list[0].Text != "still no room" {
		t.Errorf("%+v of %d", list, total)
	}
	w.controller.TellExpansion(claim, v1.EventTypeNormal, "VolumeResizeSuccessful", "done")
	if list, total, _ := w.controller.Refused(5); total != 0 || len(list) != 0 {
		t.Errorf("%+v of %d", list, total)
	}
	w.controller.TellExpansion(claim, v1.EventTypeWarning, "VolumeResizeFailed", "no room")
	if stands = false; len(w.refusedNames()) != 0 {
		t.Errorf("%q", w.refusedNames())
	}
}
