// Package testbed runs claimdir the way its users do, as far as that goes
// without a kubelet: the program that was built, configured by environment, as
// the ServiceAccount of our manifests, on a real control plane, with a share in
// a local directory. The demo, the cluster tests and the benchmark share it.
package testbed
