package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// exec runs a.program for the plugin, which speaks websockets or, if the server does not, SPDY.
func (a *api) exec(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	c := &call{pod: r.PathValue("namespace") + "/" + r.PathValue("pod"), container: q.Get("container"), args: q["command"], tty: q.Get("tty") == "true"}
	a.mu.Lock()
	a.calls = append(a.calls, c)
	a.mu.Unlock()
	stdin := q.Get("stdin") == "true"
	var status io.Writer
	var done func()
	switch {
	case !wsstream.IsWebSocketRequest(r):
		status, done = a.overSPDY(w, r, c, stdin)
	case a.noWebsocket: // something on the way does not know it
		http.Error(w, "no upgrade", http.StatusBadRequest)
		a.mu.Lock()
		a.calls = a.calls[:len(a.calls)-1]
		a.mu.Unlock()
		return
	default:
		status, done = a.overWebsocket(w, r, c, stdin)
	}
	defer done()
	answer := metav1.Status{Status: metav1.StatusSuccess}
	if code := a.program(c); code != 0 {
		answer = metav1.Status{
			Status: metav1.StatusFailure, Reason: remotecommand.NonZeroExitCodeReason, Message: "it failed",
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: remotecommand.ExitCodeCauseType, Message: fmt.Sprint(code)}}},
		}
	}
	if err := json.NewEncoder(status).Encode(answer); err != nil {
		a.t.Error(err)
	}
}

func (a *api) overWebsocket(w http.ResponseWriter, r *http.Request, c *call, stdin bool) (status io.Writer, done func()) {
	channels := []wsstream.ChannelType{wsstream.IgnoreChannel, wsstream.WriteChannel, wsstream.WriteChannel, wsstream.WriteChannel, wsstream.ReadChannel}
	if stdin {
		channels[remotecommand.StreamStdIn] = wsstream.ReadChannel
	}
	conn := wsstream.NewConn(map[string]wsstream.ChannelProtocolConfig{remotecommand.StreamProtocolV5Name: {Binary: true, Channels: channels}})
	_, streams, err := conn.Open(w, r)
	if err != nil {
		a.t.Error(err)
	}
	if stdin {
		c.stdin = streams[remotecommand.StreamStdIn]
	}
	c.stdout, c.stderr, c.sizes = streams[remotecommand.StreamStdOut], streams[remotecommand.StreamStdErr], streams[remotecommand.StreamResize]
	return streams[remotecommand.StreamErr], func() { _ = conn.Close() }
}

func (a *api) overSPDY(w http.ResponseWriter, r *http.Request, c *call, stdin bool) (status io.Writer, done func()) {
	if _, err := httpstream.Handshake(r, w, []string{remotecommand.StreamProtocolV4Name}); err != nil {
		a.t.Error(err)
	}
	arrived := make(chan httpstream.Stream, 5)
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(stream httpstream.Stream, _ <-chan struct{}) error {
		arrived <- stream
		return nil
	})
	missing := 3
	if stdin {
		missing++
	}
	for ; missing > 0; missing-- {
		select {
		case stream := <-arrived:
			switch stream.Headers().Get("streamType") {
			case "stdin":
				c.stdin = stream
			case "stdout":
				c.stdout = stream
			case "stderr":
				c.stderr = stream
			case "error":
				status = stream
			}
		case <-time.After(30 * time.Second):
			a.t.Error("the streams do not come")
			return io.Discard, func() {}
		}
	}
	return status, func() { _ = conn.Close() }
}
