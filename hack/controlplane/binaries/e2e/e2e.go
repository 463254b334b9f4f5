// Package e2e is Kubernetes' end-to-end test binary with the External Storage
// suite and without the other storage tests, which bring their own drivers.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"k8s.io/kubernetes/test/e2e"
	"k8s.io/kubernetes/test/e2e/framework"
	"k8s.io/kubernetes/test/e2e/framework/config"
	"k8s.io/kubernetes/test/e2e/framework/testfiles"
	testingmanifests "k8s.io/kubernetes/test/e2e/testing-manifests"

	_ "k8s.io/kubernetes/test/e2e/framework/debug/init"   // what happened in a spec's namespace, once it failed
	_ "k8s.io/kubernetes/test/e2e/framework/metrics/init" // the flags about metrics
	_ "k8s.io/kubernetes/test/e2e/framework/node/init"    // the wait for nodes that can run pods
	_ "k8s.io/kubernetes/test/e2e/storage/external"       // -storage.testdriver and the suite
)

// Main reads the flags of test/e2e and runs the tests. It returns their exit
// code.
func Main(m *testing.M) int {
	config.CopyFlags(config.Flags, flag.CommandLine)
	framework.RegisterCommonFlags(flag.CommandLine)
	framework.RegisterClusterFlags(flag.CommandLine)
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "unknown arguments:", flag.Args())
		return 2
	}
	testfiles.AddFileSource(testingmanifests.GetE2ETestingManifestsFS())
	framework.AfterReadingAllFlags(&framework.TestContext)
	return m.Run()
}

// Run runs the specs that the flags ask for.
func Run(t *testing.T) { e2e.RunE2ETests(t) }
