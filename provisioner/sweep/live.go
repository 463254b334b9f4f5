package sweep

import (
	"context"
	"fmt"
	"iter"
	"strings"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/ledger"
)

// live is what the API server says of the PersistentVolumes that matter to the work of a pass.
type live struct {
	phases map[string]v1.PersistentVolumePhase // of those of the names that were asked for
	users  map[string]string                   // the names of those that share files with an orphan, by its path
}

// ask lists the PersistentVolumes, if the pass has work that depends on them. Of each it keeps no more
// than that needs.
func (s *Sweeper) ask(ctx context.Context, found *records) (now live, err error) {
	now = live{map[string]v1.PersistentVolumePhase{}, map[string]string{}}
	if len(found.orphans) == 0 && len(found.moved) == 0 {
		return now, nil
	}
	names, near := map[string]bool{}, newNear(found.orphans)
	for _, r := range found.orphans {
		names[r.PV] = true
	}
	for _, m := range found.moved {
		names[m.pv] = true
	}
	source := s.config.Keeper.Source()
	err = s.live.EachVolume(ctx, func(pv *v1.PersistentVolume) {
		if names[pv.Name] {
			now.phases[pv.Name] = pv.Status.Phase
		}
		if path, here := pvs.On(source, pv); here {
			for orphan := range near.sharing(path, pvs.Names(s.config.Names).Serve(pv)) {
				now.users[orphan] = pv.Name
			}
		}
	})
	if err != nil {
		return now, fmt.Errorf("list volumes: %w", err)
	}
	return now, nil
}

// near finds the orphans that share files with a path.
type near struct {
	at    map[string]bool
	below map[string][]string // orphans by each path above them
}

func newNear(orphans []ledger.Record) near {
	n := near{map[string]bool{}, map[string][]string{}}
	for _, r := range orphans {
		n.at[r.Path] = true
		for parent := range parents(r.Path) {
			n.below[parent] = append(n.below[parent], r.Path)
		}
	}
	return n
}

// sharing yields the orphans that a PersistentVolume of that path shares files with: see
// pvs.Names.Overlap.
func (n near) sharing(path string, ours bool) iter.Seq[string] {
	return func(yield func(string) bool) {
		if n.at[path] && !yield(path) {
			return
		}
		for parent := range parents(path) {
			if n.at[parent] && !yield(parent) {
				return
			}
		}
		if !ours {
			return
		}
		for _, inside := range n.below[path] {
			if !yield(inside) {
				return
			}
		}
	}
}

// parents yields the paths above path, the nearest first.
func parents(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := strings.LastIndexByte(path, '/'); i > 0 && yield(path[:i]); i = strings.LastIndexByte(path[:i], '/') {
		}
	}
}
