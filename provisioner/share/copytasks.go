package share

import (
	"context"
	"sync"
)

// tasks is the work of a copy that is left: a stack, so that a tree is copied depth first, and few tasks wait at any
// time.
type tasks struct {
	mu    sync.Mutex
	more  sync.Cond
	left  []func() error
	busy  int   // workers with a task
	first error // the first error of a task
}

// add adds tasks; the last one is done first.
func (t *tasks) add(these ...func() error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left = append(t.left, these...)
	t.more.Broadcast()
}

// waiting returns how many tasks wait.
func (t *tasks) waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.left)
}

// take waits for a task. It returns nil once nothing is left, or a task has failed.
func (t *tasks) take() func() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.left) == 0 && t.busy > 0 && t.first == nil {
		t.more.Wait()
	}
	if len(t.left) == 0 || t.first != nil {
		return nil
	}
	last := len(t.left) - 1
	task := t.left[last]
	t.left[last] = nil
	t.left = t.left[:last]
	t.busy++
	return task
}

// end says that a task has ended.
func (t *tasks) end(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy--
	if t.first == nil {
		t.first = err
	}
	if t.busy == 0 || t.first != nil {
		t.more.Broadcast()
	}
}

// work does all tasks, and those that they add, with all workers. After an error it ends as soon as the calls under way have ended.
func (c *copying) work(first ...func() error) error {
	c.tasks.more.L = &c.tasks.mu
	c.tasks.add(first...)
	var workers sync.WaitGroup
	for range c.workers {
		workers.Go(func() {
			for task := c.tasks.take(); task != nil; task = c.tasks.take() {
				err := task()
				if err != nil {
					c.stop(err) // the others end at their next call
				}
				c.tasks.end(err)
			}
		})
	}
	workers.Wait()
	if c.tasks.first == nil && c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return c.tasks.first
}
