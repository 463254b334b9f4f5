package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// As kubectl does, KUBECONFIG may name several files, of which some may be missing.
func TestKubeconfig(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"one": "contexts: [{name: c, context: {cluster: k}}]\ncurrent-context: c\n",
		"two": "clusters: [{name: k, cluster: {server: \"https://api.example.com\"}}]\n",
	} {
		if err := os.WriteFile(dir+"/"+name, []byte("apiVersion: v1\nkind: Config\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config, err := restConfig(fmt.Sprintf("%s/one:%s/none:%s/two", dir, dir, dir))
	if err != nil || config.Host != "https://api.example.com" {
		t.Errorf("%v, %v", config, err)
	}
	if _, err := restConfig(dir + "/none"); err == nil || !strings.Contains(err.Error(), "no such file or directory; set KUBECONFIG, or run it in the pod") {
		t.Error(err)
	}
}
