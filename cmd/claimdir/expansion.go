package main

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	versions "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/kubernetes"

	"claimdir/provisioner/cluster"
	"claimdir/provisioner/resize"
)

// newResizer makes the job that expands volumes. tell publishes an event on a claim.
func newResizer(p parts, tell func(claim *v1.PersistentVolumeClaim, kind, reason, text string)) (*resize.Resizer, error) {
	if !p.expandMounted {
		if err := checkUnusedCondition(p.client); err != nil {
			return nil, err
		}
	}
	resizer := resize.New(resize.Config{
		Keepers: p.keepers, Steps: p.steps, Client: p.client, Objects: p.informers, Live: cluster.Live{Client: p.client}.Volume, Room: p.pool.HasRoom, OnlyUnused: !p.expandMounted, Tell: tell,
	})
	return resizer, p.informers.OnExpanding(resizer.Handle)
}

// unusedConditionVersion is the first Kubernetes that sets the condition Unused on claims by default (KEP-5541).
const unusedConditionVersion = "1.37"

// checkUnusedCondition returns an error if the cluster is too old to set the condition Unused on claims.
func checkUnusedCondition(client kubernetes.Interface) error {
	const flag = `--expand-mounted (EXPAND_MOUNTED) "false"`
	info, err := client.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("%s: ask the API server for its version: %w", flag, err)
	}
	server, err := versions.ParseGeneric(info.GitVersion)
	if err != nil {
		return fmt.Errorf("%s: read the API server's version %q: %w", flag, info.GitVersion, err)
	}
	if !server.AtLeast(versions.MustParseGeneric(unusedConditionVersion)) {
		return fmt.Errorf("%s: needs Kubernetes %s or later, which says whether pods use a claim; this is %s: leave it at true", flag, unusedConditionVersion, info.GitVersion)
	}
	return nil
}
