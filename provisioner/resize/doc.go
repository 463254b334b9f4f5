// Package resize completes the expansion of volumes: when a claim requests more, as its class allows, the
// PersistentVolume and the claim's status get the new size. The directory on the share has no size, so
// nothing happens to it; the record of the volume gets the size too, for package recovery.
//
// Kubernetes cannot expand nfs volumes itself: kube-controller-manager publishes the event ExternalExpanding
// on the claim and leaves the rest to another controller. An expansion is three writes to the API server and
// one to the share, in the order of Kubernetes' external-resizer (pkg/controller/resize_status.go there), so
// that programs that watch claims see the states they expect:
//
//	1  claim/status        allocatedResources, allocatedResourceStatuses ControllerResizeInProgress, condition Resizing
//	   Op.RecordSize       the size in the volume's record
//	2  PersistentVolume    spec.capacity, never less than it was
//	3  claim/status        capacity; the resize status and conditions go
//
// Each write to the API server carries the object's UID and resource version, so the API server refuses it
// if the object is another one or has changed. After a crash between any two of them, the next leader reads
// from the objects alone what is left: see next in sizes.go. If the request changes meanwhile, the next pass
// takes the new one.
package resize
