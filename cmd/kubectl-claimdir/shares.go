package main

import (
	"cmp"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// mount is where a pod of claimdir has a share mounted, and the claim by which it got it.
type mount struct{ name, namespace, claim string }

// share is one that claimdir serves.
type share struct{ name, server, path string }

// namesOf returns the provisioner names that the pods serve.
func namesOf(found []installation) (names []string) {
	for _, f := range found {
		for i := range f.pods {
			c := container(&f.pods[i])
			names = append(names, variable(c, "PROVISIONER_NAME"))
			names = append(names, strings.Split(variable(c, "ADDITIONAL_PROVISIONER_NAMES"), ",")...)
		}
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
}

// mountsOf returns what the pods have mounted in the directory of the shares. One share is mounted there; several
// are in directories below it, by their names.
func mountsOf(found []installation) (mounts []mount) {
	for _, f := range found {
		for i := range f.pods {
			pod := &f.pods[i]
			c := container(pod)
			directory := cmp.Or(variable(c, "MOUNT_PATH"), "/persistentvolumes")
			for _, m := range c.VolumeMounts {
				at := path.Clean(m.MountPath)
				if at != directory && path.Dir(at) != directory {
					continue
				}
				v := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name && v.PersistentVolumeClaim != nil })
				if v < 0 {
					continue
				}
				name := ""
				if at != directory {
					name = path.Base(at)
				}
				mounts = append(mounts, mount{name, pod.Namespace, pod.Spec.Volumes[v].PersistentVolumeClaim.ClaimName})
			}
		}
	}
	return mounts
}

// isOneOf reports whether a PersistentVolume is one of a share that is mounted.
func isOneOf(mounts []mount, pv *corev1.PersistentVolume) bool {
	_, is := shareOf(mounts, pv)
	return is
}

func shareOf(mounts []mount, pv *corev1.PersistentVolume) (share, bool) {
	ref, nfs := pv.Spec.ClaimRef, pv.Spec.NFS
	if ref == nil || nfs == nil {
		return share{}, false
	}
	i := slices.IndexFunc(mounts, func(m mount) bool { return m.namespace == ref.Namespace && m.claim == ref.Name })
	if i < 0 {
		return share{}, false
	}
	return share{mounts[i].name, nfs.Server, path.Clean(nfs.Path)}, true
}

// sharesOf returns the shares that are mounted, whose PersistentVolumes are among all.
func sharesOf(mounts []mount, all []corev1.PersistentVolume) (shares []share) {
	for i := range all {
		if s, is := shareOf(mounts, &all[i]); is {
			shares = append(shares, s)
		}
	}
	return shares
}
