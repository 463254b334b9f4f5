package expiry

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/volpath"
)

// A clock that jumps ahead, and a share that comes back from a backup, let many archives expire
// that nobody meant to lose. So an archive that seems to have expired is held back:
//
//   - as long as the file server's clock says otherwise than ours;
//   - if we find it late, long after its end: until we have seen it expired for a day, by a clock
//     that cannot jump. Of these only some end a day.
//
// An archive that ends while we look goes at once. A restart forgets what was seen, so the day
// begins anew.
const (
	// late is how long after its end an archive is found late.
	late = time.Hour
	// grace is how long an archive that is found late is kept, and the time in which only leastADay
	// of them go, or one in shareADay of all archives if that is more.
	grace     = 24 * time.Hour
	leastADay = 100
	shareADay = 10
)

// reason is why an archive is held back.
type reason string

const (
	notHeld   reason = ""
	heldClock reason = "clock" // the server's clock says that it has not expired
	heldLate  reason = "late"  // it was found late
)

// sighting is when an archive was first seen expired, and what became of that.
type sighting struct {
	since time.Time
	late  bool
	held  reason
	// copied says that it was kept for a copy. It does not count as held back.
	copied bool
}

// holdBack returns those of the archives, which have expired by our clock, that may end now.
func (e *Expirer) holdBack(ctx context.Context, expired []ledger.Record) (due []ledger.Record, err error) {
	first := map[reason]ledger.Record{}
	if len(expired) > 0 {
		server, err := e.serverTime(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range expired {
			held := e.look(r, server)
			if held == notHeld {
				due = append(due, r)
			} else if _, known := first[held]; !known {
				first[held] = r
			}
		}
	}
	e.tell(ctx, first)
	return due, nil
}

// look says why an archive that has expired by our clock is held back.
func (e *Expirer) look(r ledger.Record, server time.Time) reason {
	path, err := volpath.ParseRecorded(r.Path)
	if err != nil {
		return notHeld
	}
	file, now := ledger.FileOf(path), e.now()
	seen, known := e.seen[file]
	if !known {
		seen = sighting{since: now, late: now.Sub(*r.Until) > late}
	}
	switch {
	case r.Until.After(server):
		seen.held = heldClock
	case seen.late && (now.Sub(seen.since) < grace || !e.mayEndLate(now)):
		seen.held = heldLate
	default:
		seen.held = notHeld
	}
	e.seen[file] = seen
	if seen.held != notHeld {
		e.ends[file] = new(now.Add(again))
	}
	return seen.held
}

// keepForCopy keeps an archive that has expired, of which a claim is to be a copy, until it is looked at again. It says so once.
func (e *Expirer) keepForCopy(ctx context.Context, r ledger.Record, file, claim string) {
	e.ends[file] = new(e.now().Add(again))
	seen := e.seen[file]
	if seen.late {
		e.endedLate-- // it has not ended, and takes no place of others
	}
	if !seen.copied {
		klog.FromContext(ctx).Info("An archive has expired, and is kept until a claim has its copy", "archive", r.Path, "PV", r.PV, "PVC", klog.KRef(r.Claim.Namespace, claim))
	}
	seen.copied = true
	e.seen[file] = seen
}

// mayEndLate reports whether one more archive that was found late may end now, and counts it.
func (e *Expirer) mayEndLate(now time.Time) bool {
	if e.day.IsZero() || now.Sub(e.day) >= grace {
		e.day, e.endedLate = now, 0
	}
	if e.endedLate >= max(leastADay, len(e.ends)/shareADay) {
		return false
	}
	e.endedLate++
	return true
}

func (e *Expirer) serverTime(ctx context.Context) (now time.Time, err error) {
	err = e.config.Keeper.Background(ctx, "read the server's time", func(_ context.Context, store ledger.Store) (err error) {
		now, err = store.Records.ServerTime()
		return err
	})
	if err != nil {
		return time.Time{}, err // the operation may still be under way, and write now
	}
	return now, nil
}

// tell counts the archives that are held back, and tells of each reason once a day. first has one
// of those that this check has held back, by reason.
func (e *Expirer) tell(ctx context.Context, first map[reason]ledger.Record) {
	count := map[reason]int{}
	for _, seen := range e.seen {
		count[seen.held]++
	}
	for _, why := range []reason{heldClock, heldLate} {
		e.held.WithLabelValues(string(why)).Set(float64(count[why]))
		r, now := first[why]
		if count[why] == 0 {
			delete(e.told, why)
		}
		if told, before := e.told[why]; !now || before && e.now().Sub(told) < grace {
			continue
		}
		e.told[why] = e.now()
		klog.FromContext(ctx).Info("Archives that seem to have expired are held back", "archives", count[why], "reason", why, "first", r.Path, "until", klog.SafePtr(r.Until))
		e.config.Held(ctx, r, why.text(count[why], r))
	}
}

// text says for people why archives are held back, and what to do.
func (why reason) text(count int, first ledger.Record) string {
	if why == heldClock {
		return fmt.Sprintf("archives have expired by the clock of claimdir's node, but not by that of the file server, and are kept (%d, such as %s): set the clock that is wrong", count, first.Path)
	}
	return fmt.Sprintf("archives had expired more than %s before claimdir noticed (%d, such as %s): a clock jumped, or claimdir or the share was down or came back from a backup. "+
		"They are kept for %s more, and then at most %d or 10 %% of all archives end a day. Restore now what is still needed; claimdir archive purge --ended ends them at once", late, count, first.Path, grace, leastADay)
}

// newHeld makes the metric of the archives that are held back.
func newHeld(shareName string) *prometheus.GaugeVec {
	held := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "claimdir_archives_held_back", Help: "Archives that seem to have expired and are kept for now, by reason.", ConstLabels: prometheus.Labels{"share": shareName},
	}, []string{"reason"})
	for _, why := range []reason{heldClock, heldLate} {
		held.WithLabelValues(string(why))
	}
	return held
}

// Collectors returns the metric of the archives on this share that are held back.
func (e *Expirer) Collectors() []prometheus.Collector { return []prometheus.Collector{e.held} }
