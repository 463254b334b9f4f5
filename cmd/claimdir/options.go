package main

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
)

// options configure the controller. The other commands use some of these options, and have
// their own in addition. newOptions sets the defaults.
type options struct {
	provisionerName string
	additionalNames []string
	workers         int
	drainTimeout    time.Duration

	mountPath     string
	shareTimeout  time.Duration
	trashRate     int // calls a second
	sweepInterval time.Duration
	orphanGrace   time.Duration
	expandMounted bool
	usageInterval time.Duration // 0: nothing is measured
	usageRate     int           // files and directories a second
	usageMetrics  string
	copiesAtOnce  int // of each share
	copyRate      int // calls a second
	copyBandwidth string
	nfsServer     string
	nfsPath       string

	kubeconfig   string
	leaderElect  bool
	podNamespace string
	httpAddress  string
	pageAddress  string
	logFormat    string
	verbosity    int
}

func newOptions() options {
	return options{
		workers:       16,
		drainTimeout:  25 * time.Second,
		mountPath:     "/persistentvolumes",
		shareTimeout:  30 * time.Second,
		trashRate:     2000,
		sweepInterval: time.Hour,
		orphanGrace:   time.Hour,
		expandMounted: true,
		usageRate:     2000,
		usageMetrics:  metricsOfNamespaces,
		copiesAtOnce:  2,
		copyRate:      2000,
		copyBandwidth: "0",
		leaderElect:   true,
		httpAddress:   ":8080",
		pageAddress:   "127.0.0.1:8081",
		logFormat:     "text",
		verbosity:     0,
	}
}

// These flags belong to several commands:

func (o *options) addName(f *pflag.FlagSet) {
	f.StringVar(&o.provisionerName, "provisioner-name", o.provisionerName, "the `name` in the field provisioner of the StorageClasses; required")
}

func (o *options) addMoreNames(f *pflag.FlagSet) {
	f.StringSliceVar(&o.additionalNames, "additional-provisioner-names", o.additionalNames,
		"more `names`, separated by commas, whose classes and volumes are served too, such as the name of a provisioner that claimdir replaces")
}

func (o *options) addShares(f *pflag.FlagSet) {
	f.StringVar(&o.mountPath, "mount-path", o.mountPath,
		"the `directory` where the share is mounted; several shares are mounted in subdirectories, whose names are the names of the shares")
	f.StringVar(&o.nfsServer, "nfs-server", o.nfsServer,
		"the NFS `server` of the PersistentVolumes; default: as mounted; must agree with the mount; for several shares NAME=SERVER,NAME=SERVER")
	f.StringVar(&o.nfsPath, "nfs-path", o.nfsPath,
		"the exported `path` of the PersistentVolumes; default: as mounted; must agree with the mount; for several shares NAME=PATH,NAME=PATH")
}

func (o *options) addKubeconfig(f *pflag.FlagSet) {
	f.StringVar(&o.kubeconfig, "kubeconfig", o.kubeconfig, "the kubeconfig `file`; default: the pod's ServiceAccount")
}

func (o *options) addNamespace(f *pflag.FlagSet) {
	f.StringVar(&o.podNamespace, "pod-namespace", o.podNamespace, "the `namespace` of the Lease; default: the pod's own")
}

// findNamespace sets the default of --pod-namespace: the pod's own, or none outside a pod.
func (o *options) findNamespace() {
	if o.podNamespace == "" {
		o.podNamespace = ownNamespace()
	}
}

// shareFlags returns the flags that say where the shares are, without those of the
// controller.
func (o *options) shareFlags() *pflag.FlagSet {
	f := section("Shares")
	o.addShares(f)
	return withVariables(f)
}

// outputFlags returns the flags of a command that prints a table or JSON.
func outputFlags(output *string) *pflag.FlagSet {
	f := section("Output")
	f.StringVarP(output, "output", "o", "table", "table or json; on a terminal a table cuts long names, json has them whole")
	return withVariables(f)
}

// These checks return every problem. Each names the flag, its value and what is allowed:

func checkOutput(output string) (problems []error) {
	if output != "table" && output != "json" {
		problems = append(problems, fmt.Errorf("--output %q: allowed are table and json", output))
	}
	return problems
}

func (o *options) checkShares() (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if !path.IsAbs(o.mountPath) {
		problem("--mount-path %q: must be absolute", o.mountPath)
	}
	if _, err := parseServers(o.nfsServer); err != nil {
		problem("--nfs-server: %w", err)
	}
	if _, err := parsePaths(o.nfsPath); err != nil {
		problem("--nfs-path: %w", err)
	}
	return problems
}

func (o *options) checkNames() (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if o.provisionerName == "" {
		problem("--provisioner-name (PROVISIONER_NAME) is required: the name in the field provisioner of your StorageClasses")
	} else if wrong := wrongName(o.provisionerName); wrong != "" {
		problem("--provisioner-name %q: %s", o.provisionerName, wrong)
	}
	for _, name := range o.additionalNames {
		if wrong := wrongName(name); wrong != "" {
			problem("--additional-provisioner-names %q: %s", name, wrong)
		}
	}
	return problems
}

// wrongName returns what is wrong with a provisioner name, or an empty string.
func wrongName(name string) string {
	return strings.Join(validation.IsQualifiedName(strings.ToLower(name)), "; ")
}

// names returns all provisioner names that are served, our own first.
func (o *options) names() []string {
	return append([]string{o.provisionerName}, o.additionalNames...)
}
