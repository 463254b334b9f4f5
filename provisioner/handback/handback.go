// Package handback chooses the PersistentVolumes that nfs-subdir-external-provisioner may take over
// from claimdir, and says how to change them: claimdir's finalizer and annotations go. It is given
// what the cluster has, and changes nothing itself.
package handback

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"claimdir/provisioner/class"
	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volume"
)

// prefix begins the names of claimdir's annotations.
const prefix = "claimdir/"

// Volume is a PersistentVolume with something of claimdir's on it.
type Volume struct {
	PV *v1.PersistentVolume
	// Policy is what claimdir does when the volume is released, for people.
	Policy string
	// There is what the other provisioner does then, for people.
	There string
	// Left says why the volume must not be handed back, and what to do, for people. It is empty if
	// the volume can be handed back.
	Left string
}

// Provisioner returns the provisioner name of the PersistentVolume: the one that the other
// provisioner must have to serve it.
func (v Volume) Provisioner() string { return v.PV.Annotations[pvs.AnnotationProvisionedBy] }

// Choose returns the volumes of the given provisioner names that have claimdir's finalizer or
// annotations, sorted by name. source is the share of the other provisioner.
func Choose(volumes []v1.PersistentVolume, classes []storagev1.StorageClass, names pvs.Names, source share.Source) (chosen []Volume) {
	parameters := make(map[string]map[string]string, len(classes))
	for i := range classes {
		parameters[classes[i].Name] = classes[i].Parameters
		if classes[i].Parameters == nil {
			parameters[classes[i].Name] = map[string]string{}
		}
	}
	for i := range volumes {
		pv := &volumes[i]
		if names.Serve(pv) && Marked(pv) {
			chosen = append(chosen, judge(pv, parameters[volume.ClassOfPV(pv)], source))
		}
	}
	slices.SortFunc(chosen, func(a, b Volume) int { return cmp.Compare(a.PV.Name, b.PV.Name) })
	return chosen
}

// Marked reports whether a PersistentVolume has claimdir's finalizer or an annotation of claimdir.
func Marked(pv *v1.PersistentVolume) bool {
	return pvs.HasFinalizer(pv) || len(annotations(pv)) > 0
}

func annotations(pv *v1.PersistentVolume) (names []string) {
	for name := range maps.Keys(pv.Annotations) {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// judge decides about a volume. parameters are those of its class, nil if there is none.
func judge(pv *v1.PersistentVolume, parameters map[string]string, source share.Source) Volume {
	there, deletes := others(parameters)
	v := Volume{PV: pv, Policy: policy(pv, parameters), There: there}
	_, here := pvs.On(source, pv)
	released := pv.Spec.PersistentVolumeReclaimPolicy == v1.PersistentVolumeReclaimDelete
	if !released {
		v.Policy, v.There = "nothing", "nothing" // its reclaim policy is Retain
	}
	const retain = "set its reclaim policy to Retain"
	switch {
	case pv.DeletionTimestamp != nil:
		v.Left = "it is being deleted: start claimdir again and wait until the volume is gone"
	case !here:
		v.Left = fmt.Sprintf("it is not on %s:%s, and the other provisioner takes every volume with its name for one of its share: give the volume another name in %s, and hand it back under that",
			source.Server, source.Path, pvs.AnnotationProvisionedBy)
	case released && (pv.Status.Phase == v1.VolumeReleased || pv.Status.Phase == v1.VolumeFailed):
		v.Left = "it is to be released: start claimdir again and wait until the volume is gone, or look at its events; or " + retain
	case released && deletes && v.Policy != string(class.Delete):
		v.Left = fmt.Sprintf("the other provisioner would delete its directory, by its class %q: %s; or, if the directory may be deleted: kubectl annotate --overwrite pv %s %s=%s",
			volume.ClassOfPV(pv), retain, pv.Name, volume.AnnotationOnDelete, class.Delete)
	}
	return v
}

// policy returns what claimdir does with a released volume, for people: as its annotations say or,
// if the other provisioner made it, as its class says.
func policy(pv *v1.PersistentVolume, parameters map[string]string) string {
	_, ours := pv.Annotations[volume.AnnotationPath]
	annotated, there := pv.Annotations[volume.AnnotationOnDelete]
	read := func() (class.Policy, error) { return class.ParsePolicy(annotated) }
	switch {
	case !ours && !there && parameters == nil:
		return string(class.Archive)
	case !ours && !there:
		read = func() (class.Policy, error) { return class.PeerPolicy(parameters) }
	}
	p, err := read()
	if err != nil {
		return "unclear"
	}
	return string(p)
}

// others returns what the other provisioner does with a released volume of a class, for people, and
// whether it deletes the directory. It does not know onDelete "archive", and goes by archiveOnDelete
// then.
func others(parameters map[string]string) (there string, deletes bool) {
	if parameters == nil {
		return "nothing: no class", false
	}
	if parameters["onDelete"] == string(class.Archive) {
		parameters = maps.Clone(parameters)
		delete(parameters, "onDelete")
	}
	policy, err := class.PeerPolicy(parameters)
	if err != nil {
		return "nothing: bad class", false
	}
	return string(policy), policy == class.Delete
}

// Patch returns the merge patch that takes claimdir's finalizer and annotations off the
// PersistentVolume, and nothing else. The API server refuses it with a conflict if the
// PersistentVolume was changed or replaced since it was read.
func (v Volume) Patch() ([]byte, error) {
	remove := map[string]any{}
	for _, name := range annotations(v.PV) {
		remove[name] = nil
	}
	metadata := map[string]any{"uid": v.PV.UID, "resourceVersion": v.PV.ResourceVersion, "annotations": remove}
	if slices.Contains(v.PV.Finalizers, pvs.Finalizer) {
		others := append([]string{}, v.PV.Finalizers...)
		metadata["finalizers"] = slices.DeleteFunc(others, func(f string) bool { return f == pvs.Finalizer })
	}
	patch, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return nil, fmt.Errorf("hand back %s: %w", v.PV.Name, err)
	}
	return patch, nil
}
