package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// apiServer answers what archive purge asks the cluster "here".
type apiServer struct {
	kubeconfig string

	mu      sync.Mutex
	volumes map[string]v1.PersistentVolume
	claims  []v1.PersistentVolumeClaim // of namespace team
	listed  int                        // how often these were asked for
	silent  bool                       // it knows which cluster it is, and nothing else
	mute    bool                       // it says nothing of claims
	asked   int                        // for PersistentVolumes
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	a := &apiServer{kubeconfig: t.TempDir() + "/config", volumes: map[string]v1.PersistentVolume{}}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	config := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q}}]\ncontexts: [{name: c, context: {cluster: c}}]\ncurrent-context: c\n", server.URL)
	if err := os.WriteFile(a.kubeconfig, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// back brings the PersistentVolume of a path back.
func (a *apiServer) back(name, path string, phase v1.PersistentVolumePhase) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.volumes[name] = v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1.PersistentVolumeStatus{Phase: phase},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource:        v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: "nas", Path: "/export/" + path}},
		},
	}
}

// ServeHTTP answers one request.
func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var answer any
	status := http.StatusOK
	switch name, named := strings.CutPrefix(r.URL.Path, "/api/v1/persistentvolumes/"); {
	case r.URL.Path == "/api/v1/namespaces/kube-system":
		answer = v1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "here"}}
	case named && !a.silent:
		a.asked++
		pv, there := a.volumes[name]
		pv.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolume"}
		answer = pv
		if !there {
			answer, status = absent(name), http.StatusNotFound
		}
	case r.URL.Path == "/api/v1/namespaces/team/persistentvolumeclaims" && !a.mute:
		a.listed++
		answer = v1.PersistentVolumeClaimList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaimList"}, Items: a.claims}
	default:
		http.Error(w, "no answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

// absent is the API server's answer where there is no PersistentVolume of that name.
func absent(name string) metav1.Status {
	status := apierrors.NewNotFound(v1.Resource("persistentvolumes"), name).Status()
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	return status
}
