package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"claimdir/hack/release/image"
)

// localImage builds an image of the source as it lies here, for this machine,
// and loads it into its container tool.
func localImage(ctx context.Context, root string, o options, out io.Writer) (err error) {
	if o.image == "" {
		o.image = "claimdir:" + o.version
	}
	source, err := checkedOut(ctx, root, o.version)
	if err != nil { // a copy without git
		source = image.Source{Root: root, Version: o.version, Revision: "unknown", Time: time.Unix(0, 0)}
	}
	tool, err := containerTool(ctx, o)
	if err != nil {
		return err
	}
	file := o.archive
	if tool == "" && file == "" {
		file = filepath.Join(root, "bin", "claimdir-oci.tar")
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
	}
	if file == "" {
		dir, err := os.MkdirTemp("", "claimdir-image-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		file = filepath.Join(dir, "image.tar")
	}
	if err := source.Archive(ctx, file, o.image, runtime.GOARCH); err != nil {
		return err
	}
	if tool == "" {
		fmt.Fprintf(out, "%s is in %s; load it with one of:\n  docker load -i %[2]s\n  podman load -i %[2]s\n  ctr -n k8s.io image import %[2]s\n", o.image, file)
		return nil
	}
	if err := load(ctx, tool, file); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s has %s, which was not pushed: %[1]s push %[2]s\n", tool, o.image)
	return nil
}

func load(ctx context.Context, tool, file string) error {
	if output, err := exec.CommandContext(ctx, tool, "load", "-i", file).CombinedOutput(); err != nil {
		return fmt.Errorf("%s load: %w\n%s", tool, err, output)
	}
	return nil
}

// containerTool is the one that loads the image; none if an archive is wanted
// or none works.
func containerTool(ctx context.Context, o options) (string, error) {
	if o.archive != "" {
		return "", nil
	}
	tools := []string{"docker", "podman"}
	switch o.tool {
	case "":
	case "docker", "podman":
		return o.tool, nil
	default:
		return "", fmt.Errorf("CONTAINER_TOOL is docker or podman, not %q", o.tool)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, tool := range tools {
		// A docker client without its daemon is installed, but of no use.
		if exec.CommandContext(ctx, tool, "info").Run() == nil {
			return tool, nil
		}
	}
	return "", nil
}
