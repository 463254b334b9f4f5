package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/faultfs"
)

// suffer carries out the faults of a lane, one after the other, until the time is over.
func (w *world) suffer(ctx context.Context, l Lane) error {
	for _, f := range l.Faults {
		w.rest(ctx, f.Wait)
		for f.After != "" && !w.hasTold(f.After) && !w.isOver() && ctx.Err() == nil {
			w.rest(ctx, 100*time.Millisecond)
		}
		if w.isOver() || ctx.Err() != nil {
			return nil
		}
		if err := w.begin(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// begin lets one fault begin, last and end.
func (w *world) begin(ctx context.Context, f Fault) error {
	r := w.replicas[f.Replica%len(w.replicas)]
	fmt.Fprintf(w.events, "%s %s: %+v\n", time.Now().UTC().Format("15:04:05.000"), f.Kind, f)
	defer func() { fmt.Fprintf(w.events, "%s %s is over\n", time.Now().UTC().Format("15:04:05.000"), f.Kind) }()
	switch f.Kind {
	case kill, killAll:
		r.kill()
		if f.Kind == killAll {
			w.replicas[len(w.replicas)-1-r.number].kill()
		}
		if f.Pick%2 == 0 { // else the lease runs out
			w.freeLease(ctx)
		}
	case killAtStep:
		w.killAtStep(ctx, f)
		return nil
	case pauseShort, pauseLong:
		w.pause(ctx, r, f.Last)
	case lateCall:
		w.holdCall(ctx, r, f)
	case hang, lateAnswer, lostAnswer, failing, full, stale, slow:
		w.spoilShare(ctx, f)
	case after500, conflict, tooMany, timeOut, cut:
		w.spoilAPI(ctx, f)
	case steal:
		return w.steal(ctx, f)
	case outage:
		return w.stopAPIServer(ctx, f)
	}
	w.counts.add(f.Kind)
	return nil
}

// pause stops a process, and lets it go on later, after what is to come first.
func (w *world) pause(ctx context.Context, r *replica, last time.Duration, first ...func()) {
	p := r.current()
	if p == nil || p.Pause() != nil {
		return
	}
	w.rest(ctx, last)
	for _, do := range first {
		do()
	}
	_ = p.Resume() // it may have been killed
}

// holdCall stops a process in the middle of a change of the share, which the server carries out when another
// may lead.
func (w *world) holdCall(ctx context.Context, r *replica, f Fault) {
	held := w.mounts[r.number].fs.HangOne(changes()[f.Pick%len(changes())])
	defer held.Release()
	select {
	case <-held.Caught():
		w.pause(ctx, r, f.Last, held.Release)
	case <-ctx.Done():
	case <-w.over:
	case <-time.After(10 * time.Second):
	}
}

// killAtStep waits until one of the replicas comes to a step, and kills it there.
func (w *world) killAtStep(ctx context.Context, f Fault) {
	s := steps()[f.Pick]
	var held []met
	for i := range w.replicas {
		held = append(held, w.hold(i, s))
	}
	here := -1
	select {
	case <-held[0].caught:
		here = 0
	case <-held[len(held)-1].caught:
		here = len(held) - 1
	case <-ctx.Done():
	case <-w.over:
	case <-time.After(f.Last):
	}
	if here >= 0 {
		w.replicas[here].kill()
		w.counts.add(killAtStep)
		fmt.Fprintf(w.events, "%s killed replica %d %s\n", time.Now().UTC().Format("15:04:05.000"), here, s.name)
		w.counts.add("step: " + s.name)
	} else {
		w.counts.add("step that nobody came to: " + s.name)
	}
	for _, m := range held {
		m.let()
	}
	if here >= 0 {
		w.freeLease(ctx)
	}
}

// spoilShare spoils the share for both replicas, as its server would.
func (w *world) spoilShare(ctx context.Context, f Fault) {
	var undo []func()
	for _, m := range w.mounts {
		if end := spoilMount(m.fs, f); end != nil {
			undo = append(undo, end)
		}
	}
	if f.Kind == stale {
		for end := time.Now().Add(f.Last); time.Now().Before(end) && !w.isOver(); {
			for _, m := range w.mounts {
				m.fs.Stale()
			}
			w.rest(ctx, 100*time.Millisecond)
		}
		return
	}
	w.rest(ctx, f.Last)
	for _, end := range undo {
		end()
	}
}

// changes are the calls that change a share.
func changes() []faultfs.Call {
	return []faultfs.Call{faultfs.Mkdir, faultfs.Rename, faultfs.Create, faultfs.Write, faultfs.Setattr, faultfs.Unlink, faultfs.Rmdir, faultfs.Fsync}
}

func spoilMount(fs *faultfs.FS, f Fault) (undo func()) {
	one := changes()[f.Pick%len(changes())]
	errnos := []syscall.Errno{syscall.EIO, syscall.EACCES, syscall.EROFS, syscall.ESTALE, syscall.ETIMEDOUT}
	errno := errnos[f.Pick/16%len(errnos)]
	all := f.Pick/256%2 == 0
	switch f.Kind {
	case hang:
		if all {
			return fs.Hang()
		}
		return fs.Hang(one)
	case lateAnswer:
		return fs.HangAnswer(one)
	case lostAnswer:
		return fs.DropAnswer(syscall.EIO, one)
	case failing:
		if all {
			return fs.Fail(errno)
		}
		return fs.Fail(errno, one)
	case full:
		return fs.Fail(syscall.ENOSPC, faultfs.Mkdir, faultfs.Create, faultfs.Write)
	case slow:
		fs.Delay(time.Duration(20+f.Pick%80) * time.Millisecond)
		return func() { fs.Delay(0) }
	}
	return nil
}

// spoilAPI spoils answers of the API server to both replicas.
func (w *world) spoilAPI(ctx context.Context, f Fault) {
	percent := 20 + f.Pick%80
	over := make(chan struct{})
	undo := []func(){func() { close(over) }}
	for _, p := range w.proxies {
		undo = append(undo, p.add(&rule{some(f.Pick, percent, f.Kind != conflict), spoiler(f.Kind, over)}))
	}
	w.rest(ctx, f.Last)
	for _, end := range undo {
		end()
	}
}

// lease changes the lease of the world's claimdir, if it is there.
func (w *world) lease(ctx context.Context, holder string, seconds int32) error {
	leases := w.bed.Admin.CoordinationV1().Leases("claimdir")
	list, err := leases.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, lease := range list.Items {
		if !isLeaseOf(lease.Name, w.name) {
			continue
		}
		lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds, lease.Spec.RenewTime = &holder, &seconds, new(metav1.NowMicro())
		if _, err := leases.Update(ctx, &lease, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// freeLease lets the next leader come at once after the last one was killed, as if it had stopped well:
// otherwise a run would be waiting for leases. If it cannot, the lease runs out.
func (w *world) freeLease(ctx context.Context) {
	call, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, r := range w.replicas {
		if p := r.current(); p != nil && w.leads(call, p) {
			return
		}
	}
	_ = w.lease(call, "", 1) // see above
}

// steal gives the lease to somebody who is not there, for some time.
func (w *world) steal(ctx context.Context, f Fault) error {
	err := try(ctx, "steal the lease", func(ctx context.Context) error { return w.lease(ctx, "thief", int32(f.Last.Seconds())+1) })
	w.counts.add(f.Kind)
	return err
}

// stopAPIServer stops it for everybody. The controller manager starts anew with it: its own watches would come
// back after up to half a minute, in which nothing is bound and claimdir has nothing to do.
func (w *world) stopAPIServer(ctx context.Context, f Fault) error {
	w.bed.StopAPIServer()
	w.rest(ctx, f.Last)
	w.counts.add(f.Kind)
	w.bed.StopControllerManager()
	if err := w.bed.StartAPIServer(ctx); err != nil {
		return err
	}
	return w.bed.StartControllerManager(ctx)
}
