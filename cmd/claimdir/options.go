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

	mountPath     string
	shareTimeout  time.Duration
	trashRate     int // calls a second
	sweepInterval time.Duration
	orphanGrace   time.Duration
	nfsServer     string
	nfsPath       string

	kubeconfig    string
	leaderElect   bool
	podNamespace  string
	httpAddress   string
	logFormat     string
	verbosity     int
	output        string // of a command
	archive       archiveOptions
	fix, yes      bool
	help, version bool
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
		leaderElect:   true,
		httpAddress:   ":8080",
		logFormat:     "text",
		verbosity:     0,
		output:        "table",
	}
}

// usageError is every problem of the configuration.
type usageError struct {
	command  string // whose help is of use; empty for the controller
	problems []error
}

func (e *usageError) Error() string {
	if len(e.problems) == 1 {
		return e.problems[0].Error()
	}
	return fmt.Sprintf("%d problems in the configuration:\n%v", len(e.problems), errors.Join(e.problems...))
}

// validate returns every problem, each naming the flag, the value and what is
// allowed. What the command has no flag for is not looked at where it may be
// missing.
func (o *options) validate(c command) (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c.accepts("provisioner-name") {
		problems = o.validateNames()
	}
	problems = append(problems, o.validateShares()...)
	problems = append(problems, o.validateActing(c)...)
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

// validateActing refuses an answer to questions that are not asked.
func (o *options) validateActing(c command) (problems []error) {
	if o.yes && !o.fix && c.accepts("fix") {
		problems = append(problems, errors.New("--yes: there are questions with --fix only"))
	}
	if o.fix && !o.yes && o.output == "json" {
		problems = append(problems, errors.New("--fix --output json: a program answers no questions: add --yes"))
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
	if o.trashRate < 0 {
		problem("--trash-rate %d: must not be negative; 0 is as fast as it goes", o.trashRate)
	}
	if o.sweepInterval < time.Second {
		problem("--sweep-interval %s: must be at least 1s", o.sweepInterval)
	}
	if o.orphanGrace < 0 {
		problem("--orphan-grace %s: must not be negative", o.orphanGrace)
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
