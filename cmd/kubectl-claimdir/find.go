package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// defaultSelector is what the pods have by the manifests and by the chart.
const defaultSelector = "app.kubernetes.io/name=claimdir"

// cluster is the API server, asked with the user's rights.
type cluster struct {
	rest   *rest.Config
	core   coreclient.CoreV1Interface
	leases coordinationclient.LeasesGetter

	selector  string
	namespace string // of claimdir; empty is any
	own       string // the namespace of the kubeconfig's context, for a user who may not look into all; empty if that is no way out
}

// connect reads the kubeconfig and the flags; it does not call the API server.
func (a *app) connect() (*cluster, error) {
	config, err := a.config.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	c := &cluster{rest: config, selector: a.selector, namespace: *a.config.Namespace}
	if c.core, err = coreclient.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	if c.leases, err = coordinationclient.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	if !a.allNamespaces {
		if c.own, _, err = a.config.ToRawKubeConfigLoader().Namespace(); err != nil {
			return nil, fmt.Errorf("read kubeconfig: %w", err)
		}
	}
	return c, nil
}

// installation is one claimdir: the pods in one namespace that have the same provisioner name.
type installation struct {
	namespace   string
	provisioner string       // PROVISIONER_NAME; empty if the pod's manifest does not say it
	pods        []corev1.Pod // at least one
}

func (i installation) String() string {
	if i.provisioner == "" {
		return "namespace " + i.namespace
	}
	return fmt.Sprintf("namespace %s (provisioner %s)", i.namespace, i.provisioner)
}

// names lists installations for people.
func names(found []installation) string {
	var texts []string
	for _, f := range found {
		texts = append(texts, f.String())
	}
	return strings.Join(texts, ", ")
}

// installations returns all that there are, at least one.
func (c *cluster) installations(ctx context.Context) ([]installation, error) {
	where := "namespace " + c.namespace
	if c.namespace == "" {
		where = "any namespace"
	}
	list := func(namespace string) (*corev1.PodList, error) {
		return c.core.Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: c.selector})
	}
	pods, err := list(c.namespace)
	if apierrors.IsForbidden(err) && c.namespace == "" && c.own != "" {
		where = fmt.Sprintf("namespace %s; you may not look into all namespaces, so give claimdir's with --namespace", c.own)
		pods, err = list(c.own)
	}
	if err != nil {
		return nil, fmt.Errorf("find claimdir's pod: %w", err)
	}
	var found []installation
	for _, pod := range pods.Items {
		name := variable(container(&pod), "PROVISIONER_NAME")
		i := slices.IndexFunc(found, func(f installation) bool { return f.namespace == pod.Namespace && f.provisioner == name })
		if i < 0 {
			i, found = len(found), append(found, installation{namespace: pod.Namespace, provisioner: name})
		}
		found[i].pods = append(found[i].pods, pod)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there is no pod of claimdir, with the labels %s, in %s: --namespace is the namespace of claimdir itself, --selector its labels", c.selector, where)
	}
	return found, nil
}

// place is where a program can run.
type place struct{ namespace, pod, container string }

func (p place) String() string { return p.namespace + "/" + p.pod }

// find returns the pod to run a program in: the one that leads, and else one that is ready.
func (c *cluster) find(ctx context.Context) (place, error) {
	found, err := c.installations(ctx)
	if err != nil {
		return place{}, err
	}
	if len(found) > 1 {
		return place{}, fmt.Errorf("there are several claimdirs: %s; choose one with --namespace or --selector", names(found))
	}
	leader, _ := c.leader(ctx, found[0]) // without the right to read leases any pod will do
	best, rank := -1, 0
	for i := range found[0].pods {
		if r := rankOf(&found[0].pods[i], leader); r > rank {
			best, rank = i, r
		}
	}
	if best < 0 {
		return place{}, fmt.Errorf("no pod of claimdir in %s runs: %s", found[0], states(found[0].pods))
	}
	pod := &found[0].pods[best]
	return place{pod.Namespace, pod.Name, container(pod).Name}, nil
}

// rankOf returns 0 for a pod in which nothing can run, and more the better it is.
func rankOf(pod *corev1.Pod, leader string) int {
	switch {
	case pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil || waiting(pod) != "":
		return 0
	case pod.Name == leader:
		return 3
	case ready(pod):
		return 2
	}
	return 1
}

// leader returns the name of the pod that holds a lease, or an empty string if none does.
func (c *cluster) leader(ctx context.Context, of installation) (string, error) {
	leases, err := c.leases.Leases(of.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("find the leader: %w", err)
	}
	for _, lease := range leases.Items {
		if !strings.HasPrefix(lease.Name, "claimdir-") || lease.Spec.HolderIdentity == nil {
			continue
		}
		holder, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_") // POD_UUID
		if slices.ContainsFunc(of.pods, func(pod corev1.Pod) bool { return pod.Name == holder }) {
			return holder, nil
		}
	}
	return "", nil
}

// container returns that of claimdir: the one of this name, the one that kubectl exec takes, or the first.
func container(pod *corev1.Pod) *corev1.Container {
	containers := pod.Spec.Containers
	for _, name := range []string{"claimdir", pod.Annotations["kubectl.kubernetes.io/default-container"]} {
		if i := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == name }); i >= 0 {
			return &containers[i]
		}
	}
	if len(containers) == 0 {
		return &corev1.Container{}
	}
	return &containers[0]
}

// variable returns an environment variable of the container; empty if it has none, or takes it from elsewhere.
func variable(c *corev1.Container, name string) string {
	for _, v := range c.Env {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}

func ready(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// waiting returns why the container does not run, or an empty string.
func waiting(pod *corev1.Pod) string {
	name := container(pod).Name
	for _, s := range pod.Status.ContainerStatuses {
		switch {
		case s.Name != name:
		case s.State.Waiting != nil:
			return s.State.Waiting.Reason
		case s.State.Terminated != nil:
			return s.State.Terminated.Reason
		}
	}
	return ""
}

// state is what kubectl get pods shows.
func state(pod *corev1.Pod) string {
	if pod.DeletionTimestamp != nil {
		return "Terminating"
	}
	if reason := waiting(pod); reason != "" {
		return reason
	}
	return string(pod.Status.Phase)
}

func states(pods []corev1.Pod) string {
	var texts []string
	for i := range pods {
		texts = append(texts, fmt.Sprintf("%s is %s", pods[i].Name, state(&pods[i])))
	}
	return strings.Join(texts, ", ")
}
