package provisioner

import (
	"fmt"
	"maps"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/access"
	"claimdir/provisioner/class"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volume"
)

// Sizes says how large the PersistentVolumes of the cluster are, and which claims wait for one: see cluster.Informers.
type Sizes interface {
	// EachSize calls do with the name and size, in bytes, of each PersistentVolume of ours on an export.
	EachSize(server, export string, do func(name string, bytes int64))
	// UnboundClaim returns the claim of that name if it names no volume.
	UnboundClaim(namespace, name string) (*v1.PersistentVolumeClaim, bool)
}

// promises know how much the volumes of each share request together, also those whose PersistentVolumes are
// not in the cache yet. The zero promises are ready to use.
type promises struct {
	mu     sync.Mutex
	shares map[*access.Keeper]*requested
}

// requested is what the volumes of one share request, in bytes.
type requested struct {
	at       time.Time
	known    float64            // by PersistentVolumes in the cache, at that time
	promised map[string]promise // by PersistentVolume
}

// promise is room for a volume that is being made or expanded, until the cache has its PersistentVolume with that size. It ends
// before if that may never come: after promisedFor, unless the claim still waits for the volume, as it does during a copy.
type promise struct {
	bytes  float64 // of the whole volume
	counts float64 // of these bytes, those that the PersistentVolume in the cache does not request
	at     time.Time
	claim  ledger.Claim // that waits for a new volume
}

const (
	// sumFor is how long the sum of the cached PersistentVolumes is used: it takes milliseconds if there are
	// very many. What comes meanwhile is in promised.
	sumFor      = time.Second
	promisedFor = time.Minute
)

// of returns what the volumes of a share request. It must be called with mu held.
func (r *promises) of(on *access.Keeper, sizes Sizes, now time.Time) *requested {
	if r.shares == nil {
		r.shares = map[*access.Keeper]*requested{}
	}
	of := r.shares[on]
	if of == nil {
		of = &requested{promised: map[string]promise{}}
		r.shares[on] = of
	}
	if now.Sub(of.at) < sumFor && !of.at.IsZero() {
		return of
	}
	of.at, of.known = now, 0
	sizes.EachSize(on.Source().Server, on.Source().Path, func(name string, bytes int64) {
		of.known += float64(bytes)
		if p, promised := of.promised[name]; promised {
			p.counts = p.bytes - float64(bytes)
			of.promised[name] = p
		}
	})
	maps.DeleteFunc(of.promised, func(_ string, p promise) bool {
		return p.counts <= 0 || now.Sub(p.at) >= promisedFor && !p.isAwaited(sizes)
	})
	return of
}

// isAwaited reports whether the claim still waits for the volume.
func (p promise) isAwaited(objects Sizes) bool {
	claim, unbound := objects.UnboundClaim(p.claim.Namespace, p.claim.Name)
	return unbound && string(claim.UID) == p.claim.UID
}

// counts returns how much of what r's volume would request is not in known.
func (q *requested) counts(r request) float64 {
	if p, promised := q.promised[r.pv]; promised {
		return r.bytes - (p.bytes - p.counts)
	}
	return r.more
}

// sum returns what all volumes would request once r is granted.
func (q *requested) sum(r request) float64 {
	sum := q.known + q.counts(r)
	for name, p := range q.promised {
		if name != r.pv {
			sum += p.counts
		}
	}
	return sum
}

// takeRoom promises the volume room on the share, or refuses it.
func (p *Pool) takeRoom(on *access.Keeper, c class.Class, v volume.Volume) error {
	q := requestOf(v)
	q.keep = true
	return p.ask(on, c, q)
}

// keepRoom promises room to a volume that was begun, perhaps by an earlier process, without asking whether there is any.
func (p *Pool) keepRoom(on *access.Keeper, c class.Class, v volume.Volume) {
	if c.Overcommit == 0 {
		return
	}
	p.promises.mu.Lock()
	defer p.promises.mu.Unlock()
	now := p.now()
	p.promises.of(on, p.objects, now).promise(requestOf(v), now)
}

// giveRoomBack ends the promise of room for a volume that was not made.
func (p *Pool) giveRoomBack(on *access.Keeper, v volume.Volume) {
	p.promises.mu.Lock()
	defer p.promises.mu.Unlock()
	if of := p.promises.shares[on]; of != nil {
		delete(of.promised, v.Name)
	}
}

// HasRoom returns a *refusal.Refusal if the class of a PersistentVolume does not let it become larger by
// that many bytes now. A class that is gone, or has mistakes, asks for nothing.
func (p *Pool) HasRoom(on *access.Keeper, pv *v1.PersistentVolume, bytes int64) error {
	sc, found := p.objects.Class(volume.ClassOfPV(pv))
	if !found {
		return nil
	}
	c, err := p.classes.Parse(string(sc.UID), sc.Parameters)
	if err != nil {
		return nil
	}
	size := pv.Spec.Capacity[v1.ResourceStorage]
	return p.ask(on, c, request{class: sc.Name, pv: pv.Name, more: float64(bytes), bytes: float64(size.Value() + bytes), keep: true})
}

// request is for room on a share.
type request struct {
	class, pv string
	more      float64 // bytes that the PersistentVolume does not request yet
	bytes     float64 // that it then requests
	claim     ledger.Claim
	keep      bool // the room is promised
}

// requestOf is the request for a new volume.
func requestOf(v volume.Volume) request {
	bytes := float64(v.Size.Value())
	return request{class: v.Class, pv: v.Name, more: bytes, bytes: bytes, claim: v.Claim}
}

func (q *requested) promise(r request, now time.Time) {
	q.promised[r.pv] = promise{bytes: r.bytes, counts: q.counts(r), at: now, claim: r.claim}
}

// ask refuses a request that the class does not allow, and otherwise promises the room if it is to be kept.
func (p *Pool) ask(on *access.Keeper, c class.Class, q request) error {
	room := p.room(on)
	if room.Size == 0 && (c.MinFree != (class.MinFree{}) || c.Overcommit != 0) {
		return refusal.Postpone(refusal.ReasonRoom, "%s does not say how large it is, so claimdir cannot do what StorageClass %s asks (minFree, overcommit): "+
			"use a class without these, or a server whose statfs gives a size; this is retried automatically", nameOf(on), q.class)
	}
	if need := c.MinFree.Of(room.Size); room.Free < need {
		return refusal.Postpone(refusal.ReasonRoom, "%s has %s free, and StorageClass %s asks that %s stay free (minFree): make room on the share; this is retried automatically",
			nameOf(on), class.FormatSize(float64(room.Free)), q.class, class.FormatSize(float64(need)))
	}
	if c.Overcommit == 0 {
		return nil
	}
	p.promises.mu.Lock()
	defer p.promises.mu.Unlock()
	now := p.now()
	of := p.promises.of(on, p.objects, now)
	if most, sum := float64(room.Size)*c.Overcommit, of.sum(q); sum > most {
		return refusal.Postpone(refusal.ReasonRoom, "the volumes of %s request %s, and with %s more they would be above %s, %v times its size (overcommit of StorageClass %s): "+
			"release volumes, or enlarge the share; this is retried automatically",
			nameOf(on), class.FormatSize(sum-q.more), class.FormatSize(q.more), class.FormatSize(most), c.Overcommit, q.class)
	}
	if q.keep {
		of.promise(q, now)
	}
	return nil
}

// nameOf names a share in a sentence.
func nameOf(on *access.Keeper) string {
	if on.Name() == "" {
		return "the share"
	}
	return fmt.Sprintf("share %q", on.Name())
}
