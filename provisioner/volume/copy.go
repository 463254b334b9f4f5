package volume

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/volpath"
)

const (
	// AnnotationCopied on a PersistentVolume that is a copy says of what, when, and whether it is of one moment.
	AnnotationCopied = "claimdir/copied"
	// AnnotationCopyLeftOut on a PersistentVolume that is a copy says what it does not have of its source.
	AnnotationCopyLeftOut = "claimdir/copy-left-out"
)

// CopiedText says for people of what a whole copy is, when it was made, and whether anybody used the source meanwhile.
func CopiedText(c *ledger.Copy) string {
	text := fmt.Sprintf("%s %s", c.Kind, c.Claim.Name)
	if c.Began != nil && c.Ended != nil {
		text += fmt.Sprintf(", from %s to %s", c.Began.Format(time.RFC3339), c.Ended.Format(time.RFC3339))
	}
	switch {
	case c.Kind != ledger.CopyClaim:
	case c.Used == ledger.Unused:
		text += ", no pod used the source"
	case c.Used == ledger.Used:
		text += ", in use meanwhile: files may be of different moments"
	default:
		text += ", perhaps in use meanwhile: files may be of different moments"
	}
	if c.Changed > 0 {
		text += fmt.Sprintf("; files that changed while they were copied: %d (%s)", c.Changed, some(c.FirstChanged, c.Changed))
	}
	return text
}

// leftOutText says what a copy does not have of its source.
func leftOutText(c *ledger.Copy) string {
	return fmt.Sprintf("device nodes and attributes of the system: %d (%s)", c.LeftOut, some(c.FirstLeftOut, c.LeftOut))
}

// shownName is how many bytes of a name on the share are shown. A tenant chose it.
const shownName = 100

// some writes the first of several names.
func some(first []string, all int64) string {
	names := make([]string, len(first))
	for i, name := range first {
		names[i] = strconv.Quote(volpath.Shorten(name, shownName))
	}
	text := strings.Join(names, ", ")
	if int64(len(first)) < all {
		text += ", …"
	}
	return text
}

// copyAnnotations say on a PersistentVolume how the copy went that it is.
func copyAnnotations(annotations map[string]string, c *ledger.Copy) {
	if !c.Whole() {
		return
	}
	annotations[AnnotationCopied] = CopiedText(c)
	if c.LeftOut > 0 {
		annotations[AnnotationCopyLeftOut] = leftOutText(c)
	}
}
