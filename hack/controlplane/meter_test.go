package controlplane

import (
	"fmt"
	"testing"
	"time"
)

func TestAMeterSaysHowLongTheRestTakes(t *testing.T) {
	m := &meter{total: 100}
	for _, test := range []struct {
		compiled int
		elapsed  time.Duration
		want     string
	}{
		{0, time.Minute, ""},
		{4, time.Minute, ""},
		{20, time.Minute, ", at most about 4 minutes left"},
		{50, 3 * time.Minute, ", at most about 3 minutes left"},
		{75, 3 * time.Minute, ", at most about 1 minute left"},
		{90, 3 * time.Minute, ", less than a minute left"},
		{100, 4 * time.Minute, ", the last programs are linked"},
	} {
		for m.compiled < test.compiled {
			fmt.Fprintf(m, "k8s.io/package%d\n", m.compiled)
		}
		if got := m.left(test.elapsed); got != test.want {
			t.Errorf("%d packages after %v: %q, want %q", test.compiled, test.elapsed, got, test.want)
		}
	}
	if got := (&meter{total: 4}).left(time.Minute); got != "" {
		t.Errorf("of few packages none is compiled: %q", got)
	}
	if got := (&meter{compiled: 3}).left(time.Minute); got != "" {
		t.Errorf("while modules are fetched: %q", got)
	}
}
