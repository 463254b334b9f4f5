package recovery

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"claimdir/provisioner/cluster/pvs"
	"claimdir/provisioner/ledger"
	"claimdir/provisioner/output"
	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
	"claimdir/provisioner/volume"
)

// Cluster is what was read of a cluster.
type Cluster struct {
	ID      string    // the UID of the namespace kube-system
	Names   pvs.Names // the provisioner names that are served
	Volumes []v1.PersistentVolume
	// Served are the addresses of all shares that are served, also of those that could not
	// be read. A volume on one of them has not moved to another.
	Served []share.Source
}

// moved is a volume whose PersistentVolume names an earlier address of its share.
type moved struct {
	pv       *v1.PersistentVolume
	from, to share.Source
	path     volpath.Path
}

// Readdress writes a shell script to w that replaces each PersistentVolume that names an earlier
// address of its share by one with the present address. It returns the number of these
// PersistentVolumes, and an error for each that it left out, with the reason and the remedy.
// err is an error of w.
func Readdress(w io.Writer, shares []Share, c Cluster) (n int, leftOut []error, err error) {
	found, leftOut := movedOn(shares, c)
	var script strings.Builder
	script.WriteString(scriptHead(found))
	for _, m := range found {
		text, err := output.Manifest(m.manifest())
		if err != nil {
			return 0, leftOut, err
		}
		policy := "" // a volume that is not Bound has its own from the first
		if m.pv.Status.Phase == v1.VolumeBound {
			policy = string(m.pv.Spec.PersistentVolumeReclaimPolicy)
		}
		fmt.Fprintf(&script, "readdress %s %s %s %s <<'END'\n%sEND\n", quote(m.pv.Name), quote(string(m.pv.UID)), quote(m.address()), quote(policy), text)
	}
	script.WriteString(scriptTail)
	if _, err := io.WriteString(w, script.String()); err != nil {
		return 0, leftOut, fmt.Errorf("write script: %w", err)
	}
	return len(found), leftOut, nil
}

// movedOn returns the volumes whose shares have moved, sorted by name, and those left out.
func movedOn(shares []Share, c Cluster) (found []moved, leftOut []error) {
	volumes := make(map[string]*v1.PersistentVolume, len(c.Volumes))
	for i := range c.Volumes {
		if c.Names.Serve(&c.Volumes[i]) {
			volumes[c.Volumes[i].Name] = &c.Volumes[i]
		}
	}
	on := map[string]string{} // the share of each volume
	twice := map[string]bool{}
	for _, s := range shares {
		for r, err := range s.Records.Records() {
			if err != nil {
				leftOut = append(leftOut, output.OfShare(s.Name, err))
				continue
			}
			m, is := s.moved(volumes[r.PV], r, c)
			if !is {
				continue
			}
			if other, there := on[r.PV]; there {
				twice[r.PV] = true
				leftOut = append(leftOut, output.OfShare(s.Name, leave(r, "share %q has a record of it too: one of the two is a copy; remove the record that is wrong", other)))
				continue
			}
			on[r.PV] = s.Name
			if err := checkMoved(r, s, &m); err != nil {
				leftOut = append(leftOut, output.OfShare(s.Name, err))
				continue
			}
			found = append(found, m)
		}
	}
	found = slices.DeleteFunc(found, func(m moved) bool { return twice[m.pv.Name] })
	slices.SortFunc(found, func(a, b moved) int { return cmp.Compare(a.pv.Name, b.pv.Name) })
	return found, leftOut
}

// moved reports whether the PersistentVolume of a record names an earlier address of the share.
func (s Share) moved(pv *v1.PersistentVolume, r ledger.Record, c Cluster) (moved, bool) {
	if pv == nil || slices.ContainsFunc(c.Served, func(other share.Source) bool { return other != s.Source && isOn(other, pv) }) {
		return moved{}, false
	}
	from, is := volume.MovedFrom(s.Source, pv, r, c.ID)
	return moved{pv: pv, from: from, to: s.Source}, is
}

func isOn(source share.Source, pv *v1.PersistentVolume) bool {
	_, on := pvs.On(source, pv)
	return on
}

// checkMoved sets the path, and refuses a volume whose directory is not at the new address.
func checkMoved(r ledger.Record, s Share, m *moved) (err error) {
	if m.path, err = volpath.ParseRecorded(r.Path); err != nil {
		return leave(r, "%w; fix the record", err)
	}
	present, err := s.Dirs.Exists(m.path)
	if err != nil {
		return leave(r, "%w", err)
	}
	if !present {
		return leave(r, "its directory is missing at the new address, %s:%s; copy it there, and run this command again", s.Source.Server, s.Source.Path)
	}
	return nil
}

// manifest returns the PersistentVolume with the present address. All else is as it was: the claim
// with its UID, to which it binds again, the policies, labels, annotations and finalizers. Only
// the reclaim policy of a Bound volume is Retain, until it is Bound again: somebody may delete
// the claim while that is Lost, and may not mean the data.
func (m moved) manifest() *v1.PersistentVolume {
	pv := m.pv.DeepCopy()
	pv.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolume"}
	pv.ObjectMeta = metav1.ObjectMeta{Name: pv.Name, Labels: pv.Labels, Annotations: pv.Annotations, Finalizers: pv.Finalizers}
	delete(pv.Annotations, v1.LastAppliedConfigAnnotation) // names the earlier address
	pv.Spec.NFS.Server, pv.Spec.NFS.Path = m.to.Server, volume.Export(m.to, m.path)
	if pv.Status.Phase == v1.VolumeBound {
		pv.Spec.PersistentVolumeReclaimPolicy = v1.PersistentVolumeReclaimRetain
	}
	if pv.Spec.ClaimRef != nil {
		pv.Spec.ClaimRef.ResourceVersion = ""
	}
	return pv
}

// address returns what kubectl shows of the new PersistentVolume.
func (m moved) address() string { return m.to.Server + ":" + volume.Export(m.to, m.path) }

// quote returns s as one word of a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// scriptHead is the beginning of the script. It is one function, so that a shell does nothing with
// half of it.
func scriptHead(found []moved) string {
	counts := map[string]int{}
	for _, m := range found {
		counts[fmt.Sprintf("%s:%s -> %s:%s", m.from.Server, m.from.Path, m.to.Server, m.to.Path)]++
	}
	var b strings.Builder
	b.WriteString("#!/bin/sh\n# This script gives PersistentVolumes the new address of their share:\n")
	for _, move := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "#     %s (%s)\n", output.Cell(move), output.Count(counts[move], "volume"))
	}
	b.WriteString(scriptText)
	return b.String()
}

const scriptText = `#
# Run it with sh, and with the rights of an administrator of the cluster. The address of a PersistentVolume
# cannot be changed, so the script deletes each one and creates it again: with the same name, claim and policies,
# and with the new address. Its claim is Lost for a moment, and then Bound again. No directory is touched,
# whether claimdir runs or not.
#
# The script stops at the first error. Keep the file and run it again then: it contains all that it deletes, and
# skips what it has done. Do not delete claims that are Lost. Pods use the old address until they are started anew.
set -eu
kubectl=${KUBECTL:-kubectl}
patience=${PATIENCE:-60s} # for a claim to become Bound again

# readdress NAME UID ADDRESS POLICY replaces the PersistentVolume that has the UID by the one on standard input.
# POLICY is the reclaim policy of one whose claim is Bound, which it gets when that is Bound again.
readdress() {
  manifest=$(cat)
  now=$($kubectl get pv "$1" --ignore-not-found -o 'jsonpath={.metadata.uid}')
  if [ -n "$now" ] && [ "$now" != "$2" ]; then
    now=$($kubectl get pv "$1" -o 'jsonpath={.spec.nfs.server}:{.spec.nfs.path}')
    if [ "$now" != "$3" ]; then
      echo "PersistentVolume $1 is another one than when this script was made, with the address $now: run claimdir recover --readdress again" >&2
      exit 1
    fi
    echo "PersistentVolume $1 has its new address already"
  else
    if [ -n "$now" ]; then
      remove "$1" "$2"
    fi
    printf '%s\n' "$manifest" | $kubectl create -f -
  fi
  if [ -n "$4" ]; then
    settle "$1" "$4"
  fi
}

# remove NAME UID deletes a PersistentVolume. Kubernetes keeps one whose claim is Bound until it has no finalizers.
remove() {
  $kubectl delete pv "$1" --wait=false
  now=$($kubectl get pv "$1" --ignore-not-found -o 'jsonpath={.metadata.uid}')
  if [ "$now" = "$2" ]; then
    $kubectl patch pv "$1" --type merge -p '{"metadata":{"uid":"'"$2"'","finalizers":null}}'
  fi
}

# settle NAME POLICY waits until the claim is Bound again, and then sets the reclaim policy, which is Retain till then.
settle() {
  if $kubectl wait pv "$1" --for 'jsonpath={.status.phase}=Bound' --timeout "$patience"; then
    $kubectl patch pv "$1" --type merge -p '{"spec":{"persistentVolumeReclaimPolicy":"'"$2"'"}}'
    return
  fi
  phase=$($kubectl get pv "$1" -o 'jsonpath={.status.phase}')
  if [ "$phase" != Released ]; then
    echo "PersistentVolume $1 is $phase and not Bound: find out why, and run this script again" >&2
    exit 1
  fi
  echo "PersistentVolume $1: its claim was deleted. The reclaim policy stays Retain and the data stays; set the policy $2 if the data is not needed" >&2
}

main() {
:
`

const scriptTail = `echo "All PersistentVolumes have their new address."
}

main
`
