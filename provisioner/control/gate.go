package control

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// The operations that a gate counts.
const (
	opProvision = "provision"
	opDelete    = "delete"
	opSave      = "save"
)

// gate counts operations under way and lets no more in once it is closed, nor when
// this replica does not lead (any more). A
// volume counts from its Provision until its PersistentVolume is saved: what
// lies between is the library's code, which does not tell.
type gate struct {
	leads  func() error // nil while this replica leads
	mu     sync.Mutex
	closed bool
	begun  map[operation]time.Time
	idle   chan struct{} // closed when closed and nothing is under way
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

// enter begins an operation, or reports false if none may begin. Each
// enter that succeeded needs a leave.
func (g *gate) enter(kind, name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.lets() {
		return false
	}
	g.begun[operation{kind, name}] = time.Now()
	return true
}

// leave ends an operation. One that never began is no error: a PersistentVolume
// is saved again when the library is not sure.
func (g *gate) leave(kind, name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.begun, operation{kind, name})
	g.signal()
}

// expectSave turns the provisioning of name into the expectation that its
// PersistentVolume will be saved, without a moment between.
func (g *gate) expectSave(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.begun, operation{opProvision, name})
	g.begun[operation{opSave, name}] = time.Now()
}

// close lets nothing more in. It may be called twice.
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

// wait returns nil once the gate is closed and nothing is under way, or, when
// ctx ends, an error that names what still is and wraps the cause.
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

// ages returns for each kind how many operations are under way and when the
// oldest began.
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
