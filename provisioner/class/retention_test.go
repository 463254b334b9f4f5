package class

import (
	"strings"
	"testing"
	"time"
)

func TestRetention(t *testing.T) {
	for s, want := range map[string]time.Duration{"": 0, "720h": 720 * time.Hour, "30d": 720 * time.Hour, "1d12h": 36 * time.Hour, "90m": 90 * time.Minute, "1h30m": 90 * time.Minute, "45s": 45 * time.Second, "1h0m5s": time.Hour + 5*time.Second} {
		c, err := Parse(map[string]string{"archiveRetention": s})
		if err != nil || c.ArchiveRetention != want {
			t.Errorf("%q: %v, %v", s, c.ArchiveRetention, err)
		}
		if again, err := ParseRetention(FormatRetention(want)); err != nil || again != want {
			t.Errorf("%q is written as %q: %v", s, FormatRetention(want), err)
		}
	}
	for want, d := range map[string]time.Duration{"720h": 30 * day, "36h": 36 * time.Hour, "1h30m": 90 * time.Minute, "10m": 10 * time.Minute, "": 0, "10s": 10 * time.Second} {
		if s := FormatRetention(d); s != want {
			t.Errorf("%v is written as %q, want %q", d, s, want)
		}
	}
	for _, s := range []string{"0", "0s", "-1h", "0d", "30 days", "720", "for ever", " 1h"} {
		_, err := Parse(map[string]string{"archiveRetention": s})
		if err == nil || !strings.Contains(err.Error(), `"archiveRetention"`) || !strings.Contains(err.Error(), `is not allowed; allowed are durations such as "30d" (30 days), "1d12h" or "90m", above zero`) {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, policy := range []string{"delete", "retain"} {
		_, err := Parse(map[string]string{"archiveRetention": "1h", "onDelete": policy})
		if err == nil || !strings.Contains(err.Error(), "nothing is archived with onDelete "+policy) {
			t.Errorf("%s: %v", policy, err)
		}
	}
}
