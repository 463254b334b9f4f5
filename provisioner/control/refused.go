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
	// refusedMost bounds the claims that refusedClaims remembers, because a tenant may create any number.
	refusedMost = 10_000
	// explainedMost is of how many it remembers the reason, and explainedMostOfOne in one namespace, so that one
	// tenant crowds out no other.
	explainedMost, explainedMostOfOne = 1000, 50
	// tidyEvery is how long a look for refusals that stand no more is not repeated to make room.
	tidyEvery = time.Minute
	// missedLong is how long a claim that found no room may be refused without being counted: a refusal that stands
	// is repeated at each resync, and finds room then if there is any.
	missedLong = 2 * cluster.Resync
)

// RefusedClaim is a claim for which nothing is done now, and why.
type RefusedClaim struct {
	Namespace, Name string
	Class           string // empty for a claim whose volume is to be expanded
	// Reason is as claimdir_refusals_total labels it, or reasonExpansion.
	Reason string
	Text   string // as its event has it
	// Since is when it was refused first, for whatever reason.
	Since time.Time
}

// reasonExpansion is the reason of a claim whose volume cannot be expanded.
const reasonExpansion = "expansion"

// refusedClaims remembers which claims were refused last. Nobody says when a refusal stands no more: the claim
// is bound, deleted, or another class's by then. So it is asked when somebody wants to know, and when there is
// no room for another claim.
type refusedClaims struct {
	// stands reports whether a claim may still be refused, by what the caches hold. It must return at once.
	stands func(uid types.UID, r RefusedClaim) bool

	mu          sync.Mutex
	claims      map[types.UID]RefusedClaim // one that is only counted has no Text
	explained   int
	explainedOf map[string]int // by namespace
	tidied      time.Time
	missed      time.Time // when a claim found no room
}

func newRefusedClaims(stands func(types.UID, RefusedClaim) bool) *refusedClaims {
	return &refusedClaims{stands: stands, claims: map[types.UID]RefusedClaim{}, explainedOf: map[string]int{}}
}

// refusedStands is refusedClaims.stands for the claims of the informers.
func refusedStands(informers *cluster.Informers, known func(*v1.PersistentVolumeClaim) bool) func(types.UID, RefusedClaim) bool {
	return func(uid types.UID, r RefusedClaim) bool {
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

// add remembers that a claim is refused. Its Since counts only if it was not refused before.
func (c *refusedClaims) add(uid types.UID, r RefusedClaim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known := c.claims[uid]
	r.Text = cmp.Or(r.Text, r.Reason)
	if known {
		r.Since = before.Since
		c.drop(uid)
	}
	full := len(c.claims) >= refusedMost
	if (full || c.explained >= explainedMost) && time.Since(c.tidied) >= tidyEvery {
		c.tidy()
		full = len(c.claims) >= refusedMost
	}
	if full {
		c.missed = time.Now()
		return
	}
	if c.explained >= explainedMost || c.explainedOf[r.Namespace] >= explainedMostOfOne {
		r.Text = ""
	} else {
		c.explained++
		c.explainedOf[r.Namespace]++
	}
	c.claims[uid] = r
}

// forget is called when a claim has got what it asks for.
func (c *refusedClaims) forget(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(uid)
}

// drop must be called with mu held.
func (c *refusedClaims) drop(uid types.UID) {
	r, known := c.claims[uid]
	if !known {
		return
	}
	delete(c.claims, uid)
	if r.Text == "" {
		return
	}
	c.explained--
	if c.explainedOf[r.Namespace]--; c.explainedOf[r.Namespace] == 0 {
		delete(c.explainedOf, r.Namespace)
	}
}

// tidy drops what stands no more. It must be called with mu held.
func (c *refusedClaims) tidy() {
	for uid, r := range c.claims {
		if !c.stands(uid, r) {
			c.drop(uid)
		}
	}
	c.tidied = time.Now()
}

// list returns no more than that many of the claims that are refused now, with their reasons: a namespace after
// the other, of each the last first. total is how many there are, or at least are if more is true.
func (c *refusedClaims) list(most int) (first []RefusedClaim, total int, more bool) {
	c.mu.Lock()
	c.tidy()
	total, more = len(c.claims), !c.missed.IsZero() && time.Since(c.missed) < missedLong
	all := make([]RefusedClaim, 0, c.explained)
	for _, r := range c.claims {
		if r.Text != "" {
			all = append(all, r)
		}
	}
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b RefusedClaim) int { return b.Since.Compare(a.Since) })
	var turns fair.Queue[RefusedClaim]
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
		c.refused.add(claim.UID, RefusedClaim{Namespace: claim.Namespace, Name: claim.Name, Reason: reasonExpansion, Text: brief(text), Since: time.Now()})
	} else {
		c.refused.forget(claim.UID)
	}
	c.Tell(claim, kind, reason, text)
}

// Refused returns the claims that are refused now, no more than most, with their reasons: a namespace after the
// other, of each the last first. total is how many there are; if more is true, there are that many or more. It
// calls nobody. Only a replica that leads refuses claims.
func (c *Controller) Refused(most int) (first []RefusedClaim, total int, more bool) {
	return c.refused.list(most)
}
