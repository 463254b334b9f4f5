package controlplane

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
)

// meterTail is how much of what go said an error carries.
const meterTail = 4096

// meter is go's standard error: it counts the modules fetched and the packages
// compiled, which `go build -v` names one a line, and keeps the end of it all.
type meter struct {
	total int // packages that the build takes part in; 0 while only fetching

	mu                sync.Mutex
	fetched, compiled int
	rest              []byte // line that has not ended yet
	last              []byte
}

// Write never fails.
func (m *meter) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = append(m.last, p...)
	m.last = m.last[max(0, len(m.last)-meterTail):]
	m.rest = append(m.rest, p...)
	for {
		line, rest, ended := bytes.Cut(m.rest, []byte("\n"))
		if !ended {
			return len(p), nil
		}
		m.count(string(line))
		m.rest = rest
	}
}

func (m *meter) count(line string) {
	switch {
	case strings.HasPrefix(line, "go: downloading "):
		m.fetched++
	case line != "" && !strings.ContainsAny(line, " \t#"):
		m.compiled++
	}
}

// String says how far it is.
func (m *meter) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.total == 0 {
		return fmt.Sprintf("%d modules fetched", m.fetched)
	}
	return fmt.Sprintf("%d of at most %d packages compiled", m.compiled, m.total)
}

func (m *meter) tail() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return string(m.last)
}
