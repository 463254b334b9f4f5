package expiry

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"claimdir/provisioner/ledger"
)

// Shown is how many archives Found returns.
const Shown = 50

// Archive is an archive of this cluster that ends.
type Archive struct {
	Path             string
	Namespace, Claim string
	Until            time.Time
	Held             bool // it seems to have ended, and is kept for now
}

// Archives is what a check has found.
type Archives struct {
	At time.Time // of the check
	// Soonest are the archives that end first, the first one first: no more than Shown.
	Soonest []Archive
	// Ending is how many archives end, and Forever how many others there are: those that are kept for ever, and
	// those of other clusters.
	Ending, Forever int
}

// Found returns what the last check found, or false if there was none. It calls nobody.
func (e *Expirer) Found() (Archives, bool) {
	found := e.found.Load()
	if found == nil {
		return Archives{}, false
	}
	return *found, true
}

// soonest holds the archives that end first. A check reads only what is new to it, and a share may have very
// many, so it keeps a few more than it shows, and forgets the others until all are read again.
type soonest struct {
	archives map[string]Archive // by the file of the record
	cut      bool               // of those that do not come before horizon not all are known
	horizon  place
}

// place is where an archive stands in the order of their ends.
type place struct {
	until time.Time
	file  string
}

func (p place) compare(other place) int {
	return cmp.Or(p.until.Compare(other.until), cmp.Compare(p.file, other.file))
}

// add adds an archive, or renews what is known of it.
func (s *soonest) add(file string, r ledger.Record) {
	delete(s.archives, file)
	if r.Until == nil || s.cut && (place{*r.Until, file}).compare(s.horizon) >= 0 {
		return
	}
	s.archives[file] = Archive{Path: r.Path, Namespace: r.Claim.Namespace, Claim: r.Claim.Name, Until: *r.Until}
	if len(s.archives) <= 4*Shown {
		return
	}
	inOrder := s.inOrder()
	s.cut, s.horizon = true, inOrder[2*Shown]
	for _, p := range inOrder[2*Shown:] {
		delete(s.archives, p.file)
	}
}

// inOrder returns where the archives stand, the first one first.
func (s *soonest) inOrder() []place {
	all := make([]place, 0, len(s.archives))
	for file, archive := range s.archives {
		all = append(all, place{archive.Until, file})
	}
	slices.SortFunc(all, place.compare)
	return all
}

// check is what one check learns for Found.
type check struct {
	soonest

	listed          map[string]bool // which of soonest are still there
	ending, forever int
}

// newCheck begins a check. all says that it reads every record.
func (e *Expirer) newCheck(all bool) *check {
	c := &check{soonest: soonest{archives: map[string]Archive{}}, listed: map[string]bool{}}
	if !all {
		maps.Copy(c.archives, e.soonest.archives)
		c.cut, c.horizon = e.soonest.cut, e.soonest.horizon
	}
	return c
}

// list takes an archive that is there and that ends then; nil means never.
func (c *check) list(file string, end *time.Time) {
	if end == nil {
		c.forever++
	} else {
		c.ending++
	}
	if _, known := c.archives[file]; known {
		c.listed[file] = true
	}
}

// read takes an archive whose record was read. ours says that it is of this cluster.
func (c *check) read(file string, r ledger.Record, ours bool) {
	if !ours {
		r.Until = nil
	}
	c.add(file, r)
	c.list(file, r.Until)
}

// end makes what the check found known.
func (e *Expirer) end(c *check) {
	maps.DeleteFunc(c.archives, func(file string, _ Archive) bool { return !c.listed[file] })
	e.soonest = c.soonest
	found := &Archives{At: e.now(), Ending: c.ending, Forever: c.forever}
	inOrder := c.inOrder()
	for _, p := range inOrder[:min(Shown, len(inOrder))] {
		archive := c.archives[p.file]
		archive.Held = e.seen[p.file].held != notHeld
		found.Soonest = append(found.Soonest, archive)
	}
	e.found.Store(found)
}
