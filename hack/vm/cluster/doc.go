// Package cluster holds the tests of claimdir on a real node: kubelet mounts
// what claimdir made, pods write there, and the bytes are looked for on the NFS
// server, which holds some volumes to their sizes. They take the virtual machine and the build tag vm: `make test-cluster`.
package cluster
