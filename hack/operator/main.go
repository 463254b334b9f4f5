// Command operator reads objects in YAML from standard input, and fails if one of the Prometheus operator has a field that the
// operator's own types do not have, or a rule that they do not allow. It fails too if there is none.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = check(text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "operator:", err)
		os.Exit(1)
	}
}

// check decodes each object of the Prometheus operator.
func check(text []byte) error {
	found := 0
	for document := range bytes.SplitSeq(append([]byte("\n"), text...), []byte("\n---\n")) {
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
		}
		if err := yaml.Unmarshal(document, &head); err != nil {
			return fmt.Errorf("read an object: %w", err)
		}
		if !strings.HasPrefix(head.APIVersion, "monitoring.coreos.com/") {
			continue
		}
		object, known := map[string]any{
			"PodMonitor":     &monitoring.PodMonitor{},
			"ServiceMonitor": &monitoring.ServiceMonitor{},
			"PrometheusRule": &monitoring.PrometheusRule{},
		}[head.Kind]
		if !known {
			return fmt.Errorf("a %s is not looked at", head.Kind)
		}
		if err := yaml.UnmarshalStrict(document, object); err != nil {
			return fmt.Errorf("%s: %w", head.Kind, err)
		}
		found++
	}
	if found == 0 {
		return errors.New("there is no object of the Prometheus operator")
	}
	fmt.Printf("%d objects of the Prometheus operator\n", found)
	return nil
}
