package main

import (
	"slices"
	"strings"

	"claimdir/hack/chaos/check"
)

// archives are those that one user's claims have left, as far as the user knows.
type archives struct {
	list    []kept
	of      map[string]string // the volume that each token was in last
	pending []string          // volumes that were released and may not be gone
	// uncertain says that a claim that was abandoned may have left an archive at any time.
	uncertain bool
}

// kept is one archive.
type kept struct {
	namespace, pv string
	expires       bool
	// clear says that those before it were archives already when its claim was made.
	clear bool
}

func newArchives() *archives { return &archives{of: map[string]string{}} }

// ask returns what a claim of the namespace says about archives, and which it must get if that is
// certain. It never asks for one that may not be there, which would be waited for for ever.
func (a *archives) ask(namespace string, s Story) (restore, from string) {
	var mine, stay []kept
	for _, k := range a.list {
		if k.namespace == namespace {
			mine = append(mine, k)
			if !k.expires {
				stay = append(stay, k)
			}
		}
	}
	if len(stay) == 0 {
		return "", ""
	}
	switch s.Restore {
	case Nothing:
		return "", ""
	case Picked:
		picked := stay[s.Pick%len(stay)]
		return picked.pv, picked.pv
	case Latest:
		restore = "latest"
	case LatestOrEmpty:
		restore = "latest-or-empty"
	}
	if last := mine[len(mine)-1]; !a.uncertain && !last.expires && (last.clear || len(mine) == 1) {
		from = last.pv
	}
	return restore, from
}

// took notes that a claim has got what lay in an archive.
func (a *archives) took(found []string) {
	a.list = slices.DeleteFunc(a.list, func(k kept) bool {
		return slices.ContainsFunc(found, func(token string) bool { return a.of[token] == k.pv })
	})
}

// abandon notes that nobody knows what a claim got and left.
func (a *archives) abandon(c *check.Claim) {
	a.uncertain = true
	a.list = slices.DeleteFunc(a.list, func(k kept) bool {
		return k.namespace == c.Namespace && (k.pv == c.Restore || strings.HasPrefix(c.Restore, "latest"))
	})
}

// release notes what a claim of the class leaves.
func (a *archives) release(c *check.Claim, class string) {
	for _, token := range append(slices.Clone(c.Found), c.Wrote...) {
		a.of[token] = c.PV
	}
	if parameters := classes()[class]; parameters["onDelete"] == "archive" {
		a.list = append(a.list, kept{namespace: c.Namespace, pv: c.PV, expires: parameters["archiveRetention"] != "", clear: len(a.pending) == 0})
	}
	a.pending = append(a.pending, c.PV)
}
