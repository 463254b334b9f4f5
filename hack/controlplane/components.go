package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// Files that components read and write, relative to the control plane's
// directory, which is also their working directory.
const (
	tokenFile       = "tokens.csv"
	auditPolicyFile = "audit-policy.yaml"
	auditLogFile    = "audit.log"
	// etcd makes these the names of its sockets, port and all. Being relative,
	// they stay short whatever TMPDIR is: a socket's path ends at 107 bytes.
	etcdClient = "etcd:0"
	etcdPeer   = "etcd-peer:0"
)

func (cp *ControlPlane) startEtcd() error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	p, err := startProcess(cp.dir, cp.opts.Binaries.Etcd, []string{
		"--name=default",
		"--data-dir=etcd-data",
		"--unsafe-no-fsync",
		"--log-level=warn",
		"--listen-client-urls=unix://" + etcdClient,
		"--advertise-client-urls=unix://" + etcdClient,
		"--listen-peer-urls=unix://" + etcdPeer,
		"--initial-advertise-peer-urls=unix://" + etcdPeer,
		"--initial-cluster=default=unix://" + etcdPeer,
	})
	if err != nil {
		return err
	}
	cp.etcd = p
	return nil // the API server waits for it
}

// StartAPIServer starts the API server, after StopAPIServer on the same port
// again, and returns when it is ready.
func (cp *ControlPlane) StartAPIServer(ctx context.Context) error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.etcd == nil {
		return errors.New("start API server: control plane is stopped")
	}
	return cp.startServer(ctx, &cp.apiServer, &cp.apiPort, cp.runAPIServer)
}

// StopAPIServer kills the API server: open watches break off, new connections
// are refused, until StartAPIServer.
func (cp *ControlPlane) StopAPIServer() {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	kill(&cp.apiServer)
}

// StartControllerManager starts kube-controller-manager and returns when it
// serves and the default service account exists.
func (cp *ControlPlane) StartControllerManager(ctx context.Context) error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.apiServer == nil {
		return errors.New("start kube-controller-manager: API server is stopped")
	}
	return cp.startServer(ctx, &cp.controllerManager, &cp.managerPort, cp.runControllerManager)
}

// StopControllerManager kills kube-controller-manager: nothing binds, nobody
// collects garbage, until StartControllerManager.
func (cp *ControlPlane) StopControllerManager() {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	kill(&cp.controllerManager)
}

// startServer fills slot with what run starts, on *port once that is settled.
func (cp *ControlPlane) startServer(ctx context.Context, slot **process, port *int,
	run func(context.Context, int) (*process, error)) error {
	if *slot != nil {
		return fmt.Errorf("%s runs already", (*slot).name)
	}
	try := func(candidate int) (err error) {
		if *slot, err = run(ctx, candidate); err == nil {
			*port = candidate
		}
		return err
	}
	if *port != 0 {
		return try(*port)
	}
	return onFreePort(try)
}

func (cp *ControlPlane) runAPIServer(ctx context.Context, port int) (*process, error) {
	args := append(servingArgs(port),
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none", // it refuses loopback
		"--etcd-servers=unix://"+etcdClient,
		"--authorization-mode=Node,RBAC",
		"--token-auth-file="+tokenFile,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+serviceAccountFile,
		"--service-account-signing-key-file="+serviceAccountFile,
		"--service-cluster-ip-range=10.0.0.0/24",
		"--allow-privileged=true",
	)
	if cp.opts.AuditPolicy != "" {
		args = append(args, "--audit-policy-file="+auditPolicyFile, "--audit-log-path="+auditLogFile,
			"--audit-log-maxsize=10000") // MB; at 100 it would start another file
	}
	if cp.opts.Address != "" {
		args = append(args, "--bind-address=0.0.0.0", "--advertise-address="+cp.opts.Address, "--endpoint-reconciler-type=lease")
	}
	args = append(args, cp.opts.APIServerArgs...)
	return cp.runServer(ctx, cp.etcd, cp.opts.Binaries.KubeAPIServer, args, func(ctx context.Context) error {
		return cp.get(ctx, loopbackURL(port)+"/readyz")
	})
}

func (cp *ControlPlane) runControllerManager(ctx context.Context, port int) (*process, error) {
	args := append(servingArgs(port),
		"--kubeconfig="+cp.Kubeconfig(),
		"--leader-elect=false",
		"--use-service-account-credentials",
		"--service-account-private-key-file="+serviceAccountFile,
		"--root-ca-file="+caFile,
		"--flex-volume-plugin-dir=flexvolume", // the default one is the host's
		// Not a bottleneck for a test that makes a thousand claims.
		"--kube-api-qps=300",
		"--kube-api-burst=600",
		// Binding follows events; only what failed, as on a conflict, and a
		// volume whose claimRef has no uid wait for this. The default is 15s.
		"--pvclaimbinder-sync-period=2s",
	)
	args = append(args, cp.opts.ControllerManagerArgs...)
	return cp.runServer(ctx, cp.apiServer, cp.opts.Binaries.KubeControllerManager, args, func(ctx context.Context) error {
		if err := cp.get(ctx, loopbackURL(port)+"/healthz"); err != nil {
			return err
		}
		return cp.get(ctx, cp.server()+"/api/v1/namespaces/default/serviceaccounts/default")
	})
}

func servingArgs(port int) []string {
	return []string{
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(port),
		"--tls-cert-file=" + servingCertFile,
		"--tls-private-key-file=" + servingKeyFile,
		"--cert-dir=certs",
	}
}

// runServer starts a component and returns it when check passes; otherwise it
// is gone.
func (cp *ControlPlane) runServer(ctx context.Context, needs *process, binary string, args []string,
	check func(context.Context) error) (*process, error) {
	p, err := startProcess(cp.dir, binary, args)
	if err != nil {
		return nil, err
	}
	if err := p.waitReady(ctx, needs, check); err != nil {
		return nil, err
	}
	return p, nil
}

// get asks for url as the administrator and wants a 200.
func (cp *ControlPlane) get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+cp.token)
	resp, err := cp.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return nil
}
