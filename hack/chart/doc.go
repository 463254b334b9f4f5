// Package chart reads the values of the Helm chart in manifests/chart/claimdir, for the table in its README. Its tests run helm: they
// render the chart beside the kustomize overlays, and install it on a real API server, also over a release of
// nfs-subdir-external-provisioner, for which testdata/peer stands.
package chart
