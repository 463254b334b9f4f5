package control

import (
	"cmp"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"claimdir/provisioner/cluster"
	"claimdir/provisioner/fair"
)

const (
	// refusedMost bounds what refusals remembers, because a tenant may create any number of claims, and
	// refusedMostOfOne what it remembers of one namespace, so that one tenant crowds out no other.
	refusedMost, refusedMostOfOne = 10_000, 1000
	// explainedMost is of how many it remembers the text, and explainedMostOfOne in one namespace.
	explainedMost, explainedMostOfOne = 1000, 50
	// tidyEvery is how long a look for refusals that stand no more is not repeated to make room.
	tidyEvery = time.Minute
	// missedLong is how long what found no room may be refused without being counted: a refusal that stands
	// is repeated at each resync, and finds room then if there is any.
	missedLong = 2 * cluster.Resync
)

// Refused is a claim, or a released volume, for which nothing is done now, and why.
type Refused struct {
	// Operation is the one that is refused, as claimdir_refused labels it: provision, save, expand or delete.
	Operation string
	Namespace string // of the claim
	Name      string // of the claim, or of the PersistentVolume that is to be deleted
	Class     string // empty for a claim whose volume is to be expanded
	// Reason is as claimdir_refusals_total labels it, or reasonExpansion.
	Reason string
	Text   string // as its event has it
	// Since is when it was refused first, for whatever reason.
	Since time.Time
}

// reasonExpansion is the reason of a claim whose volume cannot be expanded.
const reasonExpansion = "expansion"

// refusals remembers which claims, or which released volumes, were refused last. Nobody says when a refusal
// stands no more: the claim is bound, deleted, or another class's by then. So it is asked when somebody wants to
// know, and when there is no room for another one.
type refusals struct {
	// stands reports whether an object may still be refused, by what the caches hold. It must return at once.
	stands func(uid types.UID, r Refused) bool

	mu          sync.Mutex
	objects     map[types.UID]Refused // one that is only counted has no Text
	countedOf   map[string]int        // by namespace
	explained   int
	explainedOf map[string]int // by namespace
	tidied      time.Time
	missed      time.Time // when one found no room
}

func newRefusals(stands func(types.UID, Refused) bool) *refusals {
	return &refusals{stands: stands, objects: map[types.UID]Refused{}, countedOf: map[string]int{}, explainedOf: map[string]int{}}
}

// claimStands is refusals.stands for claims.
func claimStands(informers *cluster.Informers, known func(*v1.PersistentVolumeClaim) bool) func(types.UID, Refused) bool {
	return func(uid types.UID, r Refused) bool {
		name := cache.NewObjectName(r.Namespace, r.Name)
		if r.Reason == reasonExpansion {
			claim, expanding := informers.Expanding(name)
			return expanding && claim.UID == uid
		}
		object, found, err := informers.ClaimInformer().GetStore().GetByKey(name.String())
		claim, unbound := object.(*v1.PersistentVolumeClaim)
		return err == nil && found && unbound && claim.UID == uid && claim.DeletionTimestamp == nil && known(claim)
	}
}

// volumeStands is refusals.stands for released volumes.
func volumeStands(informers *cluster.Informers, released *releasedVolumes) func(types.UID, Refused) bool {
	return func(uid types.UID, r Refused) bool {
		pv, found := informers.Volume(r.Name)
		return found && pv.UID == uid && pv.Status.Phase == v1.VolumeReleased &&
			pv.Spec.PersistentVolumeReclaimPolicy == v1.PersistentVolumeReclaimDelete && !released.has(pv)
	}
}

// add remembers that an object is refused. Its Since counts only if it was not refused before.
func (c *refusals) add(uid types.UID, r Refused) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known := c.objects[uid]
	r.Text = cmp.Or(r.Text, r.Reason)
	if known {
		r.Since = before.Since
		c.drop(uid)
	}
	if (c.full(r.Namespace) || c.explained >= explainedMost) && time.Since(c.tidied) >= tidyEvery {
		c.tidy()
	}
	if c.full(r.Namespace) {
		c.missed = time.Now()
		return
	}
	if c.explained >= explainedMost || c.explainedOf[r.Namespace] >= explainedMostOfOne {
		r.Text = ""
	} else {
		c.explained++
		c.explainedOf[r.Namespace]++
	}
	c.objects[uid] = r
	c.countedOf[r.Namespace]++
}

// full reports whether there is no room for one more of the namespace. It must be called with mu held.
func (c *refusals) full(namespace string) bool {
	return len(c.objects) >= refusedMost || c.countedOf[namespace] >= refusedMostOfOne
}

// forget is called when an object has got what it asks for.
func (c *refusals) forget(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(uid)
}

// drop must be called with mu held.
func (c *refusals) drop(uid types.UID) {
	r, known := c.objects[uid]
	if !known {
		return
	}
	delete(c.objects, uid)
	countDown(c.countedOf, r.Namespace)
	if r.Text != "" {
		c.explained--
		countDown(c.explainedOf, r.Namespace)
	}
}

// countDown takes one from a count, and forgets one that is 0.
func countDown(counts map[string]int, key string) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}

// tidy drops what stands no more. It must be called with mu held.
func (c *refusals) tidy() {
	for uid, r := range c.objects {
		if !c.stands(uid, r) {
			c.drop(uid)
		}
	}
	c.tidied = time.Now()
}

// refusedFor is why objects are refused.
type refusedFor struct{ operation, class, reason string }

// count adds to counts how many are refused now, by why.
func (c *refusals) count(counts map[refusedFor]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tidy()
	for _, r := range c.objects {
		counts[refusedFor{r.Operation, r.Class, r.Reason}]++
	}
}

// list returns no more than that many of those that are refused now, with their reasons: a namespace after
// the other, of each the last first. total is how many there are, or at least are if more is true.
func (c *refusals) list(most int) (first []Refused, total int, more bool) {
	c.mu.Lock()
	c.tidy()
	total, more = len(c.objects), !c.missed.IsZero() && time.Since(c.missed) < missedLong
	all := make([]Refused, 0, c.explained)
	for _, r := range c.objects {
		if r.Text != "" {
			all = append(all, r)
		}
	}
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b Refused) int { return b.Since.Compare(a.Since) })
	var turns fair.Queue[Refused]
	for _, r := range all {
		turns.Push(r.Namespace, r)
	}
	for turns.Len() > 0 && len(first) < most {
		first = append(first, turns.Pop())
	}
	return first, total, more
}

// TellExpansion is Tell for what becomes of the expansion of a claim's volume. A warning says that it is refused.
func (c *Controller) TellExpansion(claim *v1.PersistentVolumeClaim, kind, reason, text string) {
	if kind == v1.EventTypeWarning {
		c.claims.add(claim.UID, Refused{Operation: opExpand, Namespace: claim.Namespace, Name: claim.Name, Reason: reasonExpansion, Text: brief(text), Since: time.Now()})
	} else {
		c.claims.forget(claim.UID)
	}
	c.Tell(claim, kind, reason, text)
}

// Refused returns the claims that are refused now, no more than most, with their reasons: a namespace after the
// other, of each the last first. total is how many there are; if more is true, there are that many or more. It
// calls nobody. Only a replica that leads refuses claims.
func (c *Controller) Refused(most int) (first []Refused, total int, more bool) {
	return c.claims.list(most)
}
