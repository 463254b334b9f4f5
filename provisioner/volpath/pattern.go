package volpath

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// DefaultPattern is the pattern of a class without one. It expands to DefaultName, so the result is never too long.
const DefaultPattern = "${.PVC.namespace}-${.PVC.name}-${.PV.name}"

// Pattern is a path with variables in it, compiled once and immutable. The zero value is not a pattern.
type Pattern struct {
	text     string
	elements []element // at least one; no empty literal
}

// element is the part of a pattern between two slashes.
type element []node

// node is a piece of literal text or, if field is set, a variable.
type node struct {
	literal  string
	field    field
	key      string // of a label or annotation
	fallback []node // used when the variable is missing or empty
}

type field int

const (
	noField field = iota
	namespaceField
	nameField
	uidField
	pvField
	labelField
	annotationField
	defaultField // the whole DefaultName
)

// ParsePattern compiles a pattern in the spelling of nfs-subdir-external-provisioner: ${.PVC.namespace}, ${.PVC.name}, ${.PVC.uid},
// ${.PVC.labels.KEY}, ${.PVC.annotations.KEY} and ${.PV.name}. ${VARIABLE:-text} gives a fallback for a variable that is missing or empty;
// the text is itself a pattern, up to eight levels deep, and ends at its "}".
//
// ParsePattern refuses a pattern that can only give refused paths, and one with a "$", "{", "}" or "\" outside of variables, which a template
// that nobody expanded leaves, so that its author sees the mistake at once.
func ParsePattern(s string) (Pattern, error) {
	return compile(s, spelling{
		resolve:  subdirVariable,
		allowed:  "${.PVC.namespace}, ${.PVC.name}, ${.PVC.uid}, ${.PVC.labels.KEY}, ${.PVC.annotations.KEY} and ${.PV.name}",
		standard: DefaultPattern,
	})
}

// ParseSubDir compiles a pattern in the spelling of csi-driver-nfs: ${pvc.metadata.namespace}, ${pvc.metadata.name} and
// ${pv.metadata.name}. Otherwise it works like ParsePattern.
func ParseSubDir(s string) (Pattern, error) {
	return compile(s, spelling{
		resolve:  csiVariable,
		allowed:  "${pvc.metadata.namespace}, ${pvc.metadata.name} and ${pv.metadata.name}",
		standard: "${pvc.metadata.namespace}-${pvc.metadata.name}-${pv.metadata.name}",
	})
}

// String returns the pattern as it was given.
func (p Pattern) String() string { return p.text }

// Expand replaces the variables by their values, once: a value is never read as a pattern. A value may contain several elements ("a/b").
// Elements that are empty or "." are dropped, as other provisioners do ("/ns/x", "./ns/x", "ns//x", "ns/x/"): a leading slash means the root
// of the share.
//
// If the last element of the pattern comes out empty, DefaultName replaces it, so that a missing annotation never gives the directory above
// all volumes of a namespace. Expand refuses a first element that comes out empty, because the volume would lie in a directory for others.
// It also refuses elements that begin or end with a blank. Parse checks the result.
func (p Pattern) Expand(v Vars) (Path, error) {
	parts, err := p.parts(v)
	path := strings.Join(parts, "/")
	if err != nil {
		return Path{}, fmt.Errorf("pattern %s gives path %s: %w", quote(p.text), quote(path), err)
	}
	checked, err := Parse(path)
	if err != nil {
		return Path{}, fmt.Errorf("pattern %s gives %w", quote(p.text), err)
	}
	if n := len(checked.Elements()); n > MaxLevels {
		return Path{}, fmt.Errorf("pattern %s gives path %s: %d elements; at most %d are allowed", quote(p.text), quote(path), n, MaxLevels)
	}
	return checked, nil
}

// parts returns the elements of the expanded path, and with an error those of a path that is refused.
func (p Pattern) parts(v Vars) (parts []string, err error) {
	for i, e := range p.elements {
		inside := elementsOf(expand(e, v))
		switch {
		case len(inside) > 0:
		case i == len(p.elements)-1:
			inside = elementsOf(DefaultName(v))
		case i == 0:
			err = errors.New("its first element came out empty; a fallback such as ${VARIABLE:-text} prevents that")
			inside = []string{""}
		}
		parts = append(parts, inside...)
	}
	for _, part := range parts {
		if strings.TrimSpace(part) != part {
			err = errors.Join(err, errBlank(part))
		}
	}
	return parts, err
}

// elementsOf returns the elements of a path that are neither empty nor ".".
func elementsOf(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(e string) bool { return e == "" || e == "." })
}

func errBlank(element string) error {
	return fmt.Errorf("element %s begins or ends with a blank; remove the blank from the pattern, label or annotation", quote(element))
}

func expand(nodes []node, v Vars) string {
	var b strings.Builder
	for _, n := range nodes {
		b.WriteString(n.expand(v))
	}
	return b.String()
}

func (n node) expand(v Vars) string {
	if n.field == noField {
		return n.literal
	}
	if value := n.value(v); value != "" {
		return value
	}
	return expand(n.fallback, v)
}

func (n node) value(v Vars) string {
	switch n.field {
	case namespaceField:
		return v.Namespace
	case nameField:
		return v.Name
	case uidField:
		return v.UID
	case pvField:
		return v.PVName
	case labelField:
		return v.Labels[n.key]
	case annotationField:
		return v.Annotations[n.key]
	case defaultField:
		return DefaultName(v)
	case noField:
	}
	return ""
}
