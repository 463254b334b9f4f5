package class

import (
	"math"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"30d": 720 * time.Hour, "0d": 0, "0": 0, "1d12h": 36 * time.Hour, "1d0h0m1.5s": 24*time.Hour + 1500*time.Millisecond, "007d": 168 * time.Hour,
		"720h": 720 * time.Hour, "90m": 90 * time.Minute, "1.5h": 90 * time.Minute, "-5m": -5 * time.Minute,
		"106751d": 106751 * day, "106751d23h47m16.854775807s": math.MaxInt64,
	} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%q is %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "d", "30", "30D", "1.5d", "-1d", "+1d", "1d-2h", "1d+2h", "1h1d", "1d1d", "1d2", "30 d", "30d ", " 30d", "2w", "1_0d", "0x1d", "thirty days",
		"106752d", "106751d23h47m16.854775808s", "99999999999999999999d", "9999999h1d", "1d9999999h",
	} {
		if got, err := ParseDuration(s); err == nil || err.Error() != `allowed are durations such as "30d" (30 days), "1d12h" or "90m"` {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
}
