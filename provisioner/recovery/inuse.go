package recovery

import (
	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/ledger"
)

// inUse is what is Bound in a cluster.
type inUse struct {
	volumes map[string]bool   // by their names
	claims  map[string]string // the volumes by their claims: by UID, and by namespace/name
}

func newInUse(volumes []v1.PersistentVolume) inUse {
	u := inUse{map[string]bool{}, map[string]string{}}
	for i := range volumes {
		pv := &volumes[i]
		if pv.Status.Phase != v1.VolumeBound {
			continue
		}
		u.volumes[pv.Name] = true
		if ref := pv.Spec.ClaimRef; ref != nil {
			u.claims[ref.Namespace+"/"+ref.Name] = pv.Name
			if ref.UID != "" {
				u.claims[string(ref.UID)] = pv.Name
			}
		}
	}
	return u
}

// bound reports whether the volume of a record is Bound, whoever's it is by now: an
// administrator may have handed it to another claim.
func (u inUse) bound(r ledger.Record) bool { return u.volumes[r.PV] }

// ofClaim returns the volume to which a claim is Bound, or an empty string. A claim that was
// made again has the same name and another UID.
func (u inUse) ofClaim(c ledger.Claim) string {
	if pv := u.claims[c.UID]; c.UID != "" && pv != "" {
		return pv
	}
	return u.claims[c.Namespace+"/"+c.Name]
}
