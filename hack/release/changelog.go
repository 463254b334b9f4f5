package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// section is what CHANGELOG.md says of one version.
type section struct {
	version string // with its v
	text    string // without the heading
}

// heading is that of a released version, by keepachangelog.com and semver.org.
var heading = regexp.MustCompile(`^## \[(\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?)\] - \d{4}-\d{2}-\d{2}$`)

const unreleased = "## [Unreleased]"

// readChangelog returns the sections of released versions, the newest first.
func readChangelog(root string) ([]section, error) {
	data, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		return nil, err
	}
	var sections []section
	released := false
	for line := range strings.Lines(string(data)) {
		title := strings.TrimSpace(line)
		switch match := heading.FindStringSubmatch(title); {
		case match != nil:
			sections, released = append(sections, section{version: "v" + match[1]}), true
		case title == unreleased && len(sections) == 0:
		case strings.HasPrefix(line, "## "):
			return nil, fmt.Errorf("CHANGELOG.md: %q is not the heading of a version; it has the form %q, and above all of them may be %q",
				title, "## [0.1.0] - 2026-01-31", unreleased)
		case released:
			sections[len(sections)-1].text += line
		}
	}
	if len(sections) == 0 {
		return nil, errors.New("CHANGELOG.md has no released version")
	}
	for i, s := range sections {
		sections[i].text = strings.TrimSpace(s.text)
		if sections[i].text == "" {
			return nil, fmt.Errorf("CHANGELOG.md says nothing of %s", s.version)
		}
	}
	return sections, nil
}

// notes are the changelog's words on a version, which must be the newest.
func notes(root, version string) (string, error) {
	sections, err := readChangelog(root)
	if err != nil {
		return "", err
	}
	newest := sections[0]
	if version == newest.version {
		return newest.text, nil
	}
	for _, s := range sections {
		if s.version == version {
			return "", fmt.Errorf("version %s: CHANGELOG.md has a newer one, %s, and so this commit is not %[1]s; check out the tag %[1]s (git checkout %[1]s)", version, newest.version)
		}
	}
	return "", fmt.Errorf("version %q is not in CHANGELOG.md, whose newest is %s: give that one, or write a section for it first", version, newest.version)
}
