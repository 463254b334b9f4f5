package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	// fresh is how long a page is served again at least.
	fresh = 2 * time.Second
	// oneIn bounds what making pages costs, however often they are asked for: one part in so many of one
	// processor's time.
	oneIn = 50
)

// Handler answers GET and HEAD of / with a page of what data returns, and nothing else. It calls data at most
// once in 2 seconds, never twice at a time, and less often if that takes long. data must not wait for anything.
//
// onlyLocal is for a server on a loopback address. It refuses requests for any host but localhost and the
// loopback addresses: the page of a stranger that the administrator's browser shows could otherwise make a name
// of its own mean this address, and read the answer.
func Handler(data func() Data, onlyLocal bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", &made{data: data, now: time.Now})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		if onlyLocal && !isLocal(r.Host) {
			http.Error(w, "this page is served to localhost only: open it as http://localhost and its port", http.StatusMisdirectedRequest)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// made is a page that is made anew when it is old.
type made struct {
	data func() Data
	now  func() time.Time

	mu    sync.Mutex // also makes the others wait while a page is made
	body  []byte
	until time.Time // when body is old
}

func (m *made) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	body, err := m.page()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(body) // whoever asked may be gone
}

func (m *made) page() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	began := m.now()
	if m.body != nil && began.Before(m.until) {
		return m.body, nil
	}
	var out bytes.Buffer
	if err := write(&out, m.data()); err != nil {
		return nil, err
	}
	ended := m.now()
	m.body, m.until = out.Bytes(), ended.Add(max(fresh, oneIn*ended.Sub(began)))
	return m.body, nil
}

// secure sets what a browser may do with an answer: show it, with its own style and icon.
func secure(h http.Header) {
	sum := sha256.Sum256([]byte(style))
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+
		"'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// isLocal reports whether the Host of a request means the machine that asks.
func isLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if address, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return address.IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
