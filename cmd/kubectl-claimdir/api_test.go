package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes/scheme"
)

func TestMain(m *testing.M) {
	quiet() // the server's side of a stream reports each end of a connection as an error
	os.Exit(m.Run())
}

// api is an API server with what the plugin asks for.
type api struct {
	t          *testing.T
	server     *httptest.Server
	kubeconfig string

	pods        []corev1.Pod
	leases      []coordinationv1.Lease
	volumes     []corev1.PersistentVolume
	answers     map[string]string                         // of pods, by POD/PATH of their port
	program     func(c *call) (code int)                  // /claimdir in the pod
	onClaim     func(claim *corev1.PersistentVolumeClaim) // after it was created, and before each read
	refuse      []string                                  // paths that the user may not read
	noWebsocket bool

	mu     sync.Mutex
	claims map[string]*corev1.PersistentVolumeClaim
	calls  []*call
	users  []string // who asked
}

// call is one run of a program in a pod.
type call struct {
	pod, container string
	args           []string
	stdin          io.Reader // nil is none
	stdout, stderr io.Writer
	tty            bool
	sizes          io.Reader
}

func newAPI(t *testing.T) *api {
	a := &api{t: t, claims: map[string]*corev1.PersistentVolumeClaim{}, answers: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/pods", a.listPods)
	mux.HandleFunc("GET /api/v1/namespaces", func(w http.ResponseWriter, _ *http.Request) {
		write(w, &corev1.NamespaceList{Items: []corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "claimdir"}}, {ObjectMeta: metav1.ObjectMeta{Name: "team"}}}})
	})
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods", a.listPods)
	mux.HandleFunc("GET /api/v1/persistentvolumes", func(w http.ResponseWriter, _ *http.Request) { write(w, &corev1.PersistentVolumeList{Items: a.volumes}) })
	mux.HandleFunc("GET /apis/coordination.k8s.io/v1/namespaces/{namespace}/leases", func(w http.ResponseWriter, _ *http.Request) {
		write(w, &coordinationv1.LeaseList{Items: a.leases})
	})
	mux.HandleFunc("POST /api/v1/namespaces/{namespace}/persistentvolumeclaims", a.createClaim)
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}", a.getClaim)
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods/{pod}/proxy/{path}", func(w http.ResponseWriter, r *http.Request) {
		answer := a.answers[r.PathValue("pod")+"/"+r.PathValue("path")]
		if body, is := strings.CutPrefix(answer, "503 "); is || answer == "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			answer = body
		}
		_, _ = io.WriteString(w, answer)
	})
	mux.HandleFunc("/api/v1/namespaces/{namespace}/pods/{pod}/exec", a.exec)
	a.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.users = append(a.users, r.Header.Get("Impersonate-User"))
		a.mu.Unlock()
		if slices.Contains(a.refuse, r.URL.Path) {
			refuse(w, http.StatusForbidden, metav1.StatusReasonForbidden, "you may not do that")
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(a.server.Close)
	a.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	config := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"here",
"clusters":[{"name":"c","cluster":{"server":%q}}],"users":[{"name":"u","user":{"token":"t"}}],
"contexts":[{"name":"here","context":{"cluster":"c","user":"u","namespace":"mine"}},{"name":"there","context":{"cluster":"c","user":"u"}}]}`, a.server.URL)
	if err := os.WriteFile(a.kubeconfig, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func write(w http.ResponseWriter, object any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object)
}

func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(&metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: text,
	})
}

func (a *api) listPods(w http.ResponseWriter, r *http.Request) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		refuse(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
		return
	}
	var list corev1.PodList
	for _, pod := range a.pods {
		if namespace := r.PathValue("namespace"); (namespace == "" || namespace == pod.Namespace) && selector.Matches(labels.Set(pod.Labels)) {
			list.Items = append(list.Items, pod)
		}
	}
	write(w, &list)
}

func (a *api) createClaim(w http.ResponseWriter, r *http.Request) {
	var claim corev1.PersistentVolumeClaim
	body, err := io.ReadAll(r.Body)
	if err == nil {
		_, _, err = scheme.Codecs.UniversalDeserializer().Decode(body, nil, &claim)
	}
	if err != nil {
		a.t.Error(err)
	}
	claim.UID, claim.Status.Phase = "u-1", corev1.ClaimPending
	key := claim.Namespace + "/" + claim.Name
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.claims[key] != nil {
		refuse(w, http.StatusConflict, metav1.StatusReasonAlreadyExists, "it exists")
		return
	}
	if r.URL.Query().Get("dryRun") == "" {
		a.claims[key] = &claim
	}
	write(w, &claim)
}

func (a *api) getClaim(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	claim := a.claims[r.PathValue("namespace")+"/"+r.PathValue("name")]
	if claim != nil && a.onClaim != nil {
		a.onClaim(claim)
	}
	if claim == nil || claim.UID == "" {
		refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound, "there is none")
		return
	}
	write(w, claim)
}

// pod adds a pod of claimdir that runs.
func (a *api) pod(namespace, name string, change ...func(*corev1.Pod)) {
	pod := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, Labels: map[string]string{"app.kubernetes.io/name": "claimdir"},
			CreationTimestamp: metav1.NewTime(time.Now().Add(-90 * time.Minute)),
		},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "other"}, {
				Name:         "claimdir",
				Env:          []corev1.EnvVar{{Name: "PROVISIONER_NAME", Value: "claimdir/nfs"}, {Name: "ADDITIONAL_PROVISIONER_NAMES", Value: "old/nfs,older/nfs"}},
				Ports:        []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
				VolumeMounts: []corev1.VolumeMount{{Name: "share", MountPath: "/persistentvolumes"}},
			}},
			Volumes: []corev1.Volume{{Name: "share", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "claimdir-share"}}}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
	for _, c := range change {
		c(&pod)
	}
	a.pods = append(a.pods, pod)
}

// leads gives the lease to a pod.
func (a *api) leads(namespace, pod string) {
	holder := pod + "_5f8e"
	a.leases = append(a.leases,
		coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "other"}, Spec: coordinationv1.LeaseSpec{HolderIdentity: new("other_1")}},
		coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "claimdir-claimdir-nfs-0a1b2c3d"}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder}})
}

// result is what a run of the plugin leaves.
type result struct {
	code        int
	out, stderr string
}

// kubectl runs the plugin.
func (a *api) kubectl(args ...string) result {
	a.t.Helper()
	return a.kubectlWith(&app{}, args...)
}

func (a *api) kubectlWith(p *app, args ...string) result {
	a.t.Helper()
	var out, stderr bytes.Buffer
	if p.In == nil {
		p.In = strings.NewReader("not for anybody\n")
	}
	p.IOStreams = genericiooptions.IOStreams{In: p.In, Out: &out, ErrOut: &stderr}
	cache := a.t.TempDir()
	code := p.execute(a.t.Context(), append([]string{"--kubeconfig=" + a.kubeconfig, "--cache-dir=" + cache}, args...))
	return result{code, out.String(), stderr.String()}
}

// want compares the exit code, and looks for texts in what was printed.
func (r result) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.stderr, text) {
			t.Errorf("%q is missing", text)
		}
	}
	if t.Failed() {
		t.Logf("it printed:\n%s\nand on standard error:\n%s", r.out, r.stderr)
	}
}
