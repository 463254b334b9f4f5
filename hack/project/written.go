package project

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// Written compares a file, named from root, with what is to be in it, and writes that if write is true. stale says that the file had
// something else.
func Written(root, name string, content []byte, write bool) (stale bool, err error) {
	file := filepath.Join(root, name)
	if have, err := os.ReadFile(file); err == nil && bytes.Equal(have, content) {
		return false, nil
	}
	if !write {
		return true, nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return true, fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.WriteFile(file, content, 0o644); err != nil {
		return true, fmt.Errorf("write %s: %w", name, err)
	}
	return true, nil
}
