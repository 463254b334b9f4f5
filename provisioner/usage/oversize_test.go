package usage

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestLevelsAreRearmedFivePointsLower(t *testing.T) {
	told := 0
	for _, step := range []struct {
		percent int64
		want    int
	}{{10, 0}, {79, 0}, {80, 80}, {76, 80}, {75, 80}, {74, 0}, {79, 0}, {100, 100}, {95, 100}, {94, 80}, {99, 80}, {100, 100}, {74, 0}, {300, 100}} {
		if told = level(told, step.percent); told != step.want {
			t.Errorf("at %d %%: %d, want %d", step.percent, told, step.want)
		}
	}
}

func TestPeopleAreToldOncePerCrossing(t *testing.T) {
	w := newWorld(t)
	w.class("nfs", "tell")
	w.volume("data", "nfs", 100<<10)
	const backup = "False  nobody's business"
	expect := func(over bool, told ...string) {
		t.Helper()
		slices.Sort(w.told)
		for i, want := range told {
			if i >= len(w.told) || !strings.HasPrefix(w.told[i], "team/data uid-data Warning "+want) {
				t.Errorf("told %q, want %q", w.told, told)
			}
		}
		if len(w.told) != len(told) {
			t.Errorf("told %q, want %q", w.told, told)
		}
		w.told = nil
		conditions := w.conditions("data")
		if _, has := conditions[ConditionOverSize]; has != over || conditions["example.com/backup"] != backup {
			t.Errorf("conditions %q", conditions)
		}
	}
	w.round(0)
	expect(false)
	w.fill("data", 850<<10)
	w.round(time.Hour)
	expect(false, "VolumeFillingUp: the directory holds 85")
	w.round(time.Hour)
	expect(false)
	w.fill("data", 1200<<10)
	w.round(time.Minute) // what people were told of is measured in every round
	expect(true, "VolumeOverSize: the directory holds 1.2Mi, 117 % of the 1.0Mi that the claim has: remove data, or request more, if the class allows that")
	w.Restart(t)
	w.start()
	w.round(time.Minute)
	expect(true)
	w.fill("data", 1000<<10)
	w.round(time.Minute)
	expect(true)
	w.fill("data", 100<<10)
	w.round(time.Minute)
	expect(false)
	w.fill("data", 1200<<10)
	w.round(time.Hour)
	expect(true, "VolumeOverSize")
	w.class("nfs", "ignore") // a class of that name is made anew
	w.round(time.Minute)
	expect(false)
}

// A status that cannot be written holds up neither the event nor the freeze, and is written later.
func TestAStatusThatCannotBeWrittenIsWrittenLater(t *testing.T) {
	w := newWorld(t)
	w.class("nfs", "freeze")
	w.volume("data", "nfs", 2000<<10)
	w.refuse = errRefused
	w.round(0)
	if u, _ := w.usage("data"); u.Told != 100 || len(w.told) != 1 || len(w.overSize("nfs")) != 1 {
		t.Errorf("%+v, told %q, over %q", u, w.told, w.overSize("nfs"))
	}
	w.refuse = nil
	w.round(time.Minute)
	if _, over := w.conditions("data")[ConditionOverSize]; !over || len(w.told) != 1 {
		t.Errorf("told %q", w.told)
	}
	w.refuse = errRefused
	w.fill("data", 0)
	w.round(time.Hour)
	w.refuse = nil
	w.round(time.Hour) // what is not true any more goes, too
	if _, over := w.conditions("data")[ConditionOverSize]; over {
		t.Error("the condition stays")
	}
}

// Somebody else's write, or an older copy of the claim, takes the condition away.
func TestAConditionThatWasLostComesBack(t *testing.T) {
	w := newWorld(t)
	w.class("nfs", "tell")
	w.volume("data", "nfs", 2000<<10)
	w.round(0)
	claims := w.client.CoreV1().PersistentVolumeClaims("team")
	claim, err := claims.Get(t.Context(), "data", metav1.GetOptions{})
	must(t, err)
	claim.Status.Conditions = nil
	_, err = claims.UpdateStatus(t.Context(), claim, metav1.UpdateOptions{})
	must(t, err)
	w.round(time.Minute)
	if _, over := w.conditions("data")[ConditionOverSize]; !over {
		t.Error("it does not")
	}
}

// Whoever hides files does not get out of a freeze; whoever requests more does.
func TestWhatCannotBeReadDoesNotCountAsRoom(t *testing.T) {
	w := newWorld(t)
	w.class("nfs", "freeze")
	w.volume("data", "nfs", 2000<<10)
	w.round(0)
	deep := w.Dir + "/data"
	for range 258 {
		deep += "/d"
	}
	must(t, os.MkdirAll(deep, 0o755))
	must(t, os.Rename(w.Dir+"/data/file", deep+"/file"))
	for range 3 {
		w.round(time.Hour)
	}
	if u, _ := w.usage("data"); !u.AtLeast() || u.Told != 100 || len(w.overSize("nfs")) != 1 {
		t.Errorf("%+v, over %q", u, w.overSize("nfs"))
	}
	w.volumes["pvc-data"].Spec.Capacity[v1.ResourceStorage] = resource.MustParse("1Gi")
	if over := w.overSize("nfs"); len(over) > 0 {
		t.Errorf("over %q", over)
	}
	w.round(time.Hour)
	if _, over := w.conditions("data")[ConditionOverSize]; over {
		t.Error("the condition stays although the claim is larger")
	}
}

// A namesake of the claim gets neither a condition nor an event.
func TestANamesakeIsToldNothing(t *testing.T) {
	w := newWorld(t)
	w.class("nfs", "freeze")
	w.volume("data", "nfs", 2000<<10)
	w.volumes["pvc-data"].Spec.ClaimRef.UID = "uid-other"
	w.round(0)
	if len(w.told) > 0 || len(w.conditions("data")) != 1 || len(w.overSize("nfs")) > 0 {
		t.Errorf("told %q, conditions %q", w.told, w.conditions("data"))
	}
}

func TestClaimsOverSizeAreNamedUntilTheyAreNot(t *testing.T) {
	w := newWorld(t)
	w.class("nfs", "freeze")
	w.class("other", "freeze")
	for _, name := range []string{"b", "a"} {
		w.volume(name, "nfs", 1100<<10)
	}
	w.volume("c", "nfs", 900<<10)
	w.volume("d", "other", 1100<<10)
	w.round(0)
	expect := func(class string, want ...string) {
		t.Helper()
		if got := w.overSize(class); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", class, got, want)
		}
	}
	expect("nfs", "a", "b")
	expect("other", "d")
	if got, _ := w.OverSize("another", "nfs"); len(got) > 0 {
		t.Errorf("another namespace: %q", got)
	}
	w.Restart(t)
	w.start()
	if over, known := w.OverSize("team", "nfs"); known {
		t.Errorf("before anything was read, it says %q", over)
	}
	w.round(time.Minute)
	expect("nfs", "a", "b")
	w.volumes["pvc-a"].Spec.Capacity[v1.ResourceStorage] = resource.MustParse("2Mi") // it was expanded
	expect("nfs", "b")
	w.fill("b", 0)
	w.round(time.Minute)
	expect("nfs")
	delete(w.volumes, "pvc-d")
	expect("other")
}
