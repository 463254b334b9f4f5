package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"claimdir/hack/release/image"
)

// committed is the source as of the commit that is checked out. It refuses a
// tree that is not that commit, and a version that is the name of another one.
func committed(ctx context.Context, root, version string) (image.Source, error) {
	changes, err := git(ctx, root, "status", "--porcelain")
	if err != nil {
		return image.Source{}, err
	}
	if changes != "" {
		return image.Source{}, fmt.Errorf("the source is not that of a commit; commit these files, or remove them:\n%s", changes)
	}
	s, err := checkedOut(ctx, root, version)
	if err != nil {
		return image.Source{}, err
	}
	tagged, err := git(ctx, root, "for-each-ref", "--format=%(objectname) %(*objectname)", "refs/tags/"+version)
	if err != nil {
		return image.Source{}, err
	}
	if tagged != "" && !strings.Contains(tagged, s.Revision) {
		return image.Source{}, fmt.Errorf("the tag %s is another commit's, and a version is never built twice; check that one out (git checkout %[1]s), or choose a later version", version)
	}
	return s, nil
}

// checkedOut is the source with its commit's number and time, whether or not
// files were changed since.
func checkedOut(ctx context.Context, root, version string) (image.Source, error) {
	head, err := git(ctx, root, "log", "-1", "--format=%H %ct")
	if err != nil {
		return image.Source{}, err
	}
	revision, seconds, _ := strings.Cut(head, " ")
	at, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return image.Source{}, fmt.Errorf("read the commit's time: %w", err)
	}
	return image.Source{Root: root, Version: version, Revision: revision, Time: time.Unix(at, 0).UTC()}, nil
}

// git runs git in root and returns what it prints, without the last newline.
func git(ctx context.Context, root string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...).Output()
	if err != nil {
		if exit, is := errors.AsType[*exec.ExitError](err); is {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimRight(string(out), "\n"), nil
}
