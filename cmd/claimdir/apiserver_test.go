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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// apiServer answers what archive purge asks the cluster "here".
type apiServer struct {
	kubeconfig string

	mu      sync.Mutex
	volumes map[string]v1.PersistentVolume
	silent  bool // it knows which cluster it is, and nothing else
	asked   int  // for PersistentVolumes
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
	switch name, named := strings.CutPrefix(r.URL.Query().Get("fieldSelector"), "metadata.name="); {
	case r.URL.Path == "/api/v1/namespaces/kube-system":
		answer = v1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "here"}}
	case r.URL.Path == "/api/v1/persistentvolumes" && named && !a.silent:
		a.asked++
		list := v1.PersistentVolumeList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeList"}}
		if pv, there := a.volumes[name]; there {
			list.Items = append(list.Items, pv)
		}
		answer = list
	default:
		http.Error(w, "no answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}
