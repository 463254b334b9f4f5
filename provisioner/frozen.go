package provisioner

import (
	"fmt"
	"strings"

	"claimdir/provisioner/access"
	"claimdir/provisioner/class"
	"claimdir/provisioner/refusal"
	"claimdir/provisioner/volume"
)

// checkMeasured refuses a class that says what happens to directories that hold too much, if nothing is measured.
func (p *Pool) checkMeasured(name string, c class.Class) error {
	if c.OnOverSize == class.Ignore || p.OverSize != nil {
		return nil
	}
	return refusal.Postpone(refusal.ReasonClass, "StorageClass %s has the parameter onOverSize: %s, and this claimdir measures nothing: "+
		"set USAGE_INTERVAL in its Deployment, such as 6h, or use a class without onOverSize; this is retried automatically", name, c.OnOverSize)
}

// mayBegin is asked at the moment when the directory of a new volume would be begun, and promises the volume room.
func (p *Pool) mayBegin(on *access.Keeper, c class.Class, v volume.Volume) error {
	if c.OnOverSize == class.Freeze {
		over, known := p.OverSize(on, v.Claim.Namespace, v.Class)
		if !known {
			return refusal.Postpone(refusal.ReasonFrozen, "it is not known yet whether claims of this namespace hold more than they requested: claimdir has just started, and reads what it measured before; "+
				"this is retried automatically")
		}
		if len(over) > 0 {
			return refusal.Postpone(refusal.ReasonFrozen, "claims of this namespace hold more than they requested: %s; StorageClass %s lets no new volume begin here meanwhile (onOverSize: freeze): "+
				"remove data there, or request more for them; this is retried automatically", few(over), v.Class)
		}
	}
	return p.takeRoom(on, c, v)
}

// few writes at most three of the names.
func few(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
