package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"claimdir/provisioner/output"
)

const preflightHead = `claimdir preflight says whether StorageClasses can become what a release makes of them, before anything
changes: nobody can change the provisioner, parameters, reclaimPolicy and volumeBindingMode of a class.
It changes nothing. The Helm chart runs it as a Job before it upgrades a release in takeover mode.

Usage: claimdir preflight --class JSON [flags]
`

const preflightTail = `
Exit codes: 0 they can; 1 they can not, or the API server did not answer; 2 wrong configuration.
`

// preflightOptions are those of claimdir preflight.
type preflightOptions struct {
	options

	texts   []string
	classes []storagev1.StorageClass
}

func preflightCommand(p program) *cobra.Command {
	c := &cobra.Command{
		Use: "preflight", Short: "before an upgrade: check that no StorageClass would have to change",
		Long: preflightHead, Annotations: endsWith(preflightTail),
	}
	return p.command(c, &preflightOptions{options: newOptions()})
}

func (o *preflightOptions) flags() []*pflag.FlagSet {
	release, cluster := section("Release"), section("Cluster")
	release.StringArrayVar(&o.texts, "class", nil, "a StorageClass of the release, as `JSON`; required, once for each class")
	o.addKubeconfig(cluster)
	return []*pflag.FlagSet{release, withVariables(cluster)}
}

func (o *preflightOptions) complete(args []string) []error {
	problems := unexpected(args)
	if len(o.texts) == 0 {
		problems = append(problems, errors.New("--class is missing: give each StorageClass of the release"))
	}
	for _, text := range o.texts {
		var class storagev1.StorageClass
		err := json.Unmarshal([]byte(text), &class)
		if err == nil && class.Name == "" {
			err = errors.New("metadata.name is missing")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("--class %q: must be a StorageClass as JSON: %w", text, err))
		}
		o.classes = append(o.classes, class)
	}
	return problems
}

func (o *preflightOptions) run(ctx context.Context, std streams) error {
	clients, err := connectCommand(o.options)
	if err != nil {
		return err
	}
	return preflight(ctx, clients.Main, o.classes, std)
}

// preflight returns an error if a class of the cluster would have to change where nobody can change it.
func preflight(ctx context.Context, client kubernetes.Interface, classes []storagev1.StorageClass, std streams) error {
	live, err := client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{}) // claimdir may not get one
	if err != nil {
		return fmt.Errorf("list StorageClasses: %w", err)
	}
	differ := 0
	for i := range classes {
		want := &classes[i]
		at := slices.IndexFunc(live.Items, func(c storagev1.StorageClass) bool { return c.Name == want.Name })
		if at < 0 {
			continue // it is made anew
		}
		for _, d := range fixedDifferences(want, &live.Items[at]) {
			fmt.Fprintf(std.err, "claimdir: StorageClass %s: %s\n", want.Name, output.Cell(d))
			differ++
		}
	}
	if differ > 0 {
		return fmt.Errorf("%s cannot be changed (see above): set the value to what the class has in the cluster, or make another class in storageClasses", output.Count(differ, "field"))
	}
	_, err = fmt.Fprintln(std.out, "No StorageClass would have to change.")
	return err
}

// fixedDifferences says where a class differs from the one in the cluster in what nobody can change.
// Source: ValidateStorageClassUpdate of Kubernetes.
func fixedDifferences(want, live *storagev1.StorageClass) (differences []string) {
	differ := func(field, want, live string) {
		if want != live {
			differences = append(differences, fmt.Sprintf("%s is %s in the cluster, and would have to be %s", field, live, want))
		}
	}
	differ("provisioner", strconv.Quote(want.Provisioner), strconv.Quote(live.Provisioner))
	policy := v1.PersistentVolumeReclaimDelete
	differ("reclaimPolicy", string(ptr.Deref(want.ReclaimPolicy, policy)), string(ptr.Deref(live.ReclaimPolicy, policy)))
	mode := storagev1.VolumeBindingImmediate
	differ("volumeBindingMode", string(ptr.Deref(want.VolumeBindingMode, mode)), string(ptr.Deref(live.VolumeBindingMode, mode)))
	names := slices.AppendSeq(slices.Collect(maps.Keys(want.Parameters)), maps.Keys(live.Parameters))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		differ("the parameter "+name, parameterOf(want, name), parameterOf(live, name))
	}
	return differences
}

func parameterOf(class *storagev1.StorageClass, name string) string {
	value, ok := class.Parameters[name]
	if !ok {
		return "not set"
	}
	return strconv.Quote(value)
}
