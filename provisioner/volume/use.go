package volume

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"claimdir/provisioner/ledger"
)

// InUse is what UnusedSince returns of a claim that a pod uses.
const InUse = "in use"

// UnusedSince returns since when no pod has used a claim, in RFC 3339; InUse if one uses it; and nothing if the cluster does not say
// it, as before Kubernetes 1.37.
func UnusedSince(claim *v1.PersistentVolumeClaim) string {
	for _, c := range claim.Status.Conditions {
		if c.Type != v1.PersistentVolumeClaimUnused {
			continue
		}
		if c.Status == v1.ConditionTrue {
			return c.LastTransitionTime.UTC().Format(time.RFC3339)
		}
		return InUse
	}
	return ""
}

// UseBetween says whether a pod used a claim between two answers of UnusedSince. A claim that was deleted meanwhile does
// not say it.
func UseBetween(before, now string) ledger.Use {
	switch {
	case before == InUse || now == InUse:
		return ledger.Used
	case before == "" || now == "":
		return ledger.UseUnknown
	case before != now:
		return ledger.Used
	}
	return ledger.Unused
}
