//go:build vm

package cluster

import (
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"claimdir/hack/vm/node"
)

const (
	// tenantWrites writes, as uid 1000, what a copy may lose: a directory that only its owner may enter, names of one file,
	// links that lead nowhere else, a pipe, and a file with a hole. What is there already stays as it is.
	tenantWrites = `cd /data; [ ! -e tenant ] || exit 0
		mkdir -p tenant/deep; hostname >tenant/deep/file; chmod 640 tenant/deep/file; ln tenant/deep/file tenant/hard
		dd if=/dev/urandom of=tenant/random bs=4096 count=64 2>/dev/null; chmod 600 tenant/random
		ln -s deep/file tenant/soft; ln -s /etc/passwd tenant/outside; mkfifo -m 620 tenant/pipe
		truncate -s 8M tenant/holes; hostname >>tenant/holes; chmod 2775 tenant/deep; chmod 700 tenant`
	// rootWrites writes as uid 0.
	rootWrites = `cd /data; [ ! -e root ] || exit 0
		mkdir -m 750 root; hostname >root/file; ln root/file root/again; chmod 4755 root/file`
	// describe tells all that the two wrote: of each name the first one of the same file, type, mode, owner, size, number of names,
	// time and target, and of each file its checksum.
	describe = `cd /data; find . | sort >/tmp/names
		xargs stat -c '%i|%n|%F %a %u:%g, %s bytes, %h names, %Y, %N' </tmp/names |
			awk -F'|' '{ if (!($1 in first)) first[$1] = $2; print $2 "|" first[$1] "|" $3 }'
		find . -type f | sort | xargs sha256sum`
)

// testSnapshotStatefulSet: a StatefulSet whose pods run is snapshotted, deleted with all its volumes, and restored by claims of the
// earlier names; each pod finds what it wrote. A clone of one of its claims has that, too, and is a volume of its own.
func testSnapshotStatefulSet(t *testing.T, n *node.Node) {
	w := newWorld(t, n, "baseline")
	w.class("onDelete", "delete")
	pods, claims := []string{"set-0", "set-1", "set-2"}, []string{"data-set-0", "data-set-1", "data-set-2"}
	w.statefulSet(int32(len(pods)), writingSpec(), ofSize("16Mi"))
	w.ready(int32(len(pods)))
	wrote := w.describe(pods...)
	for i, pod := range pods {
		if wrote[i] == wrote[(i+1)%len(pods)] || !strings.Contains(wrote[i], "./tenant/hard|./tenant/deep/file|regular file 640 1000:1000") {
			t.Fatalf("pod %s has written:\n%s", pod, wrote[i])
		}
	}

	for _, claim := range claims {
		w.snapshot(claim, claim, "")
	}
	contents := w.contents(claims...)
	for i, claim := range claims {
		w.wantServer("1", "ls -d %s/.claimdir/snapshots/%s* | wc -l", rootExport, contents[i])
		w.eventOn(claim, "^SnapshotMade: the snapshot is a copy of claim "+claim+", .*, in use meanwhile")
	}

	w.deleteSet(claims...)
	for _, claim := range claims {
		w.Claim(claim, ofSize("16Mi"), from("VolumeSnapshot", claim))
	}
	w.statefulSet(int32(len(pods)), writingSpec(), ofSize("16Mi"))
	w.ready(int32(len(pods)))
	w.wantDescribed(wrote, pods...)
	for _, claim := range claims {
		pv := w.Bound(claim)
		if text := pv.Annotations["claimdir/copied"]; !strings.HasPrefix(text, "snapshot "+claim+", from ") {
			t.Errorf("the volume of %s says of what it is a copy: %q", claim, text)
		}
		w.wantServer("holes", "[ $(stat -c %%b %s/tenant/holes) -ge 64 ] || echo holes", pv.Spec.NFS.Path)
	}

	w.Claim("clone", ofSize("16Mi"), from("PersistentVolumeClaim", claims[1]))
	w.pod("clone", "clone", sleep)
	w.phase("clone", v1.PodRunning)
	w.wantDescribed(wrote[1:2], "clone")
	_, err := w.exec("clone", "cd /data; echo changed >root/file; rm -r tenant/deep")
	w.Must(err)
	w.wantDescribed(wrote, pods...)

	w.deleteSnapshots()
	for _, content := range contents {
		w.wantServer("", "ls -d %s/.claimdir/snapshots/%s* 2>/dev/null || true", rootExport, content)
	}
}

// writingSpec is a pod that writes its data into an empty volume, before its container starts.
func writingSpec() v1.PodSpec {
	spec := podSpec("", sleep)
	for _, w := range []struct {
		uid    int64
		script string
	}{{1000, tenantWrites}, {0, rootWrites}} {
		writer := *spec.Containers[0].DeepCopy()
		writer.Name, writer.Command[len(writer.Command)-1] = fmt.Sprint("writer-", w.uid), w.script
		writer.SecurityContext.RunAsUser, writer.SecurityContext.RunAsGroup = &w.uid, &w.uid
		spec.InitContainers = append(spec.InitContainers, writer)
	}
	return spec
}

// describe lets each pod tell what its volume holds.
func (w *world) describe(pods ...string) []string {
	w.T.Helper()
	var texts []string
	for _, pod := range pods {
		text, err := w.exec(pod, describe)
		w.Must(err)
		texts = append(texts, text)
	}
	return texts
}

// wantDescribed compares what pods tell of their volumes.
func (w *world) wantDescribed(want []string, pods ...string) {
	w.T.Helper()
	for i, text := range w.describe(pods...) {
		if text != want[i] {
			w.T.Errorf("pod %s finds:\n%s\nand there was:\n%s", pods[i], text, want[i])
		}
	}
}

// from lets a claim be a copy of another object.
func from(kind, name string) func(*v1.PersistentVolumeClaim) {
	source := &v1.TypedLocalObjectReference{Kind: kind, Name: name}
	if kind == "VolumeSnapshot" {
		source.APIGroup = new("snapshot.storage.k8s.io")
	}
	return func(c *v1.PersistentVolumeClaim) { c.Spec.DataSource = source }
}

// deleteSet deletes the StatefulSet and its claims, and waits until the volumes are gone.
func (w *world) deleteSet(claims ...string) {
	w.T.Helper()
	w.kubectl("", "delete", "statefulset", "set", "-n", w.Name, "--cascade=foreground", "--timeout=4m")
	var volumes []*v1.PersistentVolume
	for _, claim := range claims {
		volumes = append(volumes, w.Bound(claim))
		w.DeleteClaim(claim)
	}
	for i, volume := range volumes {
		w.claimGone(claims[i])
		w.VolumeGone(volume.Name)
		w.wantServer("gone", "[ -e %s ] || echo gone", volume.Spec.NFS.Path)
	}
}

// snapshot makes a VolumeSnapshot of a claim, with the class of our component. An empty label is none.
func (w *world) snapshot(name, claim, label string) {
	w.T.Helper()
	labels := ""
	if label != "" {
		labels = ", labels: {" + label + "}"
	}
	w.kubectl(fmt.Sprintf(`{apiVersion: snapshot.storage.k8s.io/v1, kind: VolumeSnapshot, metadata: {name: %s%s},
		spec: {volumeSnapshotClassName: claimdir, source: {persistentVolumeClaimName: %s}}}`, name, labels, claim),
		"create", "-n", w.Name, "-f", "-")
}

// contents waits until VolumeSnapshots are ready, and returns the names of their VolumeSnapshotContents.
func (w *world) contents(snapshots ...string) []string {
	w.T.Helper()
	var contents []string
	for _, name := range snapshots {
		w.Eventually("snapshot "+name+" is ready", func() error {
			status := w.kubectl("", "get", "volumesnapshot", name, "-n", w.Name,
				"-o", "jsonpath={.status.readyToUse} {.status.boundVolumeSnapshotContentName}")
			ready, content, _ := strings.Cut(status, " ")
			if ready != "true" || content == "" {
				return fmt.Errorf("its status is %q; events: %q", status, w.Events(w.Name, name))
			}
			contents = append(contents, content)
			return nil
		})
	}
	return contents
}

// deleteSnapshots deletes all VolumeSnapshots, and waits until their VolumeSnapshotContents are gone.
func (w *world) deleteSnapshots() {
	w.T.Helper()
	w.kubectl("", "delete", "volumesnapshot", "--all", "-n", w.Name, "--timeout=4m")
	ours := `jsonpath={range .items[?(@.spec.volumeSnapshotRef.namespace=="` + w.Name + `")]}{.metadata.name} {end}`
	w.Eventually("the VolumeSnapshotContents are gone", func() error {
		if left := w.kubectl("", "get", "volumesnapshotcontent", "-o", ours); left != "" {
			return fmt.Errorf("there are %s", left)
		}
		return nil
	})
}
