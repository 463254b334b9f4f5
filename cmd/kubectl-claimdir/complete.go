package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// completeTimeout is how long a shell waits for names.
const completeTimeout = 5 * time.Second

// completeAccess completes the flags of all commands.
func (a *app) completeAccess(root *cobra.Command) {
	register := func(flag string, names func(ctx context.Context) []string) {
		err := root.RegisterFlagCompletionFunc(flag, func(c *cobra.Command, _ []string, begin string) ([]string, cobra.ShellCompDirective) {
			ctx, cancel := context.WithTimeout(c.Context(), completeTimeout)
			defer cancel()
			return begun(names(ctx), begin), cobra.ShellCompDirectiveNoFileComp
		})
		if err != nil { // there is no such flag
			panic(err)
		}
	}
	register("namespace", func(ctx context.Context) (names []string) {
		cluster, err := a.connect()
		if err != nil {
			return nil
		}
		found, err := cluster.core.Namespaces().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil
		}
		for _, n := range found.Items {
			names = append(names, n.Name)
		}
		return names
	})
	register("context", func(context.Context) (names []string) {
		config, err := a.config.ToRawKubeConfigLoader().RawConfig()
		if err != nil {
			return nil
		}
		for name := range config.Contexts {
			names = append(names, name)
		}
		return names
	})
}

// begun returns the names that begin so, sorted, and each once.
func begun(names []string, begin string) []string {
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return !strings.HasPrefix(name, begin) })
}

type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completeInPod completes claims by a command of the pod that lists archives or snapshots.
func (a *app) completeInPod(command ...string) completion {
	return func(c *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		const done = cobra.ShellCompDirectiveNoFileComp
		if len(args) > 0 && c.Name() != "purge" {
			return nil, done
		}
		ctx, cancel := context.WithTimeout(c.Context(), completeTimeout)
		defer cancel()
		var out bytes.Buffer
		if err := a.inPod(ctx, session{out: &out, err: io.Discard}, append(command, "--output=json")); err != nil && out.Len() == 0 {
			return nil, done
		}
		var found []struct{ Namespace, Claim string }
		if json.Unmarshal(out.Bytes(), &found) != nil {
			return nil, done
		}
		var names []string
		for _, f := range found {
			if f.Claim != "" {
				names = append(names, f.Namespace+"/"+f.Claim)
			}
		}
		return begun(names, begin), done
	}
}

// completeVolumes completes the claims of volumes.
func (a *app) completeVolumes(c *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	const done = cobra.ShellCompDirectiveNoFileComp
	cluster, err := a.connect()
	if err != nil || len(args) > 0 {
		return nil, done
	}
	ctx, cancel := context.WithTimeout(c.Context(), completeTimeout)
	defer cancel()
	rows, err := cluster.volumes(ctx, nil)
	if err != nil {
		return nil, done
	}
	var names []string
	for _, r := range rows {
		if r.Claim != "" {
			names = append(names, r.Namespace+"/"+r.Claim)
		}
	}
	return begun(names, begin), done
}
