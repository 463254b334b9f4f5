// Package output formats what the commands print: manifests for kubectl, JSON for programs,
// and cells of tables for people.
package output

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"sigs.k8s.io/yaml"
)

// Manifest returns the YAML of an object without its status, which the cluster sets. It
// fails only if the object cannot be marshalled.
func Manifest(object any) ([]byte, error) {
	data, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	delete(fields, "status")
	if spec, ok := fields["spec"].(map[string]any); ok && len(spec) == 0 {
		delete(fields, "spec")
	}
	text, err := yaml.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	return append([]byte("---\n"), text...), nil
}

// JSON writes v for programs, and returns the error of w.
func JSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// OfShare adds the name of the share to an error, if the share has a name.
func OfShare(name string, err error) error {
	if name == "" {
		return err
	}
	return fmt.Errorf("share %q: %w", name, err)
}

// Line returns an error as one printable line, also if it joins several errors.
func Line(err error) string { return Cell(strings.ReplaceAll(err.Error(), "\n", "; ")) }

// Cell replaces unprintable characters, because names on the share may contain any: line
// breaks would break the table, and control sequences the terminal.
func Cell(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// Count returns a number with its noun, such as "1 volume" and "2 directories".
func Count[N int | int64](n N, noun string) string {
	if n != 1 {
		noun = Plural(noun)
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// Plural returns the plural of a noun, which must be a regular one.
func Plural(noun string) string {
	switch {
	case strings.HasSuffix(noun, "y"):
		return strings.TrimSuffix(noun, "y") + "ies"
	case strings.HasSuffix(noun, "s"):
		return noun + "es"
	}
	return noun + "s"
}
