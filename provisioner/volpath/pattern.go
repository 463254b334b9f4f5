package volpath

import (
	"fmt"
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
// the text is itself a pattern, up to eight levels deep, and ends at its "}". A "$" without "{" and a "}" without "${" are literal.
//
// ParsePattern refuses a pattern that can only give refused paths, so that its author sees the mistake at once.
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
//
// If the last element of the pattern is empty, DefaultName replaces it, so that a missing annotation never gives the directory above all
// volumes of a namespace. Other empty elements are dropped, as other provisioners do ("ns//x", "ns/x/"), except at the beginning, where
// they would make the path absolute. Parse checks the result.
func (p Pattern) Expand(v Vars) (Path, error) {
	path := p.join(v)
	if strings.HasPrefix(path, "/") {
		return Path{}, fmt.Errorf("pattern %s gives path %s: absolute; its first element came out empty or begins with \"/\", "+
			"a fallback such as ${VARIABLE:-text} prevents the empty one", quote(p.text), quote(path))
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

// join returns the expanded path without superfluous slashes. It keeps a leading one, which Expand refuses.
func (p Pattern) join(v Vars) string {
	var parts []string
	for i, e := range p.elements {
		text := expand(e, v)
		if i == len(p.elements)-1 && strings.Trim(text, "/") == "" {
			text = DefaultName(v)
		}
		parts = append(parts, text)
	}
	path := strings.Join(parts, "/")
	clean := strings.Join(strings.FieldsFunc(path, func(r rune) bool { return r == '/' }), "/")
	if strings.HasPrefix(path, "/") {
		return "/" + clean
	}
	return clean
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
