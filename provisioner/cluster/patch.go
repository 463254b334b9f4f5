package cluster

import (
	"encoding/json"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Patch returns a patch that sets fields in one part of an object, such as its status. It carries the object's
// UID and resource version, so the API server refuses it if the object is another one of that name, or has
// changed since it was read; without a resource version, only if it is another one. content must be what
// package json can write.
func Patch(of metav1.Object, part string, content map[string]any) []byte {
	precondition := map[string]any{"uid": of.GetUID()}
	if version := of.GetResourceVersion(); version != "" {
		precondition["resourceVersion"] = version
	}
	data, err := json.Marshal(map[string]any{"metadata": precondition, part: content})
	if err != nil { // cannot happen: see above
		panic(err)
	}
	return data
}

// WithoutCondition is an entry of conditions, in a strategic merge patch of a claim's status, that removes the
// condition of that type. The conditions of others stay as they are.
func WithoutCondition(of v1.PersistentVolumeClaimConditionType) map[string]any {
	return map[string]any{"type": of, "$patch": "delete"}
}
