package main

import (
	"context"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"claimdir/provisioner/control"
)

// leaseHolders returns the leases by which claimdirs lead, or led until they were killed, under
// a provisioner name. Without a namespace it looks in all, which needs more rights than
// manifests/base gives.
func leaseHolders(ctx context.Context, client kubernetes.Interface, namespace, provisioner string) (held []coordinationv1.Lease, err error) {
	name := control.LeaseName(provisioner)
	var found []coordinationv1.Lease
	if namespace == "" {
		all, err := client.CoordinationV1().Leases("").List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
		if err != nil {
			return nil, fmt.Errorf("list leases %s: %w", name, err)
		}
		found = all.Items
	} else {
		lease, err := client.CoordinationV1().Leases(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("read lease %s/%s: %w", namespace, name, err)
		}
		if err == nil {
			found = append(found, *lease)
		}
	}
	for _, lease := range found {
		if lease.Name == name && lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity != "" {
			held = append(held, lease)
		}
	}
	return held, nil
}
