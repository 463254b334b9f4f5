package check

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// judge gathers what is wrong.
type judge struct {
	State
	violations []Violation

	classes  map[string]storagev1.StorageClass
	ownerOf  map[string]*Claim   // the last claim that had a PersistentVolume, or may have had
	ownersOf map[string][]*Claim // all of them that were Bound
	recordOf map[string]record   // by path
	inUse    map[string]*Claim   // by path
}

// Check returns what is wrong, in a fixed order. A State without a violation is what claimdir
// promises.
func Check(s State) []Violation {
	j := &judge{State: s, classes: map[string]storagev1.StorageClass{}, ownerOf: map[string]*Claim{}, ownersOf: map[string][]*Claim{}, inUse: map[string]*Claim{}}
	for _, c := range s.Classes {
		j.classes[c.Name] = c
	}
	for _, c := range s.Log.Claims {
		if j.ownerOf[c.own()] = c; c.Bound {
			j.ownersOf[c.PV] = append(j.ownersOf[c.PV], c)
		}
	}
	j.claims()
	j.volumes()
	j.records()
	j.meta()
	j.directories()
	j.owners()
	j.contents()
	j.outside()
	for _, finding := range s.Findings {
		j.waits("doctor finds %s", finding)
	}
	slices.SortStableFunc(j.violations, func(a, b Violation) int { return cmp.Compare(a.Text, b.Text) })
	return slices.Compact(j.violations)
}

// wrong is for what waiting cannot mend.
func (j *judge) wrong(format string, args ...any) {
	j.violations = append(j.violations, Violation{true, fmt.Sprintf(format, args...)})
}

// waits is for what may be about to come in order.
func (j *judge) waits(format string, args ...any) {
	j.violations = append(j.violations, Violation{false, fmt.Sprintf(format, args...)})
}

// claims: every claim is Bound, to a directory of its own.
func (j *judge) claims() {
	byUID := map[string]*Claim{}
	for _, c := range j.Log.Claims {
		byUID[c.UID] = c
	}
	pvs := map[string]v1.PersistentVolume{}
	for _, pv := range j.Volumes {
		pvs[pv.Name] = pv
	}
	seen := map[string]bool{}
	for _, claim := range j.Claims {
		name := claim.Namespace + "/" + claim.Name
		c := byUID[string(claim.UID)]
		seen[string(claim.UID)] = true
		switch pv, found := pvs[claim.Spec.VolumeName]; {
		case c == nil:
			j.wrong("claim %s (%s) was made by nobody", name, claim.UID)
		case !c.Deleted.IsZero():
			j.waits("claim %s, which was deleted, is there", name)
		case claim.Status.Phase != v1.ClaimBound:
			j.waits("claim %s of class %s is left waiting: it is %s", name, c.Class, claim.Status.Phase)
		case !found:
			j.wrong("claim %s is bound to PersistentVolume %s, which is not there", name, claim.Spec.VolumeName)
		default:
			j.bound(c, name, pv)
		}
	}
	for _, c := range j.Log.Claims {
		if c.Deleted.IsZero() && !seen[c.UID] {
			j.wrong("claim %s/%s is gone, and nobody deleted it", c.Namespace, c.Name)
		}
	}
}

func (j *judge) bound(c *Claim, name string, pv v1.PersistentVolume) {
	if pv.Name != c.own() {
		j.wrong("claim %s has PersistentVolume %s, and should have %s", name, pv.Name, c.own())
	}
	if pv.Spec.NFS == nil {
		j.wrong("PersistentVolume %s of claim %s is no nfs volume", pv.Name, name)
		return
	}
	at, below := strings.CutPrefix(pv.Spec.NFS.Path, j.Export+"/")
	if !below || at == "" || path.Clean(at) != at || strings.HasPrefix(at, metaDir) {
		j.wrong("PersistentVolume %s of claim %s is at %s", pv.Name, name, pv.Spec.NFS.Path)
		return
	}
	for other, c := range j.inUse {
		if other == at || strings.HasPrefix(other, at+"/") || strings.HasPrefix(at, other+"/") {
			j.wrong("claim %s at %s and claim %s/%s at %s share a directory", name, at, c.Namespace, c.Name, other)
		}
	}
	j.inUse[at] = c
	if e := j.Share[at]; !e.Mode.IsDir() {
		j.waits("the directory %s of claim %s is missing", at, name)
	} else if c.Bound && e.Mode != c.Mode {
		j.wrong("the directory %s of claim %s has mode %v, and had %v", at, name, e.Mode, c.Mode)
	}
}

// volumes: no PersistentVolume is left over.
func (j *judge) volumes() {
	living := map[string]bool{}
	for _, claim := range j.Claims {
		living[string(claim.UID)] = true
	}
	for _, pv := range j.Volumes {
		ref := pv.Spec.ClaimRef
		if ref == nil || pv.Status.Phase != v1.VolumeBound || !living[string(ref.UID)] {
			j.waits("PersistentVolume %s is left: it is %s", pv.Name, pv.Status.Phase)
		}
	}
}

// directories: each is a volume in use, an archive or a retained one with its record, the parent of
// one of these, or somebody else's.
func (j *judge) directories() {
	parents, children := map[string]bool{}, map[string][]string{}
	for at := range j.Share {
		if at != "." {
			children[path.Dir(at)] = append(children[path.Dir(at)], at)
		}
		if j.known(at) {
			for up := path.Dir(at); up != "."; up = path.Dir(up) {
				parents[up] = true
			}
		}
	}
	j.walk(".", children, parents)
	for at := range j.inUse {
		if r, found := j.recordOf[at]; !found || r.State != "active" {
			j.waits("the directory %s in use has the record %q (%s)", at, r.file, r.State)
		}
	}
}

// known reports whether a path is in use, or recorded.
func (j *judge) known(at string) bool {
	_, used := j.inUse[at]
	_, recorded := j.recordOf[at]
	return used || recorded
}

// walk judges what lies in a directory that is no volume.
func (j *judge) walk(dir string, children map[string][]string, parents map[string]bool) {
	for _, name := range children[dir] {
		_, foreign := j.Foreign[name]
		switch {
		case name == metaDir || j.known(name):
		case foreign:
			j.walk(name, children, parents)
		case parents[name]:
			if mode := j.Share[name].Mode.Perm(); mode != 0o745 {
				j.wrong("the parent directory %s has mode %04o", name, mode)
			}
			j.walk(name, children, parents)
		default:
			j.waits("%s is nobody's", name)
		}
	}
}

// owners: each record names the owner as of now, or as of the release, and is what the class says.
func (j *judge) owners() {
	for at, r := range j.recordOf {
		c := j.ownerOf[r.PV]
		if c == nil {
			continue
		}
		if !r.of(c) {
			j.waits("the record of %s (%s) names claim %s/%s (%s), and the owner is %s/%s (%s)", at, r.State, r.Claim.Namespace, r.Claim.Name, r.Claim.UID, c.Namespace, c.Name, c.UID)
		}
		policy := j.policy(c)
		switch used := j.inUse[at] == c; {
		case r.State == "active" && used:
		case r.State == "archived" && !c.Deleted.IsZero() && policy == archive:
			if want := fmt.Sprintf("archived-%s-%s-%s", c.Namespace, c.Name, r.PV); at != want {
				j.wrong("the archive %s should be called %s", at, want)
			}
		case r.State == "retained" && !c.Deleted.IsZero() && policy == retain:
		default:
			j.waits("%s of volume %s is %s, in use %v, and its policy is %s", at, r.PV, r.State, used, policy)
		}
	}
}

// Policies.
const (
	remove  = "delete"
	archive = "archive"
	retain  = "retain"
)

func (j *judge) policy(c *Claim) string {
	return cmp.Or(j.classes[c.Class].Parameters["onDelete"], archive)
}

// retention is how long archives of the claim's class are kept; 0 is for ever.
func (j *judge) retention(c *Claim) time.Duration {
	d, err := time.ParseDuration(cmp.Or(j.classes[c.Class].Parameters["archiveRetention"], "0s"))
	if err != nil {
		j.wrong("class %s: %v", c.Class, err)
	}
	return d
}

// outside: what is not a volume's is as it was.
func (j *judge) outside() {
	j.same("on the share", j.Foreign, j.Share)
	j.same("beside the share", j.OutsideBefore, j.OutsideNow)
	for _, name := range sortedKeys(j.OutsideNow) {
		if _, before := j.OutsideBefore[name]; !before {
			j.wrong("%s beside the share was made by claimdir", name)
		}
	}
}

func (j *judge) same(where string, before, now map[string]Entry) {
	for _, name := range sortedKeys(before) {
		if e, there := now[name]; !there || e != before[name] {
			j.wrong("%s %s was %+v and is %+v", name, where, before[name], e)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
