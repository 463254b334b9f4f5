package class

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// maxMountOptions is how many bytes the mount options of a class may have together, with a comma
// between any two. The kernel takes one page of 4096 bytes, and mount.nfs adds options of its own.
const maxMountOptions = 3072

// CheckMountOptions refuses the mountOptions of a StorageClass that no mount can have. A pod would find
// them only later, when its volume cannot be mounted, and they cannot be edited. The error joins all
// problems.
func CheckMountOptions(options []string) error {
	var p problems
	total := 0
	for i, option := range options {
		total += len(option) + 1
		switch {
		case len(option) > maxMountOptions: // reported once, by the total
		case strings.TrimSpace(option) == "":
			p = append(p, fmt.Errorf("mountOptions[%d] is empty; remove it", i))
		case strings.ContainsFunc(option, func(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) }):
			p = append(p, fmt.Errorf("mountOptions[%d] %q contains a control character; write it without", i, option))
		case strings.ContainsFunc(option, unicode.IsSpace):
			p = append(p, fmt.Errorf("mountOptions[%d] %q contains a blank, which no mount option may; write each option as an element of its own, such as [%s]", i, option, apart(option)))
		}
	}
	if total > maxMountOptions {
		p = append(p, fmt.Errorf("mountOptions have %d bytes together; at most %d are allowed", total, maxMountOptions))
	}
	return errors.Join(p...)
}

// apart returns the options that were meant by one with blanks between them.
func apart(option string) string {
	return strings.Join(strings.FieldsFunc(option, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }), ", ")
}
