package main

import (
	"context"
	"encoding/json"
	"os"
	"sync"
	"syscall"
	"time"

	"claimdir/hack/chaos/check"
)

// journal is the log of what users did. Of each file that they wrote it keeps a descriptor: a file without
// any name is deleted, and neither a rename nor a process that was killed can hide that.
type journal struct {
	mu    sync.Mutex
	log   check.Log
	files map[string]*os.File // by token
}

func newJournal() *journal {
	return &journal{log: check.Log{Tokens: map[string]*check.Token{}}, files: map[string]*os.File{}}
}

// begin notes a claim that is about to be made.
func (j *journal) begin(c *check.Claim) *check.Claim {
	j.mu.Lock()
	defer j.mu.Unlock()
	c.Made = time.Now()
	j.log.Claims = append(j.log.Claims, c)
	return c
}

// note changes what is known.
func (j *journal) note(change func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change()
}

// token notes a file that is about to be written.
func (j *journal) token(name string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.log.Tokens[name] = &check.Token{}
}

func (j *journal) keep(token string, file *os.File) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.files[token] = file
}

// watch looks for files that were deleted, until ctx ends.
func (j *journal) watch(ctx context.Context) {
	for {
		j.look()
		select {
		case <-ctx.Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (j *journal) look() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for name, file := range j.files {
		var stat syscall.Stat_t
		if syscall.Fstat(int(file.Fd()), &stat) != nil || stat.Nlink > 0 {
			continue
		}
		j.log.Tokens[name].Gone = time.Now()
		delete(j.files, name)
		_ = file.Close() // nothing was written with it
	}
}

// snapshot is a copy that does not change.
func (j *journal) snapshot() check.Log {
	j.look()
	j.mu.Lock()
	defer j.mu.Unlock()
	copied := check.Log{Tokens: map[string]*check.Token{}}
	for _, c := range j.log.Claims {
		one := *c
		copied.Claims = append(copied.Claims, &one)
	}
	for name, token := range j.log.Tokens {
		one := *token
		copied.Tokens[name] = &one
	}
	return copied
}

// living are the claims that nobody has deleted.
func (j *journal) living() (all []*check.Claim) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range j.log.Claims {
		if c.Deleted.IsZero() {
			all = append(all, c)
		}
	}
	return all
}

// save writes all that is known into a file, for people.
func (j *journal) save(file string) error {
	data, err := json.MarshalIndent(j.snapshot(), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

func (j *journal) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, file := range j.files {
		_ = file.Close() // nothing was written with it
	}
	j.files = map[string]*os.File{}
}
