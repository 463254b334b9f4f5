// Package controlplane runs a real Kubernetes control plane for tests and for
// the demo: etcd, kube-apiserver and kube-controller-manager on loopback, with
// kubectl beside them. There is no kubelet and no scheduler: claims bind,
// service accounts get tokens, RBAC decides, pods stay pending.
//
// [Build] makes the four programs from the Go modules that binaries/go.mod
// pins, once per pin, under claimdir/controlplane in the user's cache
// directory. That takes about ten minutes on two cores the first time, so run
// `go run ./controlplane/prebuild` in hack before `go test`, whose time limit
// is ten minutes too. Directories of older pins may be removed by hand.
//
// The same pins give two further sets of programs, each built on its own and
// only for who asks: [BuildNode] what makes a machine a node, and
// [BuildConformance] the tests that Kubernetes has for storage. From
// snapshotter/go.mod comes the snapshot-controller that clusters with
// VolumeSnapshots run: see [ControlPlane.StartSnapshotController], and from helm/go.mod helm.
//
// [Start] gives one control plane. Any number run side by side:
//
//   - Everything it writes lies in one temporary directory of its own.
//   - etcd listens on unix sockets in that directory, so nobody else can reach
//     it and no second control plane can take it for its own.
//   - The other two serve TLS on free loopback ports with a certificate of
//     this control plane's own authority, so a stranger on a port is noticed.
//   - [ControlPlane.Stop] ends these processes and no others. They also die
//     with the process that started them, be it by kill -9; only the directory
//     is left then.
//
// What it stores is as durable as a test needs: etcd does not sync.
//
// The package finds binaries/ beside its own source, wherever the caller
// stands; a build with -trimpath forgets that place and [Build] says so.
// It needs Linux and the go command.
package controlplane
