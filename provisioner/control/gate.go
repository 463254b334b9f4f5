package control

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// The operations that a gate counts, and one that it does not: expansions are a job's.
const (
	opProvision = "provision"
	opDelete    = "delete"
	opSave      = "save"
	opExpand    = "expand"
)

// gate counts running operations. It refuses new ones once it is closed, and while this replica
// does not lead. A volume counts from its Provision until its PersistentVolume is saved, because
// the library's code in between reports nothing.
type gate struct {
	leads  func() error // nil while this replica leads
	mu     sync.Mutex
	closed bool
	begun  map[operation]time.Time
	idle   chan struct{} // closed when the gate is closed and no operation runs
}

type operation struct{ kind, name string }

func newGate(leads func() error) *gate {
	return &gate{leads: leads, begun: map[operation]time.Time{}, idle: make(chan struct{})}
}

// open reports whether operations may begin.
func (g *gate) open() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lets()
}

// lets must be called with mu held.
func (g *gate) lets() bool { return !g.closed && g.leads() == nil }

// enter counts a new operation, or returns false if none may begin. Each successful enter needs a
// leave.
func (g *gate) enter(kind, name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.lets() {
		return false
	}
	g.begun[operation{kind, name}] = time.Now()
	return true
}

// leave ends an operation, and returns when it began. began is false if it never did, because the library
// may save a PersistentVolume twice.
func (g *gate) leave(kind, name string) (at time.Time, began bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, began = g.begun[operation{kind, name}]
	delete(g.begun, operation{kind, name})
	g.signal()
	return at, began
}

// expectSave atomically replaces the provisioning of name by the expected saving of its
// PersistentVolume.
func (g *gate) expectSave(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.begun, operation{opProvision, name})
	g.begun[operation{opSave, name}] = time.Now()
}

// busy reports whether operations run.
func (g *gate) busy() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.begun) > 0
}

// close makes the gate refuse new operations. It may be called twice.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.closed = true
		g.signal()
	}
}

// signal must be called with mu held.
func (g *gate) signal() {
	if !g.closed || len(g.begun) > 0 {
		return
	}
	select {
	case <-g.idle:
	default:
		close(g.idle)
	}
}

// wait returns nil once the gate is closed and no operation runs. If ctx is done before, the error
// names the running operations and wraps the cause of ctx.
func (g *gate) wait(ctx context.Context) error {
	select {
	case <-g.idle:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.begun) == 0 {
		return nil
	}
	names := make([]string, 0, len(g.begun))
	for op := range g.begun {
		names = append(names, op.kind+" "+op.name)
	}
	slices.Sort(names)
	return fmt.Errorf("%d operations still under way: %v: %w", len(names), names, context.Cause(ctx))
}

// ages returns for each kind how many operations run and when the oldest began.
func (g *gate) ages() (count map[string]int, oldest map[string]time.Time) {
	g.mu.Lock()
	begun := maps.Clone(g.begun)
	g.mu.Unlock()
	count, oldest = map[string]int{}, map[string]time.Time{}
	for op, at := range begun {
		count[op.kind]++
		if first, ok := oldest[op.kind]; !ok || at.Before(first) {
			oldest[op.kind] = at
		}
	}
	return count, oldest
}
