package snapshot

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

type object = map[string]any

// api is an API server for the three resources of the snapshot API alone: list, watch, create and merge patches.
type api struct {
	*httptest.Server

	mu       sync.Mutex
	served   bool
	version  int
	uids     int
	objects  map[string]map[string]object // by resource and namespace/name
	watchers map[chan object]string       // by resource
	// fault is asked before each write. refuse answers it with that status; lose makes it, and answers with an error.
	fault func(write string) (refuse int, lose bool)
}

func newAPI(t *testing.T) *api {
	t.Helper()
	a := &api{served: true, objects: map[string]map[string]object{}, watchers: map[chan object]string{}}
	a.Server = httptest.NewServer(a)
	t.Cleanup(func() {
		a.CloseClientConnections()
		a.Close()
	})
	return a
}

const apiPrefix = "/apis/snapshot.storage.k8s.io/v1/"

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, apiPrefix)
	a.mu.Lock()
	served := a.served
	a.mu.Unlock()
	if !ok || !served {
		status(w, http.StatusNotFound, "NotFound")
		return
	}
	parts, namespace := strings.Split(path, "/"), ""
	if parts[0] == "namespaces" {
		namespace, parts = parts[1], parts[2:]
	}
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodGet && query.Get("sendInitialEvents") != "": // as an older API server
		status(w, http.StatusUnprocessableEntity, "Invalid")
	case r.Method == http.MethodGet && query.Get("watch") != "":
		a.watch(w, r, parts[0])
	case r.Method == http.MethodGet:
		a.list(w, parts[0], namespace, strings.TrimPrefix(query.Get("fieldSelector"), "metadata.name="))
	default:
		a.change(w, r, parts, namespace)
	}
}

func status(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": reason, "details": object{}})
}

func kindOf(resource string) string {
	return map[string]string{"volumesnapshots": "VolumeSnapshot", "volumesnapshotclasses": "VolumeSnapshotClass", "volumesnapshotcontents": "VolumeSnapshotContent"}[resource]
}

func (a *api) list(w http.ResponseWriter, resource, namespace, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	items := []object{}
	for _, key := range slices.Sorted(maps.Keys(a.objects[resource])) {
		o := a.objects[resource][key]
		if (name == "" || meta(o)["name"] == name) && (namespace == "" || meta(o)["namespace"] == namespace) {
			items = append(items, o)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object{"kind": kindOf(resource) + "List", "apiVersion": "snapshot.storage.k8s.io/v1", "metadata": object{"resourceVersion": strconv.Itoa(a.version)}, "items": items})
}

func (a *api) watch(w http.ResponseWriter, r *http.Request, resource string) {
	events := make(chan object, 1000)
	since, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	a.mu.Lock()
	for _, o := range a.objects[resource] {
		if version, _ := strconv.Atoi(fmt.Sprint(meta(o)["resourceVersion"])); version > since {
			events <- object{"type": "MODIFIED", "object": o}
		}
	}
	a.watchers[events] = resource
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.watchers, events)
	}()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush() //nolint:forcetypeassert // httptest's is one
	for {
		select {
		case <-r.Context().Done():
			return
		case event, open := <-events:
			if !open {
				return
			}
			_ = json.NewEncoder(w).Encode(event)
			w.(http.Flusher).Flush() //nolint:forcetypeassert // httptest's is one
		}
	}
}

// change creates or patches an object.
func (a *api) change(w http.ResponseWriter, r *http.Request, parts []string, namespace string) {
	body, _ := io.ReadAll(r.Body)
	var data object
	_ = json.Unmarshal(body, &data)
	a.mu.Lock()
	defer a.mu.Unlock()
	what, lose := "create "+parts[0], false
	if r.Method == http.MethodPatch {
		what = "patch " + strings.Join(append([]string{parts[0]}, parts[2:]...), "/")
	}
	if a.fault != nil {
		refuse := 0
		if refuse, lose = a.fault(what); refuse != 0 {
			status(w, refuse, "InternalError")
			return
		}
	}
	var changed object
	if r.Method == http.MethodPost {
		name := fmt.Sprint(meta(data)["name"])
		if a.objects[parts[0]][namespace+"/"+name] != nil {
			status(w, http.StatusConflict, "AlreadyExists")
			return
		}
		changed = a.put(parts[0], namespace, data)
	} else {
		old := a.objects[parts[0]][namespace+"/"+parts[1]]
		switch {
		case old == nil:
			status(w, http.StatusNotFound, "NotFound")
			return
		case meta(data)["uid"] != meta(old)["uid"]:
			status(w, http.StatusUnprocessableEntity, "Invalid")
			return
		case meta(data)["resourceVersion"] != nil && meta(data)["resourceVersion"] != meta(old)["resourceVersion"]:
			status(w, http.StatusConflict, "Conflict")
			return
		}
		delete(meta(data), "resourceVersion")
		changed = a.put(parts[0], namespace, merge(old, data))
	}
	if lose {
		status(w, http.StatusGatewayTimeout, "Timeout")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(changed)
}

// put stores an object. It must be called with mu held.
func (a *api) put(resource, namespace string, o object) object {
	a.version++
	m := meta(o)
	m["resourceVersion"] = strconv.Itoa(a.version)
	if m["uid"] == nil {
		a.uids++
		m["uid"] = fmt.Sprintf("uid-%s-%d", resource, a.uids)
	}
	if namespace != "" {
		m["namespace"] = namespace
	}
	if m["creationTimestamp"] == nil {
		m["creationTimestamp"] = "2026-01-02T03:04:05Z"
	}
	o["kind"], o["apiVersion"] = kindOf(resource), "snapshot.storage.k8s.io/v1"
	if a.objects[resource] == nil {
		a.objects[resource] = map[string]object{}
	}
	key, kind := namespace+"/"+fmt.Sprint(m["name"]), "MODIFIED"
	if left, _ := m["finalizers"].([]any); m["deletionTimestamp"] != nil && len(left) == 0 {
		delete(a.objects[resource], key)
		kind = "DELETED"
	} else {
		a.objects[resource][key] = o
	}
	for events, of := range a.watchers {
		if of == resource {
			events <- object{"type": kind, "object": copied(o)}
		}
	}
	return o
}

// set stores an object as somebody else does, and returns its UID.
func (a *api) set(resource, namespace string, o object) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprint(meta(a.put(resource, namespace, copied(o)))["uid"])
}

// get returns an object, or nil.
func (a *api) get(resource, namespace, name string) object {
	a.mu.Lock()
	defer a.mu.Unlock()
	if o := a.objects[resource][namespace+"/"+name]; o != nil {
		return copied(o)
	}
	return nil
}

// edit changes an object as somebody else does.
func (a *api) edit(resource, namespace, name string, patch object) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old := a.objects[resource][namespace+"/"+name]; old != nil {
		a.put(resource, namespace, merge(old, patch))
	}
}

// remove removes an object by force.
func (a *api) remove(resource, namespace, name string) {
	a.edit(resource, namespace, name, object{"metadata": object{"deletionTimestamp": "2026-01-02T03:04:05Z", "finalizers": nil}})
}

// serve makes the API come and go.
func (a *api) serve(served bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.served = served
	if !served {
		for events := range a.watchers {
			close(events)
			delete(a.watchers, events)
		}
	}
}

func meta(o object) object {
	m, _ := o["metadata"].(object)
	if m == nil {
		m = object{}
		o["metadata"] = m
	}
	return m
}

// merge is a merge patch.
func merge(old, patch object) object {
	merged := copied(old)
	for key, value := range patch {
		below, isObject := value.(object)
		switch {
		case value == nil:
			delete(merged, key)
		case isObject:
			was, _ := merged[key].(object)
			merged[key] = merge(was, below)
		default:
			merged[key] = value
		}
	}
	return merged
}

func copied(o object) object {
	c := object{}
	if o != nil {
		data, _ := json.Marshal(o)
		_ = json.Unmarshal(data, &c)
	}
	return c
}
