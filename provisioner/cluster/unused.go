package cluster

import (
	"time"

	v1 "k8s.io/api/core/v1"
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
