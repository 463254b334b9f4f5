package quota

import (
	"math"
	"strings"
	"testing"
)

func TestLimits(t *testing.T) {
	const gibi = 1 << 30
	for _, tt := range []struct {
		size, slack string
		want        uint64
	}{
		{"1Gi", "0", gibi},
		{"1Gi", "0%", gibi},
		{"1Gi", "50%", gibi + gibi/2},
		{"1Gi", "1000%", 11 * gibi},
		{"1Gi", "1Gi", 2 * gibi},
		{"1", "0", 4096},
		{"4097", "0", 8192},
		{"100", "1%", 4096},
		{"4096", "1", 8192},
		{"1500m", "0", 4096},
		{"1G", "0", 1_000_001_536},
		{"8Ei", "5%", maxLimit},
		{"100000Ei", "0", maxLimit},
		{"1Ei", "1Ei", maxLimit},
	} {
		slack, err := ParseSlack(tt.slack)
		if err != nil {
			t.Errorf("slack %s: %v", tt.slack, err)
		}
		if got, err := slack.limit(tt.size, 4096); err != nil || got != tt.want {
			t.Errorf("size %s, slack %s: %d, %v; want %d", tt.size, tt.slack, got, err, tt.want)
		}
	}
	for _, bad := range []string{"", "0", "-1Gi", "much", "1 Gi"} {
		if got, err := (Slack{}).limit(bad, 4096); err == nil || !strings.Contains(err.Error(), "size above 0") {
			t.Errorf("size %q: %d, %v", bad, got, err)
		}
	}
}

func TestSlacksThatAreRefused(t *testing.T) {
	for _, bad := range []string{"", "-1", "-5%", "5.5%", "1001%", "%", "5 %", "much", "2Ei", "99999999999999999999%"} {
		if got, err := ParseSlack(bad); err == nil || !strings.Contains(err.Error(), "allowed are") {
			t.Errorf("%q: %+v, %v", bad, got, err)
		}
	}
}

func TestBases(t *testing.T) {
	for base, allowed := range map[uint32]bool{0: false, 1: true, DefaultBase: true, math.MaxUint32 - 1: true, math.MaxUint32: false} {
		if err := CheckBase(base); (err == nil) != allowed {
			t.Errorf("%d: %v", base, err)
		}
	}
}
