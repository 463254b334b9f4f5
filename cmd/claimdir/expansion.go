package main

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	versions "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/kubernetes"

	"claimdir/provisioner/resize"
)

// newResizer makes the job that expands volumes. tell publishes an event on a claim.
func newResizer(p parts, tell func(claim *v1.PersistentVolumeClaim, kind, reason, text string)) (*resize.Resizer, error) {
	if !p.expandMounted {
		if err := knowsUnused(p.client); err != nil {
			return nil, err
		}
	}
	resizer := resize.New(resize.Config{
		Keepers: p.keepers, Steps: p.steps, Client: p.client, Objects: p.informers, OnlyUnused: !p.expandMounted, Tell: tell,
	})
	return resizer, p.informers.OnGrowing(resizer.Handle)
}

// unusedSince is the version of Kubernetes that began to tell by a condition whether pods use a claim.
const unusedSince = "1.37.0"

// knowsUnused returns an error if the cluster does not tell whether pods use a claim.
func knowsUnused(client kubernetes.Interface) error {
	info, err := client.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("--expand-mounted=false: ask the API server for its version: %w", err)
	}
	server, err := versions.ParseGeneric(info.GitVersion)
	if err != nil {
		return fmt.Errorf("--expand-mounted=false: the API server's version %q: %w", info.GitVersion, err)
	}
	if !server.AtLeast(versions.MustParseGeneric(unusedSince)) {
		return fmt.Errorf("--expand-mounted=false needs Kubernetes %s, which tells whether pods use a claim, and this is %s: leave the flag out", unusedSince, info.GitVersion)
	}
	return nil
}
