//go:build vm

package cluster

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The one image that the tests' pods run has two names: busybox, and the one that the CronJob of docs/snapshots.md takes, with kubectl.
const (
	shellImage   = "registry.example.com/shell:v1"
	kubectlImage = "registry.example.com/kubectl:v1.37.2"
)

func newPod(name, claim, script string) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: podSpec(claim, script)}
}

// podSpec keeps to the restricted Pod Security profile but for the uid, which
// is root's unless asUser says otherwise.
func podSpec(claim, script string) v1.PodSpec {
	return v1.PodSpec{
		RestartPolicy:                 v1.RestartPolicyNever,
		TerminationGracePeriodSeconds: new(int64(1)),
		AutomountServiceAccountToken:  new(false),
		SecurityContext:               &v1.PodSecurityContext{SeccompProfile: &v1.SeccompProfile{Type: v1.SeccompProfileTypeRuntimeDefault}},
		Containers: []v1.Container{{
			Name: "main", Image: shellImage, ImagePullPolicy: v1.PullNever,
			Command: []string{"/bin/busybox", "sh", "-euc", script},
			SecurityContext: &v1.SecurityContext{
				AllowPrivilegeEscalation: new(false),
				Capabilities:             &v1.Capabilities{Drop: []v1.Capability{"ALL"}},
			},
			VolumeMounts: []v1.VolumeMount{{Name: "data", MountPath: "/data"}},
		}},
		Volumes: []v1.Volume{{Name: "data", VolumeSource: v1.VolumeSource{
			PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
		}}},
	}
}

func asUser(uid int64, groups ...int64) func(*v1.Pod) {
	return func(p *v1.Pod) {
		s := p.Spec.SecurityContext
		s.RunAsUser, s.RunAsGroup, s.RunAsNonRoot, s.SupplementalGroups = &uid, &uid, new(uid != 0), groups
	}
}

func readOnly(p *v1.Pod) { p.Spec.Volumes[0].PersistentVolumeClaim.ReadOnly = true }

func mounted(change func(*v1.VolumeMount)) func(*v1.Pod) {
	return func(p *v1.Pod) { change(&p.Spec.Containers[0].VolumeMounts[0]) }
}

const (
	// sleep is a script that goes on until the pod is deleted.
	sleep = "sleep 100000"
	// count writes a number a line, a line each 200 ms.
	count = "i=0; while true; do i=$((i+1)); echo $i >>/data/count; sleep 0.2; done"
)
