package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// figures are what the two specs of performance measure, beside what they did
// for the peer in two runs on 2 cores. The suite compares the clock of the
// node with its own, so Bound is exact to a second or so.
func figures(specs []spec) []string {
	var lines []string
	for _, s := range specs {
		switch {
		case s.state != passed:
		case strings.Contains(s.name, "volume-lifecycle-performance"):
			lines = append(lines, bound(s.output)+"; the peer: 7.1 and 8.1 s, 2.2 and 2.3 a second")
		case strings.Contains(s.name, "pvc-deletion-performance"):
			lines = append(lines, deleted(s.output)+"; the peer: 13.2 and 12.2 s")
		}
	}
	return lines
}

func bound(output string) string {
	found := regexp.MustCompile(`AvgLatency: \(time\.Duration\) (\d+),\s+Throughput: \(float64\) ([\d.]+)`).FindStringSubmatch(output)
	if found == nil {
		return "30 claims at once: the spec does not say what it measured"
	}
	latency, err := strconv.Atoi(found[1])
	throughput, floatErr := strconv.ParseFloat(found[2], 64)
	if err != nil || floatErr != nil {
		return "30 claims at once: not numbers: " + found[0]
	}
	return fmt.Sprintf("30 claims at once: Bound after %.1f s on average, %.1f a second", time.Duration(latency).Seconds(), throughput)
}

func deleted(output string) string {
	found := regexp.MustCompile(`Deleted all PVC/PVs in (\S+)`).FindStringSubmatch(output)
	if found == nil {
		return "30 claims deleted at once: the spec does not say what it measured"
	}
	took, err := time.ParseDuration(found[1])
	if err != nil {
		return "30 claims deleted at once: " + err.Error()
	}
	return fmt.Sprintf("30 claims deleted at once: gone after %.1f s", took.Seconds())
}
