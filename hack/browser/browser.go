// Package browser drives Debian's headless Chromium, to see a page as a person does. It speaks the DevTools
// protocol over a pipe, as far as these tests need it.
package browser

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// Rebound is a name of a stranger that means 127.0.0.1 to the browser.
const Rebound = "rebound.example"

// Browser is a running Chromium with one tab.
type Browser struct {
	cmd     *exec.Cmd
	profile string
	in, out *os.File
	session string // of the tab
	said    bytes.Buffer

	mu       sync.Mutex
	last     int
	waiting  map[int]chan message
	problems []string
	requests []string
	ended    error
}

// message is what Chromium sends: an answer if ID is not 0, else an event.
type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// Start starts Chromium, which reaches loopback alone. End it with Close.
func Start(ctx context.Context) (*Browser, error) {
	program, err := exec.LookPath("chromium")
	if err != nil {
		return nil, errors.New("chromium is missing; install it: sudo apt-get install chromium")
	}
	profile, err := os.MkdirTemp("", "claimdir-browser-")
	if err != nil {
		return nil, err
	}
	b := &Browser{profile: profile, waiting: map[int]chan message{}}
	if err := b.start(ctx, program); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *Browser) start(ctx context.Context, program string) error {
	theirIn, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer theirIn.Close()
	out, theirOut, err := os.Pipe()
	if err != nil {
		return errors.Join(err, in.Close())
	}
	defer theirOut.Close()
	b.in, b.out = in, out
	args := []string{
		"--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + filepath.Join(b.profile, "data"), "--no-first-run", "--disable-gpu", "--disable-extensions",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb", "--disable-lcd-text",
		"--host-resolver-rules=MAP " + Rebound + " 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost", "about:blank",
	}
	if os.Getuid() == 0 {
		args = append([]string{"--no-sandbox"}, args...) // Chromium has none for root, and the page is ours
	}
	b.cmd = exec.CommandContext(ctx, program, args...)
	b.cmd.ExtraFiles = []*os.File{theirIn, theirOut}      // 3 and 4
	b.cmd.Env = append(os.Environ(), "TMPDIR="+b.profile) // it leaves files there
	b.cmd.Stdout, b.cmd.Stderr = &b.said, &b.said
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	b.cmd.Cancel = b.kill
	if err := b.cmd.Start(); err != nil {
		return fmt.Errorf("start chromium: %w", err)
	}
	go b.read()
	return b.openTab()
}

// openTab takes the tab that is open, and has all told that happens in it.
func (b *Browser) openTab() error {
	var targets struct {
		TargetInfos []struct{ TargetID, Type string }
	}
	if err := b.Call("Target.getTargets", nil, &targets); err != nil {
		return err
	}
	for _, target := range targets.TargetInfos {
		if target.Type != "page" {
			continue
		}
		var attached struct{ SessionID string }
		if err := b.Call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached); err != nil {
			return err
		}
		b.session = attached.SessionID
		for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
			if err := b.Call(domain+".enable", nil, nil); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("chromium has no tab among %+v", targets.TargetInfos)
}

// Call calls a method of the DevTools protocol, in the tab, and stores what it returns in result, if that is not
// nil.
func (b *Browser) Call(method string, params map[string]any, result any) error {
	answer := make(chan message, 1)
	b.mu.Lock()
	if b.ended != nil {
		b.mu.Unlock()
		return b.ended
	}
	b.last++
	id := b.last
	b.waiting[id] = answer
	b.mu.Unlock()
	data, err := json.Marshal(map[string]any{"id": id, "method": method, "params": params, "sessionId": b.session})
	if err != nil {
		return err
	}
	if _, err := b.in.Write(append(data, 0)); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	m, open := <-answer
	switch {
	case !open:
		return fmt.Errorf("%s: %w", method, b.ended)
	case m.Error != nil:
		return fmt.Errorf("%s: %s", method, m.Error.Message)
	case result == nil:
		return nil
	}
	return json.Unmarshal(m.Result, result)
}

// Evaluate runs a JavaScript expression in the tab and stores its value in result.
func (b *Browser) Evaluate(expression string, result any) error {
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	if err := b.Call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &answer); err != nil {
		return err
	}
	if answer.ExceptionDetails != nil {
		return errors.New(answer.ExceptionDetails.Exception.Description)
	}
	return json.Unmarshal(answer.Result.Value, result)
}

// Problems returns what the console, the page's policy and dialogs have said since the last call, and Requests
// the addresses that were asked for.
func (b *Browser) Problems() []string { return take(&b.mu, &b.problems) }

// Requests returns the addresses that the tab has asked for since the last call.
func (b *Browser) Requests() []string { return take(&b.mu, &b.requests) }

func take(mu *sync.Mutex, from *[]string) (all []string) {
	mu.Lock()
	defer mu.Unlock()
	all, *from = *from, nil
	return all
}

// read takes what Chromium sends until it ends.
func (b *Browser) read() {
	reader := bufio.NewReaderSize(b.out, 1<<20)
	for {
		data, err := reader.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.ended = fmt.Errorf("chromium has ended: %w\n%s", err, &b.said)
			for _, answer := range b.waiting {
				close(answer)
			}
			return
		}
		var m message
		if json.Unmarshal(data[:len(data)-1], &m) == nil {
			b.take(m)
		}
	}
}

func (b *Browser) take(m message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch m.Method {
	case "":
		if answer := b.waiting[m.ID]; answer != nil {
			delete(b.waiting, m.ID)
			answer <- m
		}
	case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening", "Network.loadingFailed":
		b.problems = append(b.problems, m.Method+": "+string(m.Params))
	case "Network.requestWillBeSent":
		var sent struct{ Request struct{ URL string } }
		_ = json.Unmarshal(m.Params, &sent) // an empty address is found by the test
		b.requests = append(b.requests, sent.Request.URL)
	}
}

// kill ends Chromium and all its processes.
func (b *Browser) kill() error { return syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL) }

// Close ends Chromium and removes what it has written.
func (b *Browser) Close() error {
	if b.cmd != nil && b.cmd.Process != nil {
		_ = b.kill() // it may have ended
		_ = b.cmd.Wait()
	}
	for _, pipe := range []*os.File{b.in, b.out} {
		if pipe != nil {
			_ = pipe.Close()
		}
	}
	return os.RemoveAll(b.profile)
}
