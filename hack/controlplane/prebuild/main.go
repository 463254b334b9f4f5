// Command prebuild builds sets of programs ahead of the tests that need them
// and prints the directory of each: "control-plane", which is also what no
// argument means, "node", "conformance", "snapshot-controller" and "helm".
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"claimdir/hack/controlplane"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "prebuild:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, sets []string) error {
	if len(sets) == 0 {
		sets = []string{"control-plane"}
	}
	for _, set := range sets {
		program, err := build(ctx, set)
		if err != nil {
			return err
		}
		fmt.Println(filepath.Dir(program))
	}
	return nil
}

// build returns one of the set's programs.
func build(ctx context.Context, set string) (string, error) {
	switch set {
	case "control-plane":
		b, err := controlplane.Build(ctx, os.Stderr)
		return b.KubeAPIServer, err
	case "node":
		b, err := controlplane.BuildNode(ctx, os.Stderr)
		return b.Kubelet, err
	case "conformance":
		b, err := controlplane.BuildConformance(ctx, os.Stderr)
		return b.E2ETest, err
	case "snapshot-controller":
		return controlplane.BuildSnapshotController(ctx, os.Stderr)
	case "helm":
		return controlplane.BuildHelm(ctx, os.Stderr)
	}
	return "", errors.New("no such set: " + set + "; there are control-plane, node, conformance, snapshot-controller and helm")
}
