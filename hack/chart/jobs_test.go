package chart

import (
	"context"
	"os/exec"
	"strings"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// jobs stands for the kubelet of a world: it runs claimdir as the pods of Jobs would, as their ServiceAccount and with their
// arguments, and says how they ended.
type jobs struct {
	*world
	mu   sync.Mutex
	said string // what the last of them printed
}

// runJobs runs the world's Jobs until the test ends.
func (w *world) runJobs() *jobs {
	j := &jobs{world: w}
	ctx, cancel := context.WithCancel(w.T.Context())
	ended := make(chan struct{})
	w.T.Cleanup(func() {
		cancel()
		<-ended
	})
	go func() {
		defer close(ended)
		ran := map[types.UID]bool{}
		for tick := time.Tick(100 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick:
			}
			pods, err := w.bed.Admin.CoreV1().Pods(w.Name).List(ctx, metav1.ListOptions{LabelSelector: batchv1.JobNameLabel})
			if err != nil {
				continue // the test's end, or a moment without answer
			}
			for i := range pods.Items {
				if pod := &pods.Items[i]; !ran[pod.UID] && pod.DeletionTimestamp == nil {
					ran[pod.UID] = true
					j.run(ctx, pod)
				}
			}
		}
	}()
	return j
}

func (j *jobs) run(ctx context.Context, pod *v1.Pod) {
	container := pod.Spec.Containers[0]
	kubeconfig, err := j.kubeconfigOf(ctx, pod.Spec.ServiceAccountName)
	var out []byte
	if err == nil {
		var args []string
		for _, arg := range container.Args {
			args = append(args, strings.ReplaceAll(arg, "$$", "$")) // as the kubelet does; there are no $(NAMES)
		}
		cmd := exec.CommandContext(ctx, j.bed.Program(), args...)
		cmd.Env = []string{"KUBECONFIG=" + kubeconfig}
		out, err = cmd.CombinedOutput()
	}
	phase, code := v1.PodSucceeded, int32(0)
	if err != nil {
		phase, code = v1.PodFailed, 1
		j.T.Logf("%s: %v: %s", pod.Name, err, out)
	}
	j.mu.Lock()
	j.said = string(out)
	j.mu.Unlock()
	pod.Status.Phase = phase
	pod.Status.ContainerStatuses = []v1.ContainerStatus{{Name: container.Name, State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: code}}}}
	if _, err := j.bed.Admin.CoreV1().Pods(j.Name).UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil && ctx.Err() == nil {
		j.T.Errorf("say how %s ended: %v", pod.Name, err)
	}
}

// last is what the last of them printed.
func (j *jobs) last() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.said
}
