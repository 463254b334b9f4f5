package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"claimdir/hack/chaos/check"
)

// settling bounds what comes after the faults.
type settling struct {
	// patience is how long all may take that was begun: an operation that failed often waits up to five
	// minutes before it is tried again.
	patience time.Duration
	// age is how old all must be when doctor looks for the last time, which does not judge what is younger
	// than a minute.
	age time.Duration
	// all has each user tell all stories of the slot, if half of the patience is enough for that.
	all bool
}

// run has the users tell their stories and the faults happen for the duration, and returns what
// is wrong when all has become quiet.
func (w *world) run(ctx context.Context, p Plan, duration time.Duration, s settling, progress io.Writer) (violations []check.Violation, err error) {
	watch, stopWatch := context.WithCancel(ctx)
	defer stopWatch()
	go w.journal.watch(watch)
	for _, r := range w.replicas {
		r.run()
	}
	life, end := context.WithTimeoutCause(ctx, duration+s.patience, fmt.Errorf("%v after the last fault", s.patience))
	defer end()
	var users, lanes sync.WaitGroup
	var mu sync.Mutex
	report := func(err error) {
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			violations = append(violations, check.Violation{Text: err.Error()})
		}
	}
	for i, slot := range p.Slots {
		w.users = append(w.users, &user{world: w, slot: slot, at: i % 2, archives: newArchives()})
	}
	for _, u := range w.users {
		users.Go(func() { report(u.run(life)) })
	}
	for _, lane := range p.Lanes {
		lanes.Go(func() {
			if err := w.suffer(ctx, lane); err != nil {
				report(fmt.Errorf("lane %s: %w", lane.Name, err))
			}
		})
	}
	suffered := make(chan struct{})
	go func() { lanes.Wait(); close(suffered) }()
	w.tick(ctx, duration, progress)
	if s.all {
		until := time.Now().Add(s.patience / 2)
		w.restUntil(ctx, until, func() bool { return isClosed(suffered) })
		close(w.late)
		w.restUntil(ctx, until, w.allTold)
	}
	close(w.over)
	<-suffered
	fmt.Fprintln(progress, "all faults are over; waiting until all users have what they wait for")
	waitFor(ctx, &users, progress, w)
	found, err := w.settle(life, s, progress)
	if err == nil && len(violations)+len(found) == 0 {
		found, err = w.releaseAll(ctx, s, progress)
	}
	mu.Lock()
	defer mu.Unlock()
	return append(violations, found...), err
}

// releaseAll deletes the claims that are left, and returns what is wrong when their volumes are gone.
func (w *world) releaseAll(ctx context.Context, s settling, progress io.Writer) ([]check.Violation, error) {
	fmt.Fprintln(progress, "all is well; deleting the claims that are left")
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	u := &user{world: w}
	for _, c := range w.journal.living() {
		if err := u.deleteClaim(ctx, c); err != nil {
			return nil, err
		}
		w.counts.add("claims released")
	}
	return w.settle(ctx, settling{}, progress)
}

// restUntil waits until something is so, or the time has come.
func (w *world) restUntil(ctx context.Context, until time.Time, is func() bool) {
	for !is() && time.Now().Before(until) && ctx.Err() == nil {
		w.rest(ctx, 200*time.Millisecond)
	}
}

// allTold reports whether each user has told all stories.
func (w *world) allTold() bool {
	return !slices.ContainsFunc(w.users, func(u *user) bool {
		return u.slot.Role != Resident && int(u.ended.Load()) < len(u.slot.Stories)
	})
}

// hasTold reports whether the user of a slot has told a story.
func (w *world) hasTold(slot string) bool {
	return slices.ContainsFunc(w.users, func(u *user) bool { return u.slot.Name == slot && u.ended.Load() > 0 })
}

// tick tells every ten seconds what has happened, until the duration is over.
func (w *world) tick(ctx context.Context, duration time.Duration, progress io.Writer) {
	began, every := time.Now(), time.NewTicker(10*time.Second)
	defer every.Stop()
	end := time.After(duration)
	for {
		select {
		case <-ctx.Done():
			return
		case <-end:
			return
		case <-every.C:
			fmt.Fprintf(progress, "%4.0fs  %s\n", time.Since(began).Seconds(), w.counts.line())
		}
	}
}

// waitFor waits for the users, which end by themselves, and tells of it.
func waitFor(ctx context.Context, users *sync.WaitGroup, progress io.Writer, w *world) {
	done := make(chan struct{})
	go func() { users.Wait(); close(done) }()
	for {
		select {
		case <-done:
			return
		case <-ctx.Done():
			<-done
			return
		case <-time.After(10 * time.Second):
			fmt.Fprintln(progress, "      ", w.counts.line())
		}
	}
}

// settle looks until nothing is wrong, or something is that waiting cannot mend, or time is up.
func (w *world) settle(ctx context.Context, s settling, progress io.Writer) (violations []check.Violation, err error) {
	began := time.Now()
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < s.age+15*time.Second {
		// Users that waited in vain must not hide what else is wrong.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), s.age+15*time.Second)
		defer cancel()
	}
	for look := 0; ; look++ {
		var done bool
		if violations, done, err = w.look(ctx, s, time.Since(began)); err != nil || done {
			return violations, err
		}
		if look%5 == 0 {
			fmt.Fprintln(progress, "       to come in order:", len(violations), violations[:min(1, len(violations))])
		}
		select {
		case <-ctx.Done():
			if len(violations) == 0 {
				return nil, errors.New("doctor finds records that are too young to judge, for ever")
			}
			return violations, nil
		case <-time.After(2 * time.Second):
		}
	}
}

// look looks once, and with doctor if all is well and old enough. It is done when nothing is wrong, or
// something that waiting cannot mend.
func (w *world) look(ctx context.Context, s settling, waited time.Duration) (violations []check.Violation, done bool, err error) {
	// A look that has begun ends, also if that was the last moment for it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	state, err := w.observe(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("look at the cluster and the share: %w", err)
	}
	violations = check.Check(state)
	switch {
	case slices.ContainsFunc(violations, func(v check.Violation) bool { return v.Lasting }):
		return violations, true, nil
	case waited < s.age:
		return violations, false, nil
	case len(violations) > 0 && s.age > 0:
		return violations, false, w.fixAbandoned(ctx, state.Log)
	case len(violations) > 0:
		return violations, false, nil
	}
	findings, young, err := w.doctor(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("claimdir doctor: %w", err)
	}
	for _, f := range findings {
		state.Findings = append(state.Findings, f.String())
	}
	violations = check.Check(state)
	return violations, len(violations) == 0 && (young == 0 || s.age == 0), nil
}
