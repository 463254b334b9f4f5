package check

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
)

// Where claimdir keeps its own things on the share.
const (
	metaDir    = ".claimdir"
	recordsDir = metaDir + "/records"
	shareFile  = metaDir + "/share.json"
)

// record is as much of a record's JSON as matters here.
type record struct {
	State, Path, PV, Cluster, Policy string
	Claim                            struct{ Namespace, Name, UID string }

	file string // on the share
}

func (r record) of(c *Claim) bool {
	return r.Claim.Namespace == c.Namespace && r.Claim.Name == c.Name && r.Claim.UID == c.UID
}

// records reads all records, and judges what lies beside them.
func (j *judge) records() {
	j.recordOf = map[string]record{}
	holds := map[string]int{} // files of the directory of a path's records
	for name, e := range j.Share {
		if dir := path.Dir(name); dir != recordsDir && path.Dir(dir) == recordsDir {
			holds[dir]++
			j.record(name, e)
		}
	}
	for _, name := range sortedKeys(j.Share) {
		switch {
		case path.Dir(name) != recordsDir:
		case !j.Share[name].Mode.IsDir():
			j.waits("%s is not a directory", name)
		case holds[name] == 0:
			j.waits("the directory %s has no record", name)
		}
	}
}

func (j *judge) record(file string, e Entry) {
	if !strings.HasSuffix(file, ".json") {
		// A process that was killed leaves the new text of a record beside it. It is the
		// record's own, and is replaced or, after an hour, removed.
		if !strings.HasSuffix(file, ".json.new") || !j.isOwn(path.Base(file)) {
			j.waits("%s is no record", file)
		}
		return
	}
	r := record{file: file}
	if err := json.Unmarshal([]byte(e.Content), &r); err != nil {
		j.wrong("record %s is damaged: %v", file, err)
		return
	}
	if r.Cluster != j.Cluster || !strings.HasPrefix(path.Base(file), r.PV+"@") {
		j.wrong("record %s is for volume %s of cluster %s", file, r.PV, r.Cluster)
	}
	if other, twice := j.recordOf[r.Path]; twice {
		j.waits("path %s has two records, %s and %s", r.Path, file, other.file)
	}
	j.recordOf[r.Path] = r
	if !j.Share[r.Path].Mode.IsDir() {
		j.waits("record %s (%s) has no directory", file, r.State)
	}
	if _, known := j.ownerOf[r.PV]; !known {
		j.waits("record %s names volume %s, which no claim had", file, r.PV)
	}
}

// isOwn reports whether a name is one that a volume has for itself: PV@CLUSTER and more.
func (j *judge) isOwn(name string) bool {
	pv, _, found := strings.Cut(name, "@")
	_, known := j.ownerOf[pv]
	return found && known
}

// meta judges the rest of what claimdir has on the share for itself.
func (j *judge) meta() {
	filled := map[string]bool{}
	for name := range j.Share {
		filled[path.Dir(name)] = true
	}
	for _, name := range sortedKeys(j.Share) {
		rest, inside := strings.CutPrefix(name, metaDir+"/")
		if !inside {
			continue
		}
		room, own, within := strings.Cut(rest, "/")
		switch {
		case !slices.Contains([]string{"share.json", "records", "staged", "trash", "moving"}, room):
			j.waits("%s is left", name)
		case !within || room == "records" || strings.Contains(own, "/"):
		case j.isOwn(own) && (room == "staged" || room == "moving" && !filled[name]):
			// A process that was killed leaves a record that it has staged, or the empty directory into which
			// it was to set a volume aside. It is in nobody's way, and is removed after an hour.
		default:
			j.waits("%s is left", name)
		}
	}
	if !j.Share[shareFile].Mode.IsRegular() {
		j.wrong("%s is missing", shareFile)
	}
}
