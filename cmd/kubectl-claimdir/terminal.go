package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/term"
	"k8s.io/client-go/tools/remotecommand"
)

// terminal is that of the user.
type terminal struct{ in, out int } // file descriptors

// terminalOf returns nil unless both are a terminal: of one that is redirected, the user would not see the question.
func terminalOf(in, out *os.File) *terminal {
	t := &terminal{int(in.Fd()), int(out.Fd())}
	if !term.IsTerminal(t.in) || !term.IsTerminal(t.out) {
		return nil
	}
	return t
}

// raw hands keys on as they are pressed, Ctrl-C too: the terminal in the pod treats them. restore ends that.
func (t *terminal) raw() (restore func(), err error) {
	state, err := term.MakeRaw(t.in)
	if err != nil {
		return nil, fmt.Errorf("prepare the terminal: %w", err)
	}
	return func() { _ = term.Restore(t.in, state) }, nil
}

// sizes tells the size of the terminal once, at the start: claimdir asks for it then alone.
func (t *terminal) sizes(ctx context.Context) remotecommand.TerminalSizeQueue {
	width, height, err := term.GetSize(t.out)
	if err != nil || width <= 0 || height <= 0 {
		return nil
	}
	sizes := make(sizeQueue, 1)
	sizes <- remotecommand.TerminalSize{Width: uint16(min(width, maxSize)), Height: uint16(min(height, maxSize))}
	context.AfterFunc(ctx, func() { close(sizes) })
	return sizes
}

const maxSize = 1<<16 - 1

type sizeQueue chan remotecommand.TerminalSize

// Next implements remotecommand.TerminalSizeQueue.
func (q sizeQueue) Next() *remotecommand.TerminalSize {
	size, ok := <-q
	if !ok {
		return nil
	}
	return &size
}
