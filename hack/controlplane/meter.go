package controlplane

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"
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

// left says how long the rest takes, if it goes on as until now, and nothing while there
// is too little to tell it by. It is at most that long: what Go's cache holds is not
// compiled again. The programs are linked last, each by one core.
func (m *meter) left(elapsed time.Duration) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.total == 0 || m.compiled <= m.total/20:
		return ""
	case m.compiled >= m.total:
		return ", the last programs are linked"
	}
	rest := elapsed * time.Duration(m.total-m.compiled) / time.Duration(m.compiled)
	if rest < time.Minute {
		return ", less than a minute left"
	}
	minutes := int(rest.Round(time.Minute) / time.Minute)
	if minutes == 1 {
		return ", at most about 1 minute left"
	}
	return fmt.Sprintf(", at most about %d minutes left", minutes)
}

func (m *meter) tail() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return string(m.last)
}
