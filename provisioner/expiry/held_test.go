package expiry

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// ahead sets the clock of the process ahead.
func (w *world) ahead(by time.Duration) { w.now = func() time.Time { return time.Now().Add(by) } }

// left fails the test unless so many archives are left, and are held back for those reasons.
func (w *world) left(t *testing.T, archives, clock, late int) {
	t.Helper()
	left := 0
	for _, r := range w.Records(t) {
		if strings.HasSuffix(r, " archived") {
			left++
		}
	}
	gotClock, gotLate := testutil.ToFloat64(w.held.WithLabelValues("clock")), testutil.ToFloat64(w.held.WithLabelValues("late"))
	if left != archives || int(gotClock) != clock || int(gotLate) != late {
		t.Errorf("%d archives, held back %v by the clock and %v that are late; want %d, %d and %d", left, gotClock, gotLate, archives, clock, late)
	}
	if len(w.reported) > 0 {
		t.Errorf("reported %q", w.reported)
	}
}

// later makes checks as long as the time that passes, each when the archives are looked at again.
func (w *world) later(t *testing.T, from, to time.Duration) {
	t.Helper()
	for passed := from; passed <= to; passed += again {
		w.ahead(passed)
		must(t, w.expire(t.Context()))
	}
}

// A clock that is years ahead ends nothing, however long, as long as the server's clock is right.
func TestAClockThatJumpsAheadEndsNothing(t *testing.T) {
	w := newWorld(t)
	w.ending(t, "pvc-1", -time.Hour)
	w.ending(t, "pvc-2", -24*time.Hour)
	const years = 10 * 365 * 24 * time.Hour
	must(t, w.expire(t.Context()))
	w.left(t, 2, 0, 0)
	for _, restart := range []bool{false, true} {
		if restart {
			w.start()
		}
		w.later(t, years, years+3*grace)
		w.left(t, 2, 2, 0)
	}
	if len(w.told) != 2*4 || !strings.Contains(w.told[0], "(2, such as ") || !strings.Contains(w.told[0], "set the clock that is wrong") { // once a day
		t.Errorf("told %q", w.told)
	}
	// What was seen meanwhile does not count when the clock is right again. The process itself waits by
	// a clock that does not jump, unlike this test's.
	w.since = time.Time{}
	w.later(t, 0, 2*again)
	w.left(t, 2, 0, 0)
	w.until(t, "archived-ns-data-pvc-1", time.Second)
	w.since = time.Time{}
	w.later(t, 0, 0)
	w.left(t, 1, 0, 0)
}

// If both clocks jump, most archives stay for a day, and then some end each day.
func TestOfManyThatExpireAtOnceSomeEndEachDay(t *testing.T) {
	const all = leastADay + 30
	w := newWorld(t)
	for i := range all {
		w.ending(t, fmt.Sprintf("pvc-%d", i), 1000*time.Hour)
	}
	w.later(t, 0, grace-again)
	w.left(t, all, 0, all)
	if len(w.told) != 1 || !strings.Contains(w.told[0], fmt.Sprintf("(%d, such as ", all)) || !strings.Contains(w.told[0], "Restore now") {
		t.Errorf("told %q", w.told)
	}
	w.later(t, grace, grace+grace/2)
	w.left(t, all-leastADay, 0, all-leastADay)
	w.later(t, 2*grace, 2*grace+again)
	w.left(t, 0, 0, 0)
}

func TestHowManyThatAreLateEndADay(t *testing.T) {
	for archives, want := range map[int]int{0: leastADay, 999: leastADay, 5000: 500} {
		w := newWorld(t)
		w.ends = map[string]*time.Time{}
		for i := range archives {
			w.ends[fmt.Sprint(i)] = nil
		}
		for day := range 2 {
			now, ended := time.Now().Add(time.Duration(day)*grace), 0
			for w.mayEndLate(now.Add(time.Duration(ended))) {
				ended++
			}
			if ended != want {
				t.Errorf("of %d archives %d end on day %d, want %d", archives, ended, day, want)
			}
		}
	}
}

// An archive that came back with a share from a backup, because it had expired, stays for a day;
// what ends meanwhile ends in time. A restart begins the day anew.
func TestAnArchiveThatComesBackExpiredStaysForADay(t *testing.T) {
	w := newWorld(t)
	w.ending(t, "pvc-1", late+time.Minute)
	w.ending(t, "pvc-2", late-time.Minute)
	w.ending(t, "pvc-3", -time.Hour)
	must(t, w.expire(t.Context()))
	w.left(t, 2, 0, 1)
	w.later(t, time.Hour+again, time.Hour+again)
	w.left(t, 2, 1, 1) // the server's clock, which does not go on here, has the last word
	w.until(t, "archived-ns-data-pvc-3", time.Second)
	w.later(t, 3*time.Hour, grace-again)
	w.left(t, 1, 0, 1)
	w.start()
	w.later(t, grace, 2*grace-again)
	w.left(t, 1, 0, 1)
	w.later(t, 2*grace, 2*grace)
	w.left(t, 0, 0, 0)
}

// An archive that ended in time and cannot be moved is not late because it is tried again.
func TestWhatIsTriedAgainIsNotLate(t *testing.T) {
	w := newWorld(t)
	archive := w.ending(t, "pvc-1", time.Second)
	w.Hook(func(name string, call func() error) error {
		if name == "rename "+archive {
			return errors.New("no")
		}
		return call()
	})
	w.later(t, 0, 3*late)
	if len(w.reported) < 5 {
		t.Errorf("reported %q", w.reported)
	}
	w.reported = nil
	w.Hook(nil)
	w.later(t, 3*late+again, 3*late+again)
	w.left(t, 0, 0, 0)
}

// Without the server's time nothing ends.
func TestAServerThatDoesNotTellTheTimeEndsNothing(t *testing.T) {
	w := newWorld(t)
	w.ending(t, "pvc-1", time.Minute)
	w.Hook(func(name string, call func() error) error {
		if name == "look at time.share-1" {
			return os.ErrPermission
		}
		return call()
	})
	if err := w.expire(t.Context()); !errors.Is(err, os.ErrPermission) {
		t.Error(err)
	}
	w.left(t, 1, 0, 0)
	w.Hook(nil)
	must(t, w.expire(t.Context()))
	w.left(t, 0, 0, 0)
}
