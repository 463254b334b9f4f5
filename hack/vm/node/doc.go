// Package node runs a Kubernetes cluster of one node in the virtual machine of
// hack/vm: etcd, kube-apiserver, kube-controller-manager, kube-scheduler,
// kubelet, kube-proxy, containerd with a bridge network, and a kernel NFS server
// beside them. RBAC, the node authorizer and Pod Security admission decide as in
// any cluster. What happens inside is guest/node's business; this package
// boots it, talks to it and installs claimdir there as its users do.
package node
