package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// exampleImage is the one in the overlays.
const exampleImage = "registry.example.com/claimdir"

const installHeader = `# claimdir %s, all that it needs on a cluster: manifests/overlays/example as kustomize builds it.
# Change nfs.example.com and /exports/claimdir to your server and path, and apply it: kubectl apply -f install.yaml
`

// writeInstall builds the example overlay, with an image in it, into one file.
func writeInstall(ctx context.Context, root, version, image, file string) (err error) {
	kustomize, err := tool(ctx, root, "kustomize")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "claimdir-install-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, "manifests"))); err != nil {
		return err
	}
	overlay := filepath.Join(dir, "overlays", "example")
	if err := setImage(filepath.Join(overlay, "kustomization.yaml"), version, image); err != nil {
		return err
	}
	var out, problems bytes.Buffer
	build := exec.CommandContext(ctx, kustomize, "build", overlay)
	build.Stdout, build.Stderr = &out, &problems
	if err := build.Run(); err != nil {
		return fmt.Errorf("build manifests/overlays/example: %w\n%s", err, problems.Bytes())
	}
	return os.WriteFile(file, append(fmt.Appendf(nil, installHeader, version), out.Bytes()...), 0o644)
}

// setImage edits the overlay as a user does who has the image somewhere.
func setImage(file, version, image string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	tag := strings.LastIndex(image, ":") // checkImage: there is one
	before := "newName: " + exampleImage + "\n  newTag: " + version + "\n"
	after := "newName: " + image[:tag] + "\n  newTag: " + image[tag+1:] + "\n"
	if n := strings.Count(string(text), before); n != 1 {
		return fmt.Errorf("manifests/overlays/example/kustomization.yaml has %q %d times, not once", before, n)
	}
	return os.WriteFile(file, []byte(strings.Replace(string(text), before, after, 1)), 0o644)
}

// tool is the path of a program of hack/tools/go.mod; go builds it once.
func tool(ctx context.Context, root, name string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "-C", filepath.Join(root, "hack", "tools"), "tool", "-n", name).Output()
	if err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	return strings.TrimSpace(string(out)), nil
}
