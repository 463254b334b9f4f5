package control

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// ErrLeaseLost says that another replica may lead now. The process must end at once, because the
// library cannot be stopped and started again.
var ErrLeaseLost = errors.New("the lease was lost")

var errDrainTimeout = errors.New("the time-out for the stop has expired")

// Run fills the caches, waits for the lease, and leads until ctx is done. Then it refuses new
// operations, waits for the running ones, releases the lease and returns nil. It returns
// ErrLeaseLost at once if the lease is lost, even before the elector notices (see Leadership). It
// returns another error if an operation does not end in time; the lease then expires on its own,
// which leaves a hung file operation that much time to end.
func (c *Controller) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	stopEvents := c.startEvents()
	defer stopEvents()
	// Everything below goes on after ctx is done, until the drain is over.
	background, stopAll := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAll()
	c.config.Informers.Factory().StartWithContext(background)
	if !cache.WaitForCacheSync(ctx.Done(), c.synced...) {
		return nil // stopped before anything began
	}
	logger.Info("The caches are filled")
	leadership := c.config.Leadership
	if leadership.lease == nil {
		return c.lead(ctx, background)
	}

	leading := make(chan struct{})
	elector, err := c.newElector(func() { close(leading) })
	if err != nil {
		return err
	}
	electing, stopElecting := context.WithCancel(background)
	defer stopElecting()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		elector.Run(electing)
		if electing.Err() == nil {
			leadership.lose(ErrLeaseLost)
		}
	}()
	go leadership.watch(background)
	select {
	case <-ctx.Done():
	case <-leadership.lost:
		return leadership.Check()
	case <-leading:
		if err := c.lead(ctx, background); err != nil {
			return err
		}
	}
	stopElecting()
	<-ended
	leadership.giveBack()
	if err := c.releaseLease(background); err != nil {
		logger.Error(err, "Cannot release the lease; it expires on its own")
	}
	return nil
}

// starter is implemented by a Provisioner with start-up work, which runs in the background once
// this replica leads.
type starter interface {
	// Start returns early if ctx is done.
	Start(ctx context.Context)
}

// lead runs the library until ctx is done and then drains it, or until the lease is lost.
func (c *Controller) lead(ctx, background context.Context) error {
	leadership := c.config.Leadership
	logger := klog.FromContext(ctx)
	logger.Info("Leading", "provisioner", c.config.Informers.Names()[0])
	c.metrics.leader.Set(1)
	defer c.metrics.leader.Set(0)
	running, stopLibrary := context.WithCancel(background)
	defer stopLibrary()
	for _, l := range c.queues {
		go l.library.Run(running)
	}
	go c.retryAll(running)
	go c.held.run(running)
	working, stopWorking := context.WithCancel(ctx)
	defer stopWorking()
	backgroundEnded := c.startBackground(working)
	go c.absent.run(working)

	select {
	case <-leadership.lost:
		c.gate.close()
		return leadership.Check()
	case <-ctx.Done():
	}
	logger.Info("Stopping: waiting for the running operations", "timeout", c.config.DrainTimeout)
	c.gate.close()
	drain, cancel := context.WithCancelCause(background)
	defer cancel(nil)
	timeout := time.AfterFunc(c.config.DrainTimeout, func() { cancel(errDrainTimeout) })
	defer timeout.Stop()
	go func() { // a lost lease ends the wait
		select {
		case <-leadership.lost:
			cancel(leadership.Check())
		case <-drain.Done():
		}
	}()
	if err := c.gate.wait(drain); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	select {
	case <-backgroundEnded:
	case <-drain.Done():
		return fmt.Errorf("stop: %w", context.Cause(drain))
	}
	if c.config.Unfinished != nil {
		if n := c.config.Unfinished(); n > 0 {
			return fmt.Errorf("stop: %d operations still wait for a share that does not answer", n)
		}
	}
	c.held.flush(drain)
	if err := leadership.Check(); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}

// startBackground starts the background work of a leader, which runs until ctx is done. It returns
// a channel that is closed once all of it has ended.
func (c *Controller) startBackground(ctx context.Context) (ended <-chan struct{}) {
	var all sync.WaitGroup
	for _, p := range c.config.Provisioners {
		if s, ok := p.(starter); ok {
			all.Go(func() { s.Start(ctx) })
		}
	}
	for _, run := range c.config.Background {
		all.Go(func() { run(ctx) })
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		all.Wait()
	}()
	return done
}
