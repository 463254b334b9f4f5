package class

import (
	"strings"
	"testing"
	"time"
)

func TestParseSnapshot(t *testing.T) {
	const month = 30 * 24 * time.Hour
	for _, c := range []struct {
		params  map[string]string
		retains bool
		want    Snapshot
		wrong   []string // parts of the error
	}{
		{nil, false, Snapshot{Max: 16}, nil},
		{map[string]string{"retention": "30d", "maxSnapshots": "3"}, true, Snapshot{Retention: month, Max: 3}, nil},
		{map[string]string{"retention": "", "maxSnapshots": "", "csi.storage.k8s.io/x": "y"}, false, Snapshot{Max: 16}, nil},
		{map[string]string{"retention": "30d"}, false, Snapshot{}, []string{"retention", "deletionPolicy Retain"}},
		{map[string]string{"retention": "soon"}, true, Snapshot{}, []string{"retention", `"30d" (30 days)`}},
		{map[string]string{"retention": "-1h"}, true, Snapshot{}, []string{"retention"}},
		{map[string]string{"maxSnapshots": "0"}, true, Snapshot{}, []string{"maxSnapshots", "from 1 to 10000"}},
		{map[string]string{"maxSnapshots": "many", "b": "1", "a": "2"}, true, Snapshot{}, []string{"maxSnapshots", `unknown parameter "a"`, `unknown parameter "b"`, `"retention" and "maxSnapshots"`}},
	} {
		got, err := ParseSnapshot(c.params, c.retains)
		if (err != nil) != (c.wrong != nil) || got != c.want {
			t.Errorf("%v: got %+v, %v; want %+v", c.params, got, err, c.want)
		}
		for _, part := range c.wrong {
			if err != nil && !strings.Contains(err.Error(), part) {
				t.Errorf("%v: the error %q does not say %q", c.params, err, part)
			}
		}
	}
}
