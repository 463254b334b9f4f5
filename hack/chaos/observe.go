package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/chaos/check"
	"claimdir/hack/testbed"
)

// claimsMade is what is counted of claims.
const claimsMade = "claims made"

func readEntry(root *os.Root, name string, tree map[string]check.Entry) error {
	info, err := root.Lstat(name)
	if err != nil {
		return err
	}
	e := check.Entry{Mode: info.Mode()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		e.UID, e.GID = stat.Uid, stat.Gid
	}
	switch {
	case info.Mode().IsRegular():
		var content []byte
		content, err = root.ReadFile(name)
		e.Content = string(content)
	case info.Mode()&os.ModeSymlink != 0:
		e.Content, err = root.Readlink(name)
	}
	if err == nil {
		tree[name] = e
	}
	return err
}

// observe is all that the checker looks at, but what doctor says.
func (w *world) observe(ctx context.Context) (s check.State, err error) {
	s = check.State{Cluster: w.cluster, Export: w.export, Foreign: w.foreign, OutsideBefore: w.outsideBefore}
	if s.Share, err = readTree(w.share); err != nil {
		return s, err
	}
	if s.OutsideNow, err = readTree(w.outside); err != nil {
		return s, err
	}
	for _, namespace := range w.namespaces {
		claims, err := w.bed.Admin.CoreV1().PersistentVolumeClaims(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return s, err
		}
		s.Claims = append(s.Claims, claims.Items...)
	}
	volumes, err := w.bed.Admin.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, err
	}
	for _, pv := range volumes.Items {
		if strings.HasPrefix(pv.Spec.StorageClassName, w.name+"-") {
			s.Volumes = append(s.Volumes, pv)
		}
	}
	classes, err := w.bed.Admin.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, err
	}
	for _, class := range classes.Items {
		if class.Provisioner == w.provisioner {
			s.Classes = append(s.Classes, class)
		}
	}
	s.Log, s.Now = w.journal.snapshot(), time.Now()
	return s, nil
}

// finding is one of claimdir doctor's.
type finding struct{ Kind, Object, Problem string }

func (f finding) String() string { return f.Kind + " " + f.Object + ": " + f.Problem }

// doctor returns what claimdir doctor finds, but what is others' on the share, and how many
// records it did not judge yet.
func (w *world) doctor(ctx context.Context, args ...string) (findings []finding, young int, err error) {
	out, runErr := w.bed.Run(ctx, w.doctors(), append([]string{"doctor", "-o", "json"}, args...)...)
	var report struct {
		Findings   []finding
		TooYoung   int
		NotChecked []string
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", runErr, err)
	}
	for _, f := range report.Findings {
		if _, foreign := w.foreign[f.Object]; !foreign || f.Kind != "directory" {
			findings = append(findings, f)
		}
	}
	for _, left := range report.NotChecked {
		findings = append(findings, finding{Kind: "not checked", Problem: left})
	}
	return findings, report.TooYoung, nil
}

// doctors is the configuration of the command: it sees the share as its server does.
func (w *world) doctors() testbed.Config {
	return testbed.Config{Share: w.share, Provisioner: w.provisioner, Env: []string{"NFS_PATH=" + w.export}}
}

// fixAbandoned does what docs/doctor.md tells an administrator to do about a restored volume whose claim was
// deleted while claimdir was killed, before the PersistentVolume was saved: claimdir keeps it and says so, and
// doctor --fix makes an archive of it again. It does nothing if doctor finds anything else.
func (w *world) fixAbandoned(ctx context.Context, log check.Log) error {
	findings, _, err := w.doctor(ctx)
	if err != nil || len(findings) == 0 {
		return err
	}
	for _, f := range findings {
		if f.Kind != "record" || !slices.ContainsFunc(log.Claims, func(c *check.Claim) bool {
			return !c.Bound && !c.Deleted.IsZero() && c.Restore != "" && strings.Contains(f.Problem, "volume pvc-"+c.UID+" ")
		}) {
			return nil
		}
	}
	for range findings {
		w.counts.add("restored for an abandoned claim, and archived by doctor --fix")
	}
	_, _ = w.bed.Run(ctx, w.doctors(), "doctor", "--fix", "--yes") // what is others' stays, and is a finding still: the next look judges
	return nil
}
