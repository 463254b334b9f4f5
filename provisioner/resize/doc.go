// Package resize completes the expansion of volumes: when a claim requests more, as its class allows, the
// PersistentVolume and the claim's status get the new size. The directory on the share has no size, so
// nothing happens to it; the record of the volume gets the size too, for package recovery.
//
// Kubernetes leaves the expansion of a volume that has no driver to somebody else: kube-controller-manager
// publishes the event ExternalExpanding and waits. An expansion is three writes, in the order that
// Kubernetes' own external-resizer has (pkg/controller/resize_status.go there), so that whoever watches
// sees what they know:
//
//	1  claim/status        allocatedResources, allocatedResourceStatuses ControllerResizeInProgress, condition Resizing
//	   Op.Resize           the size in the volume's record
//	2  PersistentVolume    spec.capacity, never less than it was
//	3  claim/status        capacity; the resize status and conditions go
//
// Each carries the object's UID and resource version, so it is refused if the object is another, or was
// changed. Each may be the last one before a crash: what is to be done next is read from the objects alone
// (next in sizes.go). A request that is changed meanwhile is the target of the next pass.
package resize
