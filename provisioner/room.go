package provisioner

import (
	"fmt"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/access"
	"claimdir/provisioner/class"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volume"
)

// Sizes says how large the PersistentVolumes of the cluster are: see cluster.Informers.
type Sizes interface {
	// EachSize calls do with the name and size, in bytes, of each PersistentVolume of ours on an export.
	EachSize(server, export string, do func(name string, bytes int64))
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
	promised map[string]float64 // by those that were not, by name
}

// sumFor is how long the sum of the cached PersistentVolumes is used: it takes milliseconds if there are
// very many. What comes meanwhile is in promised.
const sumFor = time.Second

// of returns what the volumes of a share request. It must be called with mu held.
func (r *promises) of(on *access.Keeper, sizes Sizes, now time.Time) *requested {
	if r.shares == nil {
		r.shares = map[*access.Keeper]*requested{}
	}
	of := r.shares[on]
	if of == nil {
		of = &requested{promised: map[string]float64{}}
		r.shares[on] = of
	}
	if now.Sub(of.at) < sumFor && !of.at.IsZero() {
		return of
	}
	of.at, of.known = now, 0
	sizes.EachSize(on.Source().Server, on.Source().Path, func(name string, bytes int64) {
		of.known += float64(bytes)
		delete(of.promised, name)
	})
	return of
}

func (q *requested) sum() float64 {
	sum := q.known
	for _, bytes := range q.promised {
		sum += bytes
	}
	return sum
}

// takeRoom promises the volume room on the share, or refuses it. A share that is not to be overcommitted
// counts what was promised until the PersistentVolume is in the cache, or until giveRoomBack.
func (p *Pool) takeRoom(on *access.Keeper, c class.Class, v volume.Volume) error {
	return p.ask(on, c, request{class: v.Class, bytes: v.Size.Value(), promiseTo: v.Name})
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
	return p.ask(on, c, request{class: sc.Name, bytes: bytes})
}

// request is for room on a share.
type request struct {
	class     string
	bytes     int64
	promiseTo string // the volume that gets the room, if it is to be kept
}

// ask refuses a request that the class does not allow, and otherwise keeps the room if it is promised.
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
	of, bytes := p.promises.of(on, p.objects, p.now()), float64(q.bytes)
	if most := float64(room.Size) * c.Overcommit; of.sum()+bytes > most {
		return refusal.Postpone(refusal.ReasonRoom, "the volumes of %s request %s, and with %s more they would be above %s, %v times its size (overcommit of StorageClass %s): "+
			"release volumes, or enlarge the share; this is retried automatically",
			nameOf(on), class.FormatSize(of.sum()), class.FormatSize(bytes), class.FormatSize(most), c.Overcommit, q.class)
	}
	if q.promiseTo != "" {
		of.promised[q.promiseTo] = bytes
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
