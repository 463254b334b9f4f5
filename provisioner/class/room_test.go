package class

import (
	"strings"
	"testing"
)

func TestMinFree(t *testing.T) {
	const size = 1000 << 30
	for s, want := range map[string]uint64{
		"": 0, "10Gi": 10 << 30, "500G": 500e9, "1.5Ti": 1536 << 30, "4096": 4096, "64k": 64000, "5%": 50 << 30, "0.5%": 5 << 30,
	} {
		c, err := Parse(map[string]string{"minFree": s})
		if err != nil || c.MinFree.Of(size) != want {
			t.Errorf("%q: %d, %v, want %d", s, c.MinFree.Of(size), err, want)
		}
	}
	for _, s := range []string{"0", "0%", "100%", "-1Gi", "-5%", "10GB", "10 Gi", "1e3", "Gi", "%", "NaN%", "Inf%", "ten", "9000000Pi", "1Ei"} {
		if _, err := Parse(map[string]string{"minFree": s}); err == nil || !strings.Contains(err.Error(), `"minFree"`) || !strings.Contains(err.Error(), s) || !strings.Contains(err.Error(), "10Gi") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestOvercommit(t *testing.T) {
	for s, want := range map[string]float64{"": 0, "1": 1, "1.5": 1.5, "0.8": 0.8, "1000": 1000} {
		if c, err := Parse(map[string]string{"overcommit": s}); err != nil || c.Overcommit != want {
			t.Errorf("%q: %v, %v", s, c.Overcommit, err)
		}
	}
	for _, s := range []string{"0", "-1", "1001", "NaN", "Inf", "50%", "much"} {
		if _, err := Parse(map[string]string{"overcommit": s}); err == nil || !strings.Contains(err.Error(), `"overcommit"`) || !strings.Contains(err.Error(), s) {
			t.Errorf("%q: %v", s, err)
		}
	}
}
