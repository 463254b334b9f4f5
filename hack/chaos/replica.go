package main

import (
	"os"
	"sync"
	"time"

	"claimdir/hack/testbed"
)

// replica is one of claimdir's processes, which is started anew whenever it ends, as a kubelet would.
type replica struct {
	world  *world
	number int
	log    *os.File

	mu      sync.Mutex
	process *testbed.Process
	ending  bool
	ended   chan struct{}
}

// run starts the process, and again when it ends.
func (r *replica) run() {
	r.ended = make(chan struct{})
	go func() {
		defer close(r.ended)
		for {
			process := r.start()
			if process == nil {
				return
			}
			if code := process.Wait(); code >= 0 {
				r.world.counts.add("claimdir ended by itself")
			}
			<-time.After(300 * time.Millisecond)
		}
	}()
}

// start returns nil if no process is wanted any more.
func (r *replica) start() *testbed.Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.ending {
		process, err := r.world.bed.Claimdir(r.world.config(r.number, r.log))
		if err == nil {
			r.process = process
			return process
		}
		<-time.After(time.Second)
	}
	return nil
}

// current is the process that runs now, or has just ended; nil before the first.
func (r *replica) current() *testbed.Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.process
}

// kill ends the process without asking.
func (r *replica) kill() {
	if p := r.current(); p != nil {
		p.Kill()
	}
}

// end stops the process for good.
func (r *replica) end() {
	r.mu.Lock()
	r.ending = true
	process := r.process
	r.mu.Unlock()
	if process != nil {
		process.Kill()
	}
	if r.ended != nil {
		<-r.ended
	}
	_ = r.log.Close() // it is for people
}
