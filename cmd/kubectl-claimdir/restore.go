package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"claimdir/provisioner/output"
)

const restoreHead = `kubectl claimdir archive restore creates a claim that gets an archive as its directory:

    kubectl claimdir archive restore team/data --to data2 --wait

The claim has the namespace, class, size and access modes of the archived claim. It is created with your
rights, and not if a claim of that name exists. The class must be one of claimdir's, and its volumes must go
to the share that the archive is on. If the archive is of another cluster, or of an earlier namespace of that
name, the class needs onExisting: adopt. When the claim is bound, the archive has become its directory.

Usage: kubectl claimdir archive restore NAMESPACE/CLAIM [flags]
`

// restoreOptions are those of archive restore.
type restoreOptions struct {
	*app

	claim, to string
	volume    string
	dryRun    string
	output    string
	wait      bool
	timeout   time.Duration
}

func (a *app) archiveRestoreCommand() *cobra.Command {
	o := &restoreOptions{app: a}
	f, acting := newSection("Archives"), newSection("Acting")
	f.StringVar(&o.to, "to", "", "the `name` of the new claim; default: the name of the archived claim")
	f.StringVar(&o.volume, "volume", "", "restore the archive of this `volume` (PersistentVolume); default: the claim's newest archive")
	acting.StringVar(&o.dryRun, "dry-run", "none", "none, client, which only shows what would be created, or server, which asks the API server without creating it")
	acting.Lookup("dry-run").NoOptDefVal = "client"
	acting.StringVarP(&o.output, "output", "o", "", "print the claim as yaml, json or name")
	acting.BoolVar(&o.wait, "wait", false, "wait until the claim is Bound")
	acting.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long to wait")
	c := &cobra.Command{
		Use: "restore", Short: "create a claim that restores an archive", Long: restoreHead,
		ValidArgsFunction: a.completeInPod("archive", "list"),
		Args:              o.complete,
		Annotations: map[string]string{exitCodes: `
Exit codes: 0 claim created, and Bound with --wait; 1 failed, or there is no such archive; 2 wrong
configuration.
`},
	}
	addSections(c, forPod(f), acting)
	c.RunE = func(c *cobra.Command, args []string) error { return o.run(c.Context(), podArguments(c, args)) }
	return c
}

// complete takes the argument, and checks all that is said.
func (o *restoreOptions) complete(_ *cobra.Command, args []string) error {
	if len(args) != 1 || claims(args, "") != nil || !strings.Contains(args[0], "/") {
		return fmt.Errorf("arguments %q: exactly one is required, NAMESPACE/CLAIM of the archived claim", args)
	}
	o.claim = args[0]
	if wrong := validation.IsDNS1123Subdomain(o.to); o.to != "" && len(wrong) > 0 {
		return fmt.Errorf("--to %q: not a valid name of a claim: %s", o.to, strings.Join(wrong, "; "))
	}
	switch {
	case !slices.Contains([]string{"none", "client", "server"}, o.dryRun):
		return fmt.Errorf("--dry-run %q: allowed are none, client and server", o.dryRun)
	case !slices.Contains([]string{"", "yaml", "json", "name"}, o.output):
		return fmt.Errorf("--output %q: allowed are yaml, json and name", o.output)
	case o.wait && o.dryRun != "none":
		return errors.New("--wait and --dry-run exclude each other: a dry run creates nothing to wait for")
	case o.timeout <= 0:
		return fmt.Errorf("--timeout %s: must be more than 0", o.timeout)
	}
	return nil
}

func (o *restoreOptions) run(ctx context.Context, command []string) error {
	cluster, at, err := o.pod(ctx, o.ErrOut)
	if err != nil {
		return err
	}
	var manifest bytes.Buffer
	if err := cluster.run(ctx, at, session{out: &manifest, err: o.ErrOut}, command...); err != nil {
		return err
	}
	claim, err := o.read(manifest.Bytes())
	if err != nil {
		return fmt.Errorf("pod %s: %w; nothing was created", at, err)
	}
	if o.dryRun != "client" {
		options := metav1.CreateOptions{FieldManager: "kubectl-claimdir", FieldValidation: metav1.FieldValidationStrict}
		if o.dryRun == "server" {
			options.DryRun = []string{metav1.DryRunAll}
		}
		if claim, err = cluster.core.PersistentVolumeClaims(claim.Namespace).Create(ctx, claim, options); err != nil {
			return fmt.Errorf("create claim %s: %w", o.claimName(), err)
		}
	}
	if err := o.print(claim); err != nil || !o.wait {
		return err
	}
	return o.waitFor(ctx, cluster, claim)
}

// claimName is NAMESPACE/CLAIM of the new claim.
func (o *restoreOptions) claimName() string {
	namespace, claim, _ := strings.Cut(o.claim, "/")
	if o.to != "" {
		claim = o.to
	}
	return namespace + "/" + claim
}

// read reads the manifest that the pod has printed. Whoever has taken the pod over must not make the user create
// anything else than the claim that was asked for.
func (o *restoreOptions) read(manifest []byte) (*corev1.PersistentVolumeClaim, error) {
	var claim corev1.PersistentVolumeClaim
	if err := yaml.UnmarshalStrict(manifest, &claim); err != nil {
		return nil, fmt.Errorf("claimdir printed no claim: %w", err)
	}
	if claim.APIVersion != "v1" || claim.Kind != "PersistentVolumeClaim" || claim.Namespace+"/"+claim.Name != o.claimName() {
		return nil, fmt.Errorf("claimdir printed %s %s of namespace %s, and not claim %s",
			output.Cell(claim.Kind), output.Cell(claim.Name), output.Cell(claim.Namespace), o.claimName())
	}
	if err := o.onlyRestores(&claim); err != nil {
		return nil, err
	}
	return &claim, nil
}

// restores is the annotation of a claim that restores the archive of the volume that it names.
const restores = "claimdir/restore"

// onlyRestores refuses a claim that says anything but what claimdir archive restore prints. What is allowed is taken away, and the
// rest must be empty: a volumeName or a dataSource would give the claim another content, a finalizer would keep it for ever, and
// other annotations are orders to other programs.
func (o *restoreOptions) onlyRestores(claim *corev1.PersistentVolumeClaim) error {
	archived := claim.Annotations[restores]
	if archived == "" || o.volume != "" && archived != o.volume {
		return fmt.Errorf("claimdir printed a claim that restores the archive of volume %q, and not that of %q", archived, cmp.Or(o.volume, o.claim))
	}
	rest := claim.DeepCopy()
	rest.TypeMeta, rest.Namespace, rest.Name = metav1.TypeMeta{}, "", ""
	delete(rest.Annotations, restores)
	rest.Spec.AccessModes, rest.Spec.StorageClassName = nil, nil
	delete(rest.Spec.Resources.Requests, corev1.ResourceStorage)
	got, err := json.Marshal(rest)
	if err != nil {
		return fmt.Errorf("compare the claim: %w", err)
	}
	nothing, err := json.Marshal(&corev1.PersistentVolumeClaim{})
	if err != nil {
		return fmt.Errorf("compare the claim: %w", err)
	}
	if !bytes.Equal(got, nothing) {
		return fmt.Errorf("claimdir printed a claim that has more than one that restores an archive: %s", output.Cell(string(got)))
	}
	return nil
}

func (o *restoreOptions) print(claim *corev1.PersistentVolumeClaim) error {
	claim.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"}
	claim.ManagedFields = nil
	switch o.output {
	case "yaml":
		text, err := output.Manifest(claim)
		if err != nil {
			return err
		}
		_, err = o.Out.Write(bytes.TrimPrefix(text, []byte("---\n")))
		return err
	case "json":
		return output.JSON(o.Out, claim)
	}
	text := "persistentvolumeclaim/" + claim.Name
	if o.output == "" {
		text += " created" + map[string]string{"client": " (dry run)", "server": " (server dry run)"}[o.dryRun]
	}
	_, err := fmt.Fprintln(o.Out, text)
	return err
}

// pollEvery is the pause between two looks at a claim.
const pollEvery = time.Second

// waitFor returns when the claim is Bound.
func (o *restoreOptions) waitFor(ctx context.Context, cluster *cluster, claim *corev1.PersistentVolumeClaim) error {
	limit := time.NewTimer(o.timeout)
	defer limit.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		now, err := cluster.core.PersistentVolumeClaims(claim.Namespace).Get(ctx, claim.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err) || err == nil && now.UID != claim.UID:
			return fmt.Errorf("claim %s was deleted before it was Bound", o.claimName())
		case err != nil:
			return fmt.Errorf("wait for claim %s: %w", o.claimName(), err)
		case now.Status.Phase == corev1.ClaimBound:
			fmt.Fprintf(o.ErrOut, "persistentvolumeclaim/%s is bound to %s\n", now.Name, now.Spec.VolumeName)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for claim %s: %w", o.claimName(), ctx.Err())
		case <-limit.C:
			return fmt.Errorf("claim %s is not Bound after %s; it was created, and its events say why: kubectl -n %s describe pvc %s",
				o.claimName(), o.timeout, claim.Namespace, claim.Name)
		case <-tick.C:
		}
	}
}
