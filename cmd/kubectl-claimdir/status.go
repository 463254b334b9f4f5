package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"claimdir/provisioner/output"
)

const statusHead = `kubectl claimdir status shows claimdir's pods, which of them leads, and the state of each share as each pod sees
it: ready, starting, wrong-place (something else or nothing is mounted), failing (the server answers with
errors) or stalled (it does not answer). FREE and SIZE are those of the last look.

It reads the pods and the leases of claimdir's namespace, and the pods' metrics through the API server, which
takes the right to get pods/proxy. It needs no right to run anything in a pod. What you may not read is
unknown, and counts as a problem.

Usage: kubectl claimdir status [flags]
`

// podState is a pod of claimdir.
type podState struct {
	Namespace   string        `json:"namespace"`
	Provisioner string        `json:"provisioner,omitempty"`
	Pod         string        `json:"pod"`
	State       string        `json:"state"`
	Ready       bool          `json:"ready"`
	Leads       *bool         `json:"leads,omitempty"` // nil is not known
	Version     string        `json:"version,omitempty"`
	Restarts    int32         `json:"restarts"`
	Created     time.Time     `json:"created"`
	Shares      []*shareState `json:"shares,omitempty"`
}

func (a *app) statusCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "status", Short: "show the pods, the leader and the state of each share", Long: statusHead,
		Annotations: map[string]string{exitCodes: `
Exit codes: 0 a pod is ready and leads, and all shares are ready; 1 failed, or there are problems (standard
error names them); 2 wrong configuration.
`},
	}
	addSections(c, tableOrJSON(&format))
	c.Args = func(c *cobra.Command, args []string) error {
		if err := noArguments(c, args); err != nil {
			return err
		}
		return checkOutput(format)
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		cluster, err := a.connect()
		if err != nil {
			return err
		}
		found, err := cluster.installations(c.Context())
		if err != nil {
			return err
		}
		s := status{cluster: cluster}
		for _, f := range found {
			s.look(c.Context(), f)
		}
		if format == "json" {
			err = output.JSON(a.Out, s.pods)
		} else {
			err = a.statusTables(s.pods, time.Now())
		}
		if err != nil {
			return err
		}
		for _, problem := range s.problems {
			fmt.Fprintln(a.ErrOut, "kubectl claimdir:", output.Cell(problem))
		}
		switch n := len(s.problems); n {
		case 0:
			return nil
		case 1:
			return errors.New("status found 1 problem")
		default:
			return fmt.Errorf("status found %d problems", n)
		}
	}
	return c
}

// status is what was found out.
type status struct {
	cluster  *cluster
	pods     []podState
	problems []string
}

func (s *status) problem(format string, args ...any) {
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

// look adds the pods of an installation.
func (s *status) look(ctx context.Context, of installation) {
	leader, leaderErr := s.cluster.leader(ctx, of)
	anyReady, anyLeads := false, false
	for i := range of.pods {
		pod := &of.pods[i]
		state := podState{
			Namespace: pod.Namespace, Provisioner: of.provisioner, Pod: pod.Name, State: state(pod), Ready: ready(pod),
			Restarts: restarts(pod), Created: pod.CreationTimestamp.UTC(),
		}
		anyReady = anyReady || state.Ready
		if leaderErr == nil {
			leads := pod.Name == leader
			state.Leads = &leads
		}
		if rankOf(pod, "") > 0 {
			s.ask(ctx, pod, &state)
		}
		anyLeads = anyLeads || state.Leads != nil && *state.Leads
		s.pods = append(s.pods, state)
	}
	switch {
	case !anyReady:
		s.problem("no pod of claimdir in %s is ready: %s", of, states(of.pods))
	case !anyLeads && leaderErr != nil:
		s.problem("%v", leaderErr)
	case !anyLeads:
		s.problem("no pod of claimdir in %s leads", of)
	}
}

// ask adds what the pod itself says.
func (s *status) ask(ctx context.Context, pod *corev1.Pod, state *podState) {
	said, err := s.cluster.metrics(ctx, pod)
	if err != nil {
		s.problem("pod %s/%s: %v", pod.Namespace, pod.Name, err)
		return
	}
	state.Version, state.Shares = said.version, said.shares
	if state.Leads == nil {
		state.Leads = &said.leads
	}
	inTrouble := 0
	for _, share := range said.shares {
		if !share.Ready {
			inTrouble++
		}
	}
	if inTrouble == 0 {
		return
	}
	text := s.cluster.troubles(ctx, pod)
	if text == "" {
		text = fmt.Sprintf("shares that are not ready: %d", inTrouble)
	}
	for line := range strings.Lines(text) {
		s.problem("pod %s/%s: %s", pod.Namespace, pod.Name, strings.TrimSpace(line))
	}
}

func restarts(pod *corev1.Pod) (n int32) {
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == container(pod).Name {
			n = c.RestartCount
		}
	}
	return n
}

func (a *app) statusTables(pods []podState, now time.Time) error {
	table, shares := output.Table{Width: a.width}, output.Table{Width: a.width}
	table.Row("NAMESPACE", "POD", "STATE", "READY", "LEADS", "VERSION", "RESTARTS", "AGE")
	shares.Row("SHARE", "EXPORT", "POD", "STATE", "FREE", "SIZE")
	any := false
	for _, p := range pods {
		leads := "unknown"
		if p.Leads != nil {
			leads = yes(*p.Leads)
		}
		table.Row(p.Namespace, p.Pod, p.State, yes(p.Ready), leads, cmp.Or(p.Version, "unknown"), fmt.Sprint(p.Restarts), duration.HumanDuration(now.Sub(p.Created)))
		for _, s := range p.Shares {
			any = true
			shares.Row(cmp.Or(s.Name, "-"), s.Export, p.Pod, s.state(), amount(s.Free), amount(s.Size))
		}
	}
	if err := table.Write(a.Out); err != nil || !any {
		return err
	}
	if _, err := fmt.Fprintln(a.Out); err != nil {
		return err
	}
	return shares.Write(a.Out)
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}
