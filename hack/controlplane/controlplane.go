package controlplane

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// AuditMetadata is an audit policy that logs who did what to which object, for
// every request, once it is answered.
const AuditMetadata = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// outsidePort is the API server's where it has an Address.
const outsidePort = 6443

// Options say how a control plane differs from the default one.
type Options struct {
	// Binaries to run; the zero value calls Build.
	Binaries Binaries
	// Progress receives what Build says; nil means standard error.
	Progress io.Writer
	// KeepDir leaves the directory with logs and data behind, also when Start
	// fails.
	KeepDir bool
	// AuditPolicy is the text of an audit policy, such as AuditMetadata. Empty
	// means no audit log.
	AuditPolicy string
	// Address is an IP address of this machine at which the API server is
	// reached besides loopback, at port 6443: a node's, with its pods. Empty
	// means loopback alone, at a free port.
	Address string
	// Users may log in besides the administrator, each with a kubeconfig file
	// at KubeconfigOf.
	Users []User
	// APIServerArgs and ControllerManagerArgs follow the default flags. Of a
	// flag given twice the last one counts.
	APIServerArgs         []string
	ControllerManagerArgs []string
}

// User is a name that RBAC knows, and the groups that it belongs to.
type User struct {
	Name   string
	Groups []string
}

// ControlPlane is a running control plane. Its methods may be called from
// several goroutines.
type ControlPlane struct {
	opts   Options
	dir    string
	token  string            // of the administrator
	tokens map[string]string // of each name of a kubeconfig file
	ca     []byte            // PEM
	client *http.Client

	mu                sync.Mutex // guards what follows
	apiPort           int        // set by Start for good, like the next
	managerPort       int
	etcd              *process
	apiServer         *process
	controllerManager *process

	snapshotController *process // nil unless StartSnapshotController was called
	snapshotPort       int
}

// Start starts a control plane and returns when it serves: the API is ready and
// the default service account exists. ctx bounds the start only; the caller
// ends the control plane with Stop. If Start fails, nothing is left running.
func Start(ctx context.Context, opts Options) (*ControlPlane, error) {
	if opts.Progress == nil {
		opts.Progress = os.Stderr
	}
	if opts.Binaries == (Binaries{}) {
		var err error
		if opts.Binaries, err = Build(ctx, opts.Progress); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "claimdir-controlplane-")
	if err != nil {
		return nil, fmt.Errorf("start control plane: %w", err)
	}
	cp := &ControlPlane{opts: opts, dir: dir}
	if err := cp.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start control plane: %w", err), cp.Stop())
	}
	return cp, nil
}

func (cp *ControlPlane) start(ctx context.Context) error {
	if err := cp.prepare(); err != nil {
		return err
	}
	if err := cp.startEtcd(); err != nil {
		return err
	}
	if err := cp.StartAPIServer(ctx); err != nil {
		return err
	}
	for name, token := range cp.tokens {
		if _, err := cp.KubeconfigFor(name, token); err != nil {
			return err
		}
	}
	return cp.StartControllerManager(ctx)
}

// prepare writes what the components read.
func (cp *ControlPlane) prepare() (err error) {
	if cp.ca, err = writePKI(cp.dir, cp.opts.Address); err != nil {
		return err
	}
	cp.tokens = map[string]string{}
	var tokens strings.Builder
	for _, user := range append(cp.opts.Users, User{Name: "admin", Groups: []string{"system:masters"}}) {
		cp.token = rand.Text() // the administrator's is the last
		cp.tokens[kubeconfigName(user.Name)] = cp.token
		fmt.Fprintf(&tokens, "%s,%s,%s,%q\n", cp.token, user.Name, user.Name, strings.Join(user.Groups, ","))
	}
	if cp.opts.Address != "" {
		cp.apiPort = outsidePort
	}
	for name, text := range map[string]string{tokenFile: tokens.String(), auditPolicyFile: cp.opts.AuditPolicy} {
		if err := os.WriteFile(filepath.Join(cp.dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cp.ca)
	cp.client = &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: roots},
			DisableKeepAlives: true,
		},
	}
	return nil
}

// Stop kills the processes of this control plane, waits until they are gone and
// removes its directory unless Options.KeepDir. A second call does nothing.
func (cp *ControlPlane) Stop() error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	for _, p := range []**process{&cp.snapshotController, &cp.controllerManager, &cp.apiServer, &cp.etcd} {
		kill(p)
	}
	if cp.opts.KeepDir {
		return nil
	}
	if err := os.RemoveAll(cp.dir); err != nil {
		return fmt.Errorf("stop control plane: %w", err)
	}
	return nil
}

// kill ends a component that runs and forgets it.
func kill(p **process) {
	if *p != nil {
		(*p).Kill()
		*p = nil
	}
}

// Dir is the control plane's own directory: a log per component, etcd's data,
// keys and kubeconfig files.
func (cp *ControlPlane) Dir() string { return cp.dir }

// Server is the URL of the API server.
func (cp *ControlPlane) Server() string {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	return cp.server()
}

func (cp *ControlPlane) server() string { return loopbackURL(cp.apiPort) }

func loopbackURL(port int) string { return fmt.Sprintf("https://127.0.0.1:%d", port) }

// CAFile is the path of the certificate that the API server is verified with.
func (cp *ControlPlane) CAFile() string { return filepath.Join(cp.dir, caFile) }

// AdminToken is the bearer token of a member of system:masters.
func (cp *ControlPlane) AdminToken() string { return cp.token }

// AuditLog is the path of the audit log, or empty without Options.AuditPolicy.
// An answered request appears in it at once or within moments, an open watch
// twice: when it begins and when it ends.
func (cp *ControlPlane) AuditLog() string {
	if cp.opts.AuditPolicy == "" {
		return ""
	}
	return filepath.Join(cp.dir, auditLogFile)
}
