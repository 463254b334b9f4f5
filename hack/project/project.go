// Package project knows where the project's source lies, and keeps files in it that are written from others.
package project

import (
	"errors"
	"path/filepath"
	"runtime"
)

// Root is the directory of the product's go.mod, wherever the caller stands. A
// build with -trimpath forgets it.
func Root() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return "", errors.New("find the project: built with -trimpath, which forgets where the source lies")
	}
	return filepath.Join(filepath.Dir(file), "..", ".."), nil
}
