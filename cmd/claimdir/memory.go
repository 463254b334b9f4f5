package main

import (
	"context"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"k8s.io/klog/v2"
)

// memoryLimitFile holds the limit of the container's memory (cgroup v2), or "max".
const memoryLimitFile = "/sys/fs/cgroup/memory.max"

// garbagePercent is how much garbage there may be, in percent of the memory in use. The runtime's
// default, 100, saves little time here. It makes the peaks of a sweep, and of a command that runs
// beside it in the same container, a third higher where there are many records.
const garbagePercent = 30

// limitGarbage lets the garbage collector run early, unless GOGC says otherwise.
func limitGarbage() {
	if _, given := os.LookupEnv("GOGC"); !given {
		debug.SetGCPercent(garbagePercent)
	}
}

// limitMemory lets the garbage collector work harder before the process reaches the container's
// limit, at which the kernel would kill it. GOMEMLIMIT, which the Go runtime has read, takes
// precedence.
func limitMemory(ctx context.Context, file string) {
	if _, given := os.LookupEnv("GOMEMLIMIT"); given {
		return
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return // no container, or cgroup v1
	}
	if limit := memoryLimit(string(data)); limit > 0 {
		debug.SetMemoryLimit(limit)
		klog.FromContext(ctx).V(1).Info("Keeping the memory below the container's limit", "bytes", limit)
	}
}

// memoryLimit returns nine tenths of a limit in bytes, because the runtime does not count all memory;
// 0 if there is none.
func memoryLimit(max string) int64 {
	bytes, err := strconv.ParseInt(strings.TrimSpace(max), 10, 64)
	if err != nil || bytes <= 0 {
		return 0
	}
	return bytes / 10 * 9
}
