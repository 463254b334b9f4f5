package main

import (
	"strings"
	"testing"

	versions "k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/kubernetes/fake"
)

func TestExpandMountedNeedsAClusterThatTells(t *testing.T) {
	for server, want := range map[string]string{
		"v1.37.0":       "",
		"v1.38.2-eks-1": "",
		"v1.36.9":       "--expand-mounted (EXPAND_MOUNTED) \"false\": needs Kubernetes 1.37 or later, which says whether pods use a claim; this is v1.36.9: leave it at true",
		"unknown":       `read the API server's version "unknown": `,
	} {
		client := fake.NewClientset()
		client.Discovery().(*fakediscovery.FakeDiscovery).FakedServerVersion = &versions.Info{GitVersion: server}
		if err := checkUnusedCondition(client); (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", server, err, want)
		}
	}
}
