// Package procstat reads from /proc what processes use. It needs Linux.
package procstat

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Process is a process as /proc/PID/stat has it: see proc_pid_stat(5).
type Process struct {
	Name   string // at most 15 bytes
	Parent int
	Used   time.Duration // of a processor
}

// tick is the unit of times there: USER_HZ is 100 on every architecture that Go runs on.
const tick = 10 * time.Millisecond

// Of reads a process. The error is fs.ErrNotExist if it has ended.
func Of(pid int) (p Process, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, err
	}
	end := strings.LastIndex(string(data), ") ") // a name may hold anything
	_, name, _ := strings.Cut(string(data[:max(end, 0)]), "(")
	fields := strings.Fields(string(data[end+1:]))
	const parent, user, system = 1, 11, 12 // after the name
	if end < 0 || len(fields) <= system {
		return p, fmt.Errorf("/proc/%d/stat is short", pid)
	}
	var values [system + 1]int
	for _, i := range []int{parent, user, system} {
		if values[i], err = strconv.Atoi(fields[i]); err != nil {
			return p, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
	}
	return Process{Name: name, Parent: values[parent], Used: time.Duration(values[user]+values[system]) * tick}, nil
}

// OfChildren reads the processes that this one started and that still run.
func OfChildren() (children []Process, err error) {
	entries, err := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if p, err := Of(pid); err == nil && p.Parent == os.Getpid() { // others may have just ended
				children = append(children, p)
			}
		}
	}
	return children, err
}

// Memory reads a field of /proc/PID/status, such as VmHWM, in bytes.
func Memory(pid int, field string) (bytes int64, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, found := strings.CutPrefix(line, field+":"); found {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in /proc/%d/status", field, pid)
}
