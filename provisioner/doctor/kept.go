package doctor

import (
	"iter"
	"strings"
	"time"

	"claimdir/provisioner/ledger"
)

// Add notes a record of the share. A share keeps the records of archives and retained directories
// for as long as these exist, and there may be far more of them than volumes; so of those Add notes
// only what Diagnose needs.
func (s *Site) Add(r ledger.Record) {
	if r.State != ledger.Archived && r.State != ledger.Retained {
		s.living = append(s.living, r)
		return
	}
	if s.names == nil {
		s.names = map[string]string{}
	}
	s.kept = append(s.kept, kept{
		path: r.Path, pv: part(r.Path, r.PV), claim: part(r.Path, r.Claim.Name), uid: part(r.PV, r.Claim.UID), origin: part(r.Path, r.Origin),
		namespace: s.name(r.Claim.Namespace), cluster: s.name(r.Cluster), archived: r.State == ledger.Archived,
		released: nanoseconds(r.Released), until: nanoseconds(r.Until),
	})
}

// Needs returns a function that reports whether a name or path is that of a volume whose record Add was
// called with.
func (s *Site) Needs() func(nameOrPath string) bool {
	needed := map[string]bool{}
	for i := range s.living {
		needed[s.living[i].PV], needed[s.living[i].Path] = true, true
	}
	return func(nameOrPath string) bool { return needed[nameOrPath] }
}

// AddPath notes a path that a volume has, for Orphans.
func (s *Site) AddPath(path string) { s.places = append(s.places, path) }

// kept is what is noted of the record of an archive or retained directory. Most of its strings are
// parts of path.
type kept struct {
	path, pv, namespace, claim, uid, cluster, origin string
	archived                                         bool
	released, until                                  int64 // in nanoseconds since 1970; 0 means never
}

// record returns the record, as far as it was noted.
func (k kept) record() ledger.Record {
	r := ledger.Record{
		State: ledger.Retained, Path: k.path, PV: k.pv, Claim: ledger.Claim{Namespace: k.namespace, Name: k.claim, UID: k.uid},
		Cluster: k.cluster, Origin: k.origin, Released: timeOf(k.released), Until: timeOf(k.until),
	}
	if k.archived {
		r.State = ledger.Archived
	}
	return r
}

// records yields all records of the share. Those of archives and retained directories are as kept
// has them.
func (s *Site) records() iter.Seq[ledger.Record] {
	return func(yield func(ledger.Record) bool) {
		for _, r := range s.living {
			if !yield(r) {
				return
			}
		}
		for _, k := range s.kept {
			if !yield(k.record()) {
				return
			}
		}
	}
}

// paths yields the paths of all records.
func (s *Site) paths() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range s.living {
			if !yield(s.living[i].Path) {
				return
			}
		}
		for i := range s.kept {
			if !yield(s.kept[i].path) {
				return
			}
		}
		for _, path := range s.places {
			if !yield(path) {
				return
			}
		}
	}
}

// name returns the string that the first record with that name had.
func (s *Site) name(name string) string {
	if known, found := s.names[name]; found {
		return known
	}
	s.names[name] = name
	return name
}

// part returns text as a part of whole, which takes no memory, if it is one.
func part(whole, text string) string {
	if i := strings.Index(whole, text); i >= 0 {
		return whole[i : i+len(text)]
	}
	return text
}

func nanoseconds(t *time.Time) int64 {
	if t == nil {
		return 0
	}
	return t.UnixNano()
}

func timeOf(nanoseconds int64) *time.Time {
	if nanoseconds == 0 {
		return nil
	}
	return new(time.Unix(0, nanoseconds))
}
