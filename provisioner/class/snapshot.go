package class

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultMaxSnapshots is how many snapshots of one claim there may be by default.
const DefaultMaxSnapshots = 16

// maxSnapshotsMost bounds the parameter maxSnapshots: each snapshot may take as much room as its claim.
const maxSnapshotsMost = 10_000

// Snapshot is a checked VolumeSnapshotClass.
type Snapshot struct {
	// Retention is how long the data of a snapshot is kept once its VolumeSnapshotContent is gone, where the deletionPolicy is Retain;
	// 0 means for ever.
	Retention time.Duration
	// Max is how many snapshots of one claim there may be.
	Max int
}

// SnapshotParameters returns all parameters that ParseSnapshot knows.
func SnapshotParameters() []Parameter {
	return []Parameter{
		{"retention", "", "With `deletionPolicy: Retain`: how long the data is kept once the VolumeSnapshotContent is deleted, such as `30d` or `12h`; then it goes into the trash. " +
			"Without it the data stays until `claimdir snapshot purge`. Fixed when the snapshot is made."},
		{"maxSnapshots", strconv.Itoa(DefaultMaxSnapshots), "How many snapshots of one claim there may be. One more waits, with an event, until another one goes."},
	}
}

// ParseSnapshot checks the parameters of a VolumeSnapshotClass. retains says that its deletionPolicy is Retain. Like Parse it ignores
// keys with a "/", takes an empty value for the default, and returns all problems.
func ParseSnapshot(params map[string]string, retains bool) (Snapshot, error) {
	var p problems
	c := Snapshot{Retention: note(&p, snapshotRetention(retains), params), Max: note(&p, maxSnapshots, params)}
	var allowed []string
	for _, parameter := range SnapshotParameters() {
		allowed = append(allowed, parameter.Name)
	}
	var bad []string
	for key := range params {
		if !strings.Contains(key, "/") && !slices.Contains(allowed, key) {
			bad = append(bad, key)
		}
	}
	slices.Sort(bad)
	for _, key := range bad {
		p = append(p, fmt.Errorf("unknown parameter %q; allowed are %s", key, list(allowed)))
	}
	if len(p) > 0 {
		return Snapshot{}, errors.Join(p...)
	}
	return c, nil
}

func snapshotRetention(retains bool) func(params map[string]string) (time.Duration, error) {
	return func(params map[string]string) (time.Duration, error) {
		d, err := ParseRetention(params["retention"])
		if err == nil && d > 0 && !retains {
			err = errors.New("nothing is kept with deletionPolicy Delete; remove retention, or set deletionPolicy Retain")
		}
		return d, wrap("retention", err)
	}
}

func maxSnapshots(params map[string]string) (int, error) {
	s := params["maxSnapshots"]
	if s == "" {
		return DefaultMaxSnapshots, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxSnapshotsMost {
		return 0, wrap("maxSnapshots", fmt.Errorf("%q is not allowed; allowed are whole numbers from 1 to %d", s, maxSnapshotsMost))
	}
	return n, nil
}
