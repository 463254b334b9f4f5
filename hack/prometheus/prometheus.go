// Package prometheus runs a real Prometheus on loopback, as Debian's package prometheus has it, and asks it.
package prometheus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"sigs.k8s.io/yaml"

	"claimdir/hack/child"
	"claimdir/hack/controlplane"
)

// Config says what to scrape, and how.
type Config struct {
	// Dir is an empty directory for its data.
	Dir string
	// Interval is the time between two scrapes, and between two evaluations of the rules.
	Interval time.Duration
	// Targets are the addresses to scrape, HOST:PORT, by their jobs.
	Targets map[string]string
	// Labels are those of all targets.
	Labels map[string]string
	// Rules is a rule file.
	Rules []byte
}

// Server is a running Prometheus. It ends with this process at the latest.
type Server struct {
	// URL is the address of its pages.
	URL string

	child *child.Child
	says  *os.File
}

// Start starts Prometheus, and returns when it answers. End it with Stop.
func Start(ctx context.Context, c Config) (*Server, error) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		return nil, fmt.Errorf("%w; Debian's package prometheus has it", err)
	}
	if err := c.write(); err != nil {
		return nil, fmt.Errorf("configure Prometheus: %w", err)
	}
	port, err := controlplane.FreePort()
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	says, err := os.Create(filepath.Join(c.Dir, "log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "--config.file="+filepath.Join(c.Dir, "config.yaml"), "--storage.tsdb.path="+filepath.Join(c.Dir, "data"), //nolint:noctx // it ends with the Server
		"--web.listen-address="+address, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = says, says
	s := &Server{URL: "http://" + address, says: says}
	if s.child, err = child.Start(cmd, syscall.SIGKILL); err != nil {
		return nil, errors.Join(fmt.Errorf("start Prometheus: %w", err), says.Close())
	}
	for {
		_, err := s.get(ctx, "/-/ready", nil)
		switch {
		case err == nil:
			return s, nil
		case ctx.Err() != nil || s.child.Ended():
			s.Stop()
			log, _ := os.ReadFile(says.Name())
			return nil, fmt.Errorf("wait for Prometheus: %w\n%s", err, log)
		}
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // nobody says when it answers
	}
}

func (c Config) write() error {
	var jobs []map[string]any
	for job, address := range c.Targets {
		jobs = append(jobs, map[string]any{"job_name": job, "static_configs": []map[string]any{{"targets": []string{address}, "labels": c.Labels}}})
	}
	interval := fmt.Sprintf("%dms", c.Interval.Milliseconds())
	config, err := yaml.Marshal(map[string]any{
		"global":         map[string]any{"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
		"rule_files":     []string{"rules.yaml"},
		"scrape_configs": jobs,
	})
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(c.Dir, "config.yaml"), config, 0o600),
		os.WriteFile(filepath.Join(c.Dir, "rules.yaml"), c.Rules, 0o600))
}

// Stop ends it.
func (s *Server) Stop() {
	s.child.Stop()
	_ = s.says.Close() // it was written by the child
}

// Series is the newest sample of a series.
type Series struct {
	Labels map[string]string `json:"metric"`
	// Value is when, and what, as text.
	Value [2]any `json:"value"`
}

// Query returns what an expression gives now.
func (s *Server) Query(ctx context.Context, expr string) (result []Series, err error) {
	var data struct {
		Result []Series `json:"result"`
	}
	if err := s.api(ctx, "/api/v1/query", url.Values{"query": {expr}}, &data); err != nil {
		return nil, fmt.Errorf("query %s: %w", expr, err)
	}
	return data.Result, nil
}

// Alert is an alert that is pending or fires.
type Alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	State       string            `json:"state"`
}

// Alerts returns the alerts of that name that are pending or fire.
func (s *Server) Alerts(ctx context.Context, name string) (found []Alert, err error) {
	var data struct {
		Alerts []Alert `json:"alerts"`
	}
	if err := s.api(ctx, "/api/v1/alerts", nil, &data); err != nil {
		return nil, err
	}
	for _, alert := range data.Alerts {
		if alert.Labels["alertname"] == name {
			found = append(found, alert)
		}
	}
	return found, nil
}

func (s *Server) api(ctx context.Context, path string, values url.Values, data any) error {
	text, err := s.get(ctx, path, values)
	if err != nil {
		return err
	}
	answer := struct {
		Data any `json:"data"`
	}{data}
	return json.Unmarshal(text, &answer)
}

func (s *Server) get(ctx context.Context, path string, values url.Values) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path+"?"+values.Encode(), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, bytes.TrimSpace(text))
	}
	return text, err
}
