package sharetest

import (
	"errors"
	"sync"
)

// ErrCut is what a call to the share answers, in place of its own result, where a Fault
// ends an operation.
var ErrCut = errors.New("the share went away")

// Fault ends an operation at the n-th place where it can end: before and after each system
// call. A kill ends the process there: it makes no further call. Otherwise the operation
// sees an error, also where the call succeeded and only its answer got lost, and goes on
// with whatever it does then.
type Fault struct {
	N    int
	Kill bool

	mu   sync.Mutex
	hit  string // where it was
	dead bool
}

// Hit says where the fault was, and nothing if it was not.
func (f *Fault) Hit() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hit
}

// Call is the share.Call of a Fault.
func (f *Fault) Call(name string, call func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return ErrCut
	}
	if f.N--; f.N == 0 {
		f.hit, f.dead = "before "+name, f.Kill
		return ErrCut
	}
	err := call()
	if f.N--; f.N == 0 { // also of a call that failed: its place counts
		f.hit, f.dead = "after "+name, f.Kill
		return ErrCut
	}
	return err
}

// CutOff runs an operation with f and reports whether f came to act.
func (w *World) CutOff(f *Fault, run func() error) bool {
	w.Hook(f.Call)
	_ = run()
	w.Hook(nil)
	return f.Hit() != ""
}
