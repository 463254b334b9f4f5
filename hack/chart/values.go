package chart

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// Directory is the chart's, from the root of the project.
const Directory = "manifests/chart/claimdir"

// Value is something that may be set.
type Value struct {
	// Name is its path, such as nfs.server; what belongs to the elements of a list has [] in it.
	Name string
	// Default is the one of values.yaml, as JSON; empty if there is none, or if it is null or empty.
	Default string
	// Meaning is its description in values.schema.json.
	Meaning string
}

// Values returns what may be set, in the order of values.schema.json. dir is the chart's directory.
func Values(dir string) ([]Value, error) {
	var root schema
	data, err := os.ReadFile(filepath.Join(dir, "values.schema.json"))
	if err != nil {
		return nil, fmt.Errorf("read the chart's schema: %w", err)
	}
	if err := json.Unmarshal(data, &root); err != nil {
		return nil, fmt.Errorf("read the chart's schema: %w", err)
	}
	var defaults map[string]any
	if data, err = os.ReadFile(filepath.Join(dir, "values.yaml")); err != nil {
		return nil, fmt.Errorf("read the chart's values: %w", err)
	}
	if err := yaml.UnmarshalStrict(data, &defaults); err != nil {
		return nil, fmt.Errorf("read the chart's values: %w", err)
	}
	return root.Properties.values("", defaults)
}

// MarkdownTable is the table of values in the chart's README. dir is the chart's directory.
func MarkdownTable(dir string) (string, error) {
	values, err := Values(dir)
	if err != nil {
		return "", err
	}
	var table strings.Builder
	table.WriteString("| Value | Default | Meaning |\n| --- | --- | --- |\n")
	for _, v := range values {
		text := v.Default
		if text != "" {
			text = "`" + text + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", v.Name, text, v.Meaning)
	}
	return table.String(), nil
}

// schema is what we read of a JSON schema.
type schema struct {
	Description string
	Properties  properties
	Items       *schema
}

// properties are in the order of the file.
type properties []property

type property struct {
	name string
	schema
}

// UnmarshalJSON reads an object, and keeps the order of its keys.
func (p *properties) UnmarshalJSON(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if _, err := decoder.Token(); err != nil { // the opening brace
		return err
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return err
		}
		next := property{name: fmt.Sprint(key)}
		if err := decoder.Decode(&next.schema); err != nil {
			return err
		}
		*p = append(*p, next)
	}
	return nil
}

// values are those that have a description, and those below the others and below the elements of lists.
func (p properties) values(prefix string, defaults map[string]any) (values []Value, err error) {
	for _, next := range p {
		name, below := prefix+next.name, next.Properties
		if next.Description != "" {
			value := Value{Name: name, Meaning: next.Description}
			if value.Default, err = text(defaults[next.name]); err != nil {
				return nil, fmt.Errorf("default of %s: %w", name, err)
			}
			values = append(values, value)
			if below = nil; next.Items != nil {
				name, below = name+"[]", next.Items.Properties
			}
		}
		inner, _ := defaults[next.name].(map[string]any)
		more, err := below.values(name+".", inner)
		if err != nil {
			return nil, err
		}
		values = append(values, more...)
	}
	return values, nil
}

// text is a default for the table.
func text(value any) (string, error) {
	if value == nil || value == "" {
		return "", nil
	}
	data, err := json.Marshal(value)
	return string(data), err
}
