package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"claimdir/hack/procstat"
)

// processTimes is the processor time that each program has used, by name: this one and those
// that it started and that still run.
type processTimes map[string]time.Duration

// readTimes reads them from /proc. What has ended or cannot be read is left out.
func readTimes() processTimes {
	times := processTimes{}
	all, _ := procstat.OfChildren()
	if self, err := procstat.Of(os.Getpid()); err == nil {
		all = append(all, self)
	}
	for _, p := range all {
		times[p.Name] += p.Used
	}
	return times
}

// since is what each program has used since then, in milliseconds for each of so many claims.
func (t processTimes) since(then processTimes, claims int) map[string]float64 {
	used := map[string]float64{}
	for name, now := range t {
		used[name] = (now - then[name]).Seconds() * 1000 / float64(claims)
	}
	return used
}

func cpuText(of map[string]float64) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(of)) {
		fmt.Fprintf(&b, "  %s %.2f", name, of[name])
	}
	return b.String()
}
