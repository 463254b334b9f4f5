package controlplane

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// One control plane serves all subtests; each has its own namespace or none.
func TestControlPlane(t *testing.T) {
	cp := start(t, Options{AuditPolicy: AuditMetadata})
	t.Run("it is the pinned version", func(t *testing.T) {
		var version struct {
			ServerVersion, ClientVersion struct{ GitVersion string }
		}
		if err := json.Unmarshal([]byte(kubectl(t, cp, "version", "-o", "json")), &version); err != nil {
			t.Fatal(err)
		}
		server, client := version.ServerVersion.GitVersion, version.ClientVersion.GitVersion
		if server != client || !strings.HasPrefix(server, "v1.37.") {
			t.Errorf("server %s, client %s", server, client)
		}
	})
	t.Run("RBAC refuses a service account until it is bound", func(t *testing.T) { testRBAC(t, cp) })
	t.Run("the audit log names the service account's request", func(t *testing.T) { testAudit(t, cp) })
	t.Run("a volume and a claim that name each other bind", func(t *testing.T) { testBinding(t, cp) })
	t.Run("the API server comes back where it was", func(t *testing.T) { testCut(t, cp) })
	t.Run("the controller manager comes back", func(t *testing.T) { testManager(t, cp) })
	t.Run("kubectl's errors carry what it said", func(t *testing.T) {
		_, err := cp.Kubectl(t.Context(), "get", "namespace", "nowhere")
		if err == nil || !strings.Contains(err.Error(), `namespaces "nowhere" not found`) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a kubeconfig stays in the directory", func(t *testing.T) {
		for _, name := range []string{"", "../x", "a/b"} {
			if path, err := cp.KubeconfigFor(name, "token"); err == nil {
				t.Errorf("%q wrote %s", name, path)
			}
		}
	})
}

func testRBAC(t *testing.T, cp *ControlPlane) {
	kubectl(t, cp, "create", "namespace", "tenant")
	kubectl(t, cp, "create", "serviceaccount", "reader", "-n", "tenant")
	path, err := cp.KubeconfigFor("reader", kubectl(t, cp, "create", "token", "reader", "-n", "tenant"))
	if err != nil {
		t.Fatal(err)
	}
	asReader := []string{"--kubeconfig", path, "get", "persistentvolumes"}
	_, err = cp.Kubectl(t.Context(), asReader...)
	if err == nil || !strings.Contains(err.Error(), `User "system:serviceaccount:tenant:reader" cannot list resource "persistentvolumes"`) {
		t.Errorf("unbound: %v", err)
	}
	kubectl(t, cp, "create", "clusterrole", "reader", "--verb=list", "--resource=persistentvolumes")
	kubectl(t, cp, "create", "clusterrolebinding", "reader", "--clusterrole=reader", "--serviceaccount=tenant:reader")
	eventually(t, "the bound account may list", func() bool {
		_, err = cp.Kubectl(t.Context(), asReader...)
		return err == nil
	})
}

// testAudit follows testRBAC.
func testAudit(t *testing.T, cp *ControlPlane) {
	type event struct {
		Stage, Verb    string
		User           struct{ Username string }
		ObjectRef      struct{ Resource string }
		ResponseStatus struct{ Code int }
	}
	var codes []int
	eventually(t, "a refused and a granted list are logged", func() bool {
		codes = nil
		log, err := os.ReadFile(cp.AuditLog())
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(log)) {
			var e event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				return false // its end is being written
			}
			if e.User.Username == "system:serviceaccount:tenant:reader" && e.Verb == "list" && e.ObjectRef.Resource == "persistentvolumes" {
				codes = append(codes, e.ResponseStatus.Code)
			}
		}
		return slices.Contains(codes, 403) && slices.Contains(codes, 200)
	})
}

const claim = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %[1]s, namespace: default}
spec: {accessModes: [ReadWriteMany], storageClassName: "", volumeName: %[1]s, resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: %[1]s}
spec:
  accessModes: [ReadWriteMany]
  capacity: {storage: 1Gi}
  claimRef: {namespace: default, name: %[1]s}
  nfs: {server: nfs.example, path: /export/%[1]s}
`

func apply(t *testing.T, cp *ControlPlane, name string) {
	t.Helper()
	if _, err := cp.KubectlInput(t.Context(), fmt.Sprintf(claim, name), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

func testBinding(t *testing.T, cp *ControlPlane) {
	begin := time.Now()
	apply(t, cp, "one")
	kubectl(t, cp, "wait", "pvc/one", "--for=jsonpath={.status.phase}=Bound", "--timeout=30s")
	t.Logf("bound in %s, kubectl included", time.Since(begin).Round(time.Millisecond))
}

func testCut(t *testing.T, cp *ControlPlane) {
	server := cp.Server()
	cp.StopAPIServer()
	if _, err := cp.Kubectl(t.Context(), "get", "namespaces"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("while the API is cut: %v", err)
	}
	begin := time.Now()
	if err := cp.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("back in %s", time.Since(begin).Round(time.Millisecond))
	if cp.Server() != server {
		t.Errorf("server moved from %s to %s", server, cp.Server())
	}
	if err := cp.StartAPIServer(t.Context()); err == nil {
		t.Error("a second API server started")
	}
	kubectl(t, cp, "get", "namespace", "tenant")
}

func testManager(t *testing.T, cp *ControlPlane) {
	cp.StopControllerManager()
	apply(t, cp, "two")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if out, err := cp.Kubectl(ctx, "wait", "pvc/two", "--for=jsonpath={.status.phase}=Bound"); err == nil {
		t.Errorf("bound without a controller manager: %s", out)
	}
	if err := cp.StartControllerManager(t.Context()); err != nil {
		t.Fatal(err)
	}
	kubectl(t, cp, "wait", "pvc/two", "--for=jsonpath={.status.phase}=Bound", "--timeout=30s")
}

func TestTwoControlPlanesDoNotShareAnything(t *testing.T) {
	var planes [2]*ControlPlane
	var started [2]chan error
	for i := range planes {
		started[i] = make(chan error, 1)
		go func() {
			var err error
			planes[i], err = Start(t.Context(), Options{})
			started[i] <- err
		}()
	}
	for i := range planes {
		if err := <-started[i]; err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = planes[i].Stop() })
	}
	a, b := planes[0], planes[1]
	kubectl(t, a, "create", "namespace", "only-in-a")
	if names := kubectl(t, b, "get", "namespaces", "-o", "name"); strings.Contains(names, "only-in-a") {
		t.Errorf("b has a's namespace: %s", names)
	}
	path, err := b.KubeconfigFor("stranger", a.AdminToken())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Kubectl(t.Context(), "--kubeconfig", path, "get", "namespaces"); err == nil {
		t.Error("b accepts a's token")
	}
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	kubectl(t, b, "create", "namespace", "after-a")
}
