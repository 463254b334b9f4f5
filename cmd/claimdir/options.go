package main

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// options is the whole configuration; newOptions sets the defaults.
type options struct {
	provisionerName string
	additionalNames []string
	workers         int
	drainTimeout    time.Duration

	mountPath    string
	shareTimeout time.Duration
	nfsServer    string
	nfsPath      string

	kubeconfig    string
	leaderElect   bool
	podNamespace  string
	httpAddress   string
	logFormat     string
	verbosity     int
	output        string // of a command
	help, version bool
}

func newOptions() options {
	return options{
		workers:      16,
		drainTimeout: 25 * time.Second,
		mountPath:    "/persistentvolumes",
		shareTimeout: 30 * time.Second,
		leaderElect:  true,
		httpAddress:  ":8080",
		logFormat:    "text",
		verbosity:    0,
		output:       "table",
	}
}

// usageError is every problem of the configuration.
type usageError struct{ problems []error }

func (e *usageError) Error() string {
	if len(e.problems) == 1 {
		return e.problems[0].Error()
	}
	return fmt.Sprintf("%d problems in the configuration:\n%v", len(e.problems), errors.Join(e.problems...))
}

// validate returns every problem, each naming the flag, the value and what is
// allowed.
func (o *options) validate() (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	problems = append(o.validateNames(), o.validateShares()...)
	if o.workers < 1 || o.workers > 1000 {
		problem("--workers %d: allowed are 1 to 1000", o.workers)
	}
	if o.drainTimeout < 0 {
		problem("--drain-timeout %s: must not be negative", o.drainTimeout)
	}
	if o.leaderElect && o.podNamespace == "" {
		problem("--pod-namespace (POD_NAMESPACE) is required for leader election outside a cluster: the namespace of the Lease")
	}
	if o.logFormat != "text" && o.logFormat != "json" {
		problem("--log-format %q: allowed are text and json", o.logFormat)
	}
	if o.output != "table" && o.output != "json" {
		problem("--output %q: allowed are table and json", o.output)
	}
	if o.verbosity < 0 || o.verbosity > 10 {
		problem("--verbosity %d: allowed are 0 to 10", o.verbosity)
	}
	return problems
}

func (o *options) validateShares() (problems []error) {
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
	if o.shareTimeout < time.Second {
		problem("--share-timeout %s: must be at least 1s", o.shareTimeout)
	}
	return problems
}

func (o *options) validateNames() (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if o.provisionerName == "" {
		problem("--provisioner-name (PROVISIONER_NAME) is required: the name that your StorageClasses have as provisioner")
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

// wrongName says what is wrong with a provisioner name, or nothing.
func wrongName(name string) string {
	return strings.Join(validation.IsQualifiedName(strings.ToLower(name)), "; ")
}

// names are all provisioner names that are served, our own first.
func (o *options) names() []string {
	return append([]string{o.provisionerName}, o.additionalNames...)
}
