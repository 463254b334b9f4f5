package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// processTimes is the processor time that each program has used, by name: this one and those
// that it started and that still run.
type processTimes map[string]time.Duration

// tick is the unit of /proc/PID/stat on every architecture of Linux that Go runs on.
const tick = 10 * time.Millisecond

// readTimes reads them from /proc.
func readTimes() processTimes {
	times := processTimes{}
	for _, pid := range append(children(os.Getpid()), os.Getpid()) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has ended
		}
		head, rest, _ := strings.Cut(string(stat), ") ")
		_, name, _ := strings.Cut(head, "(")
		fields := strings.Fields(rest)
		if len(fields) < 13 {
			continue
		}
		user, _ := strconv.Atoi(fields[11])
		system, _ := strconv.Atoi(fields[12])
		times[name] += time.Duration(user+system) * tick
	}
	return times
}

// children are the processes that a process started.
func children(pid int) (pids []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
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
