package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"claimdir/provisioner/share"
	"claimdir/provisioner/volpath"
)

// Layout is the version of the share and its records that this program writes. It refuses newer
// ones.
const Layout = 2

// State is the state of a path.
type State string

const (
	// Creating means: the path is taken, its directory may or may not exist yet, and the check for
	// volumes above and below it may not have run yet. No PersistentVolume was ever created for it.
	Creating State = "creating"
	// Active means: the directory belongs to a volume whose PersistentVolume exists or is being
	// saved.
	Active State = "active"
	// Retained means: the volume was released and its directory kept in place.
	Retained State = "retained"
	// Archived means: the path is the path of an archive.
	Archived State = "archived"
)

// Claim names a PersistentVolumeClaim.
type Claim struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
	// NamespaceUID tells the namespace from an earlier or later one of the same name. It is empty
	// if it is not known, as in records of earlier versions.
	NamespaceUID string `json:"namespaceUID,omitempty"`
}

// Is reports whether both are the same claim, whatever is known of its namespace.
func (c Claim) Is(other Claim) bool {
	c.NamespaceUID, other.NamespaceUID = "", ""
	return c == other
}

// LeavesTo reports whether what the claim c left, such as an archive, is for claims of heir's
// namespace: whether that is c's namespace, and not a later one of the same name. If c's
// NamespaceUID is not known, the name decides.
func (c Claim) LeavesTo(heir Claim) bool {
	return c.Namespace == heir.Namespace && (c.NamespaceUID == "" || c.NamespaceUID == heir.NamespaceUID)
}

// Record says which volume owns a path, and describes the volume as it was created. Later only
// these fields change: State, Directory, CopyOf, Owners and the times; Size when the volume is expanded; Claim when the volume is handed to
// another claim, or when the UID of its namespace becomes known; Path, Origin, ArchiveRetention and
// Until when the volume becomes an archive; Cluster and the claim's UIDs when another cluster takes
// over a volume that it has recovered.
type Record struct {
	Layout  int    `json:"layout"`
	State   State  `json:"state"`
	Path    string `json:"path"`
	PV      string `json:"pv"`
	Claim   Claim  `json:"claim"`
	Cluster string `json:"cluster"` // UID of the namespace kube-system
	Class   string `json:"class"`
	// Policy is what happens to the directory on release. It is empty for a volume of another
	// provisioner; its class decides on release.
	Policy string `json:"policy,omitempty"`
	// ArchiveRetention is how long the archive is kept if the volume becomes one, in the format of
	// time.ParseDuration. Empty means for ever.
	ArchiveRetention string `json:"archiveRetention,omitempty"`
	// ReclaimPolicy is the reclaim policy of the PersistentVolume.
	ReclaimPolicy string `json:"reclaimPolicy"`
	// Adopted says that the directory existed before the volume, which left its mode and owner
	// unchanged.
	Adopted      bool     `json:"adopted,omitempty"`
	Size         string   `json:"size"` // a Kubernetes quantity
	AccessModes  []string `json:"accessModes"`
	MountOptions []string `json:"mountOptions,omitempty"`
	Mode         string   `json:"mode,omitempty"` // octal, as chmod(1) takes it
	UID          *uint32  `json:"uid,omitempty"`
	GID          *uint32  `json:"gid,omitempty"`
	// Directory is the identity of the directory of the volume or archive. It is nil while the
	// volume is being created, and in records of layout 1.
	Directory *share.Identity `json:"directory,omitempty"`
	// Origin is the path that an archive had as a volume.
	Origin string `json:"origin,omitempty"`
	// RestoredFrom is the path of the archive from which the directory is or was restored.
	RestoredFrom string `json:"restoredFrom,omitempty"`
	// CopyOf says from which directory the volume was or is copied. It is nil for any other volume.
	CopyOf *Copy `json:"copyOf,omitempty"`
	// Owners is how many volumes had the directory before this one. It tells which of two records
	// that name one directory is the later one, whatever the clocks of those that wrote them said.
	Owners int `json:"owners,omitempty"`
	// Created is when the volume took the path, Released when it was retained or archived.
	Created  time.Time  `json:"created"`
	Released *time.Time `json:"released,omitempty"`
	// Until is when an archive expires; nil means never.
	Until *time.Time `json:"until,omitempty"`
}

// Restoring reports whether a restore of an archive into this volume has begun and is not complete.
func (r Record) Restoring() bool { return r.State == Creating && r.RestoredFrom != "" }

// ErrDamaged marks a record that cannot be parsed. No operation may touch its path until somebody
// has repaired the record.
var ErrDamaged = errors.New("damaged record")

// decode parses and checks a record, so that a caller never acts on half a record, or on the record
// of another path with the same hashed key.
func decode(data []byte, path volpath.Path) (Record, error) {
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, fmt.Errorf("%w of %s: %w", ErrDamaged, path, err)
	}
	if r.Layout > Layout && (r.Layout != layoutCopying || !r.Copying()) {
		return Record{}, fmt.Errorf("record of %s has layout %d and this claimdir knows %d: run a newer one", path, r.Layout, Layout)
	}
	if strings.EqualFold(r.Path, path.String()) && r.Path != path.String() {
		return Record{}, fmt.Errorf("record of %s: it is that of path %q; the share does not tell the two names apart", path, r.Path)
	}
	if r.Path != path.String() || r.PV == "" || r.Layout < 1 {
		return Record{}, fmt.Errorf("%w of %s: it is for path %q, volume %q, layout %d", ErrDamaged, path, r.Path, r.PV, r.Layout)
	}
	switch r.State {
	case Creating, Active, Retained, Archived:
		return r, nil
	}
	return Record{}, fmt.Errorf("%w of %s: unknown state %q", ErrDamaged, path, r.State)
}

// decodeKeyed is decode for a record that was found by its key. file is its name in messages.
func decodeKeyed(data []byte, found, file string) (Record, error) {
	var head struct{ Path string }
	if err := json.Unmarshal(data, &head); err != nil {
		return Record{}, fmt.Errorf("%w in %s: %w", ErrDamaged, file, err)
	}
	path, err := volpath.ParseRecorded(head.Path)
	if err != nil || key(path) != found {
		return Record{}, fmt.Errorf("%w in %s: it is for path %q", ErrDamaged, file, head.Path)
	}
	return decode(data, path)
}

func encode(r Record) ([]byte, error) {
	r.Layout = Layout
	if r.Copying() {
		r.Layout = layoutCopying
	}
	data, err := json.MarshalIndent(r, "", "  ")
	return append(data, '\n'), err
}

// TakenError says that another volume has the path, or a path above or below it.
type TakenError struct {
	// Path is the requested path, Owner the conflicting record.
	Path  volpath.Path
	Owner Record
	// ForeignNamespace hides the owner's claim from a user who may not know it.
	ForeignNamespace bool
	// EarlierNamespace says that the owner's claim was in an earlier namespace of the same name.
	EarlierNamespace bool
}

// LeftByNamesake reports whether the path was retained by a claim of the same namespace and name, in
// another cluster or in an earlier namespace of that name.
func (e *TakenError) LeftByNamesake(r Record) bool {
	return e.Owner.State == Retained && e.Owner.Path == e.Path.String() && e.Owner.sameName(r) && !e.Owner.leavesTo(r)
}

func (e *TakenError) Error() string {
	owner := fmt.Sprintf("volume %s of claim %s/%s", e.Owner.PV, e.Owner.Claim.Namespace, e.Owner.Claim.Name)
	switch {
	case e.EarlierNamespace:
		owner = fmt.Sprintf("volume %s of an earlier namespace of this name", e.Owner.PV)
	case e.ForeignNamespace:
		owner = fmt.Sprintf("volume %s of another namespace or cluster", e.Owner.PV)
	}
	if e.Owner.Path == e.Path.String() {
		return fmt.Sprintf("path %q belongs to the %s (%s)%s", e.Path, owner, e.Owner.State.words(), e.wayOut())
	}
	if e.ForeignNamespace && strings.HasPrefix(e.Owner.Path, e.Path.String()+"/") { // the rest of the owner's path may contain the claim's name
		return fmt.Sprintf("path %q would lie above the %s (%s)", e.Path, owner, e.Owner.State.words())
	}
	return fmt.Sprintf("path %q and path %q of the %s (%s) would lie one inside the other", e.Path, e.Owner.Path, owner, e.Owner.State.words())
}

// wayOut says what the owner of a claim can do about a path that is taken.
func (e *TakenError) wayOut() string {
	switch {
	case e.EarlierNamespace:
		return "; give the claim another path, or ask an administrator"
	case e.ForeignNamespace:
		return "; give the class a pattern with ${.PVC.namespace} and ${.PVC.name}, or ask an administrator"
	case e.Owner.State == Retained:
		return "; a new claim of that name gets it; for another claim give the class a pattern with ${.PVC.name}"
	case e.Owner.State == Active || e.Owner.State == Creating:
		return "; a directory serves one claim: let the pods share that claim, or give the class a pattern with ${.PVC.name}"
	}
	return ""
}

// words are the state for people.
func (s State) words() string {
	switch s {
	case Active:
		return "in use"
	case Retained:
		return "kept after its release"
	case Creating:
		return "being created"
	case Archived:
		return "archived"
	}
	return string(s)
}
