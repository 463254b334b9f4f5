package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/hack/testbed"
)

// proxy is between one replica and the API server, and spoils answers on demand.
type proxy struct {
	kubeconfig string
	server     *http.Server
	upstream   http.Handler

	mu    sync.Mutex
	rules []*rule
}

// rule spoils the requests that it matches.
type rule struct {
	// matches says which, and spoil what becomes of them. The handler passes the request on.
	matches func(*http.Request) bool
	spoil   func(http.ResponseWriter, *http.Request, http.Handler)
}

// newProxy serves on loopback, in the name of the ServiceAccount, and writes a kubeconfig for that.
func newProxy(ctx context.Context, bed *testbed.Bed, kubeconfig string) (*proxy, error) {
	target, err := url.Parse(bed.Server())
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(bed.CAFile())
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	token, err := bed.Kubectl(ctx, "create", "token", "claimdir", "-n", "claimdir", "--duration=24h")
	if err != nil {
		return nil, err
	}
	reverse := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token)) // client-go sends none without TLS
	}}
	reverse.FlushInterval = -1                    // watches
	reverse.ErrorLog = log.New(io.Discard, "", 0) // it tells of each watch that a kill ends
	reverse.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 64}
	reverse.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) } // as if there were no proxy
	p := &proxy{kubeconfig: kubeconfig, upstream: reverse}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.server = &http.Server{Handler: p, ErrorLog: reverse.ErrorLog, ReadHeaderTimeout: time.Minute}
	go func() { _ = p.server.Serve(listener) }() // it ends with close
	return p, writeKubeconfig(kubeconfig, "http://"+listener.Addr().String())
}

func writeKubeconfig(file, server string) error {
	type object = map[string]any
	data, err := json.Marshal(object{
		"apiVersion": "v1", "kind": "Config", "current-context": "chaos",
		"clusters": []object{{"name": "chaos", "cluster": object{"server": server}}},
		"contexts": []object{{"name": "chaos", "context": object{"cluster": "chaos"}}},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

func (p *proxy) close() { _ = p.server.Close() } // nobody waits for an answer any more

// ServeHTTP implements http.Handler.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if rule := p.find(r); rule != nil {
		rule.spoil(w, r, p.upstream)
		return
	}
	p.upstream.ServeHTTP(w, r)
}

func (p *proxy) find(r *http.Request) *rule {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, rule := range p.rules {
		if rule.matches(r) {
			return rule
		}
	}
	return nil
}

// add has a rule hold until undo.
func (p *proxy) add(r *rule) (undo func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, r)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for i, other := range p.rules {
			if other == r {
				p.rules = append(p.rules[:i:i], p.rules[i+1:]...)
				return
			}
		}
	}
}

// some makes a matcher of some of the requests, as many as percent says: writes, or also reads.
func some(pick, percent int, reads bool) func(*http.Request) bool {
	var mu sync.Mutex
	chosen := rand.New(rand.NewPCG(uint64(pick), 7))
	return func(r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		return (r.Method != http.MethodGet || reads && !r.URL.Query().Has("watch")) && chance(chosen, percent)
	}
}

// commit has the request carried out, whatever its answer becomes.
func commit(r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithoutCancel(r.Context())))
}

// status answers as the API server does.
func status(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	w.Header().Set("Content-Type", "application/json")
	if code == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(metav1.Status{ // a client that is gone reads no answer
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Message: fmt.Sprintf("chaos: %s", reason), Reason: reason, Code: int32(code),
	})
}

// spoiler is what a kind of fault, which is over when the channel is closed, does with a request.
func spoiler(kind string, over <-chan struct{}) func(http.ResponseWriter, *http.Request, http.Handler) {
	switch kind {
	case after500:
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			commit(r, next)
			status(w, http.StatusInternalServerError, metav1.StatusReasonInternalError)
		}
	case conflict:
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodPost { // something of this name is there: that is true only once it is
				commit(r, next)
				status(w, http.StatusConflict, metav1.StatusReasonAlreadyExists)
				return
			}
			status(w, http.StatusConflict, metav1.StatusReasonConflict)
		}
	case tooMany:
		return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			status(w, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)
		}
	case timeOut:
		return func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
			commit(r, next)
			select { // the answer does not come
			case <-r.Context().Done():
			case <-over:
			}
			panic(http.ErrAbortHandler)
		}
	}
	return func(_ http.ResponseWriter, r *http.Request, next http.Handler) { // cut
		commit(r, next)
		panic(http.ErrAbortHandler)
	}
}
