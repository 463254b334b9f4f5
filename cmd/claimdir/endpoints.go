package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/klog/v2"
)

// endpoints answers probes and scrapes. No handler accesses a share or calls the API
// server, because a share or server that hangs must not make the kubelet's probe hang.
type endpoints struct {
	checks atomic.Pointer[checks]
}

type checks struct{ healthy, caches, shares func() error }

// use sets the checks that the probes run. A check must return at once.
func (e *endpoints) use(healthy, caches, shares func() error) {
	e.checks.Store(&checks{healthy, caches, shares})
}

// listen serves on address until stop is called.
func (e *endpoints) listen(ctx context.Context, address string, registry *prometheus.Registry) (stop func(), err error) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", answer(e.healthy))
	mux.HandleFunc("GET /readyz", answer(e.ready))
	mux.HandleFunc("GET /sharez", answer(e.shares))
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on --http-address: %w", err)
	}
	klog.FromContext(ctx).Info("Serving /metrics, /healthz, /readyz and /sharez", "address", listener.Addr().String())
	return serveOn(ctx, listener, mux, "metrics and probes"), nil
}

// serveOn serves on a listener until stop is called. what says in the log what is served.
func serveOn(ctx context.Context, listener net.Listener, handler http.Handler, what string) (stop func()) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			klog.FromContext(ctx).Error(err, "Cannot serve any longer", "what", what)
		}
	}()
	return func() { _ = server.Close() }
}

func (e *endpoints) healthy() error {
	if c := e.checks.Load(); c != nil {
		return c.healthy()
	}
	return nil // starting
}

// ready is about this pod alone: a share in trouble must not block a rollout, which may
// bring the fix.
func (e *endpoints) ready() error {
	if c := e.checks.Load(); c != nil {
		return c.caches()
	}
	return errStarting
}

// shares returns an error for each share in trouble.
func (e *endpoints) shares() error {
	if c := e.checks.Load(); c != nil {
		return c.shares()
	}
	return errStarting
}

var errStarting = errors.New("starting")

func answer(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}

// newRegistry returns a registry with the metrics of the process. Other packages add theirs.
func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(buildInfo(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// buildInfo is the metric of the version.
func buildInfo() prometheus.Collector {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace:   "claimdir",
		Name:        "build_info",
		Help:        "Always 1; the labels give the version.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	})
	build.Set(1)
	return build
}
