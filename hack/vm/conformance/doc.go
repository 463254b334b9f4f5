// Command conformance runs Kubernetes' own tests of storage, the External
// Storage suite of test/e2e, against claimdir on a node in the virtual machine
// of hack/vm, and says how claimdir does beside
// nfs-subdir-external-provisioner, whose verdicts testdata/baseline.tsv keeps.
//
// It fails if a spec that the peer passes does not pass, if any other spec
// fails that testdata/expected-failures.tsv does not name, if one named there
// passes, if a spec of the baseline is not there at all, or if directories or
// volumes are left behind. What cannot be in the table, because Kubernetes does
// not even register the specs, is in docs/conformance.md.
//
// In the directory of -results are afterwards the logs and reports of each
// phase as JUnit and as JSON, and the logs of the node.
package main
