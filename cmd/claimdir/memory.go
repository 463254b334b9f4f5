package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"

	"k8s.io/klog/v2"
)

// memoryLimitFile holds the limit of the container's memory (cgroup v2), or "max".
const memoryLimitFile = "/sys/fs/cgroup/memory.max"

// garbageFree is how much garbage there may always be, in bytes. With less, a small process would
// spend a quarter of its time on collecting it. garbagePercent is how much there may be, in percent
// of the memory in use, if that is more. The runtime's default, 100, saves little time where much
// memory is in use, but makes the peaks of a sweep, and of a command that runs beside it in the
// same container, a third higher.
const (
	garbageFree    = 24 << 20
	garbagePercent = 30
)

// limitGarbage lets the garbage collector run early, unless GOGC says otherwise.
func limitGarbage() {
	if _, given := os.LookupEnv("GOGC"); !given {
		debug.SetGCPercent(garbageFree * 100 / heapLeast)
		collected(new(canary))
	}
}

// heapLeast is the size of the heap that the runtime assumes at least, in bytes: see GOGC.
const heapLeast = 4 << 20

// A canary is garbage, which the collector finds in its next run.
type canary struct{ _ [64]byte }

// collected adapts the percentage to the memory that is in use. It runs again after each run of
// the garbage collector.
func collected(c *canary) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() == metrics.KindUint64 {
		debug.SetGCPercent(garbageFor(live[0].Value.Uint64()))
	}
	runtime.SetFinalizer(c, collected)
}

// garbageFor is how much garbage there may be, in percent of the live bytes.
func garbageFor(live uint64) (percent int) {
	return int(max(garbagePercent, garbageFree*100/max(live, heapLeast)))
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
