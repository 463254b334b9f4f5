package main

import (
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"claimdir/provisioner/control"
)

func leaseOf(namespace, provisioner, holder string) *coordinationv1.Lease {
	l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: control.LeaseName(provisioner)}}
	if holder != "-" {
		l.Spec.HolderIdentity = &holder
	}
	return l
}

func TestLeaseHolders(t *testing.T) {
	client := fake.NewClientset(leaseOf("one", doctored, "pod"), leaseOf("two", doctored, ""), leaseOf("three", doctored, "-"), leaseOf("one", "other.example.com/nfs", "pod"))
	for namespace, want := range map[string]int{"": 1, "one": 1, "two": 0, "three": 0, "none": 0} {
		held, err := leaseHolders(t.Context(), client, namespace, doctored)
		if err != nil || len(held) != want {
			t.Errorf("in namespace %q: %v, %v", namespace, held, err)
		}
	}
	client.PrependReactor("*", "leases", refuse)
	for _, namespace := range []string{"", "one"} {
		if _, err := leaseHolders(t.Context(), client, namespace, doctored); err == nil || !strings.Contains(err.Error(), "claimdir-example-com-nfs-") {
			t.Errorf("in namespace %q: %v", namespace, err)
		}
	}
}

// A class like ours is reported unless the lease shows that another claimdir serves it.
func TestExamineAsksForTheLease(t *testing.T) {
	for holder, want := range map[string]int{"pod": 0, "": 1} {
		client := sick()
		classes := client.StorageV1().StorageClasses()
		class, err := classes.Get(t.Context(), "bad", metav1.GetOptions{})
		if err == nil {
			class.Provisioner = "claimdir/nfs"
			_, err = classes.Update(t.Context(), class, metav1.UpdateOptions{})
		}
		if err == nil {
			_, err = client.CoordinationV1().Leases("one").Create(t.Context(), leaseOf("one", "claimdir/nfs", holder), metav1.CreateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
		o := options{provisionerName: doctored, mountPath: t.TempDir() + "/none", podNamespace: "one"}
		report, err := examine(t.Context(), o, client)
		if err != nil || len(report.Findings) != want {
			t.Errorf("holder %q: %+v, %v", holder, report.Findings, err)
		}
	}
}
