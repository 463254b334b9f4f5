package main

import (
	"context"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"claimdir/hack/testbed"
)

// userEvery is the pause between a user's requests.
const userEvery = 50 * time.Millisecond

// startUser sends requests as somebody whom the API server treats like any ServiceAccount, and
// not, as it does administrators, before all others. stop returns how long each took.
func startUser(ctx context.Context, bed *testbed.Bed) (stop func() []time.Duration, err error) {
	const script = `$KUBECTL get clusterrolebinding bench-user >/dev/null 2>&1 ||
$KUBECTL create clusterrolebinding bench-user --clusterrole=view --serviceaccount=default:default >/dev/null
$KUBECTL create token default -n default --duration=24h`
	token, err := bed.Shell(ctx, script)
	if err != nil {
		return nil, err
	}
	file, err := bed.KubeconfigFor("user", strings.TrimSpace(token))
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	result := make(chan []time.Duration)
	go func() {
		var took []time.Duration
		for ctx.Err() == nil {
			began := time.Now()
			_, err := client.CoreV1().ConfigMaps("default").Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
			if err == nil {
				took = append(took, time.Since(began))
			}
			select {
			case <-time.After(userEvery):
			case <-ctx.Done():
			}
		}
		result <- took
	}()
	return func() []time.Duration {
		cancel()
		return <-result
	}, nil
}
