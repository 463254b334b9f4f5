// Package alerts holds what is known of the alerts besides their rules: how a PrometheusRule and the chart get them, and
// which cases they must tell apart. The rules themselves are in manifests/components/monitoring/rules.yaml.
package alerts

import (
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"

	"claimdir/hack/project"
)

// Rules is a rule file of Prometheus, as far as ours goes.
type Rules struct {
	Groups []Group `json:"groups"`
}

// Group is rules that are evaluated together.
type Group struct {
	Name  string `json:"name"`
	Rules []Rule `json:"rules"`
}

// Rule is one alert.
type Rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// Source is where the rules are, from the root of the repository.
const Source = "manifests/components/monitoring/rules.yaml"

// copies are the files that are written from the source, from the root of the repository, each with how.
var copies = map[string]func(source []byte) ([]byte, error){ //nolint:gochecknoglobals // constant
	"manifests/components/monitoring/prometheusrule.yaml": prometheusRule,
	"manifests/chart/claimdir/files/rules.yaml":           func(source []byte) ([]byte, error) { return source, nil },
}

const written = "# Written from rules.yaml by make update.\n"

// prometheusRule puts the rules into an object of the Prometheus operator.
func prometheusRule(source []byte) ([]byte, error) {
	var spec map[string]any
	if err := yaml.UnmarshalStrict(source, &spec); err != nil {
		return nil, err
	}
	object, err := yaml.Marshal(map[string]any{
		"apiVersion": "monitoring.coreos.com/v1",
		"kind":       "PrometheusRule",
		"metadata":   map[string]any{"name": "claimdir", "namespace": "claimdir", "labels": map[string]any{"app.kubernetes.io/name": "claimdir"}},
		"spec":       spec,
	})
	return append([]byte(written), object...), err
}

// Read returns the rules. A field that Rule does not know is an error.
func Read(root string) (rules Rules, err error) {
	source, err := os.ReadFile(filepath.Join(root, Source))
	if err == nil {
		err = yaml.UnmarshalStrict(source, &rules)
	}
	if err != nil {
		return Rules{}, fmt.Errorf("read the rules: %w", err)
	}
	return rules, nil
}

// Stale returns the copies that are not as they would be written, and writes them if write is true.
func Stale(root string, write bool) (stale []string, err error) {
	source, err := os.ReadFile(filepath.Join(root, Source))
	if err != nil {
		return nil, err
	}
	for name, make := range copies {
		content, err := make(source)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
		is, err := project.Written(root, name, content, write)
		if err != nil {
			return nil, err
		}
		if is {
			stale = append(stale, name)
		}
	}
	return stale, nil
}
