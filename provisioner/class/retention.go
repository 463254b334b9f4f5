package class

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ParseRetention parses how long an archive is kept: a duration above zero, as ParseDuration takes it. An empty s means for ever,
// which is 0. A mistake must therefore be an error and never 0.
func ParseRetention(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not allowed; %w, above zero", s, errDuration)
	}
	return d, nil
}

// FormatRetention is the inverse of ParseRetention. It writes hours, never days, because earlier claimdirs read what lies on a share.
func FormatRetention(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	s := d.String() // 720h0m0s
	for _, zero := range []string{"0s", "0m"} {
		if short, ok := strings.CutSuffix(s, zero); ok && strings.ContainsAny(short[max(0, len(short)-1):], "hm") {
			s = short
		}
	}
	return s
}

// archiveRetention reads the parameter archiveRetention. It needs the policy, because it refuses a retention if nothing is archived.
func (c *Class) archiveRetention(params map[string]string) (time.Duration, error) {
	s := params["archiveRetention"]
	d, err := ParseRetention(s)
	if err == nil && d > 0 && c.OnDelete != Archive && c.OnDelete != "" {
		err = errors.New("nothing is archived with onDelete " + string(c.OnDelete) + `; remove one of the two parameters`)
	}
	return d, wrap("archiveRetention", err)
}
