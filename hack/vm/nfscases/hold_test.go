//go:build vm

package nfscases

import (
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// held is what keeps packets of the second client from the server. The client's
// TCP repeats what is dropped, so that a call which was held is delivered after the
// release, however long that takes: it is on its way.
type held struct {
	e        exported
	released bool
}

// hold holds back every packet that the second client sends.
func (e exported) hold() *held {
	e.t.Helper()
	return e.holdBy("1,6 0 0 2")
}

// holdRename holds back the packet that renames an entry of this name, in which the
// other names are too, and all that follow it; what the client sends before passes.
func (e exported) holdRename(name string, others ...string) *held {
	e.t.Helper()
	const renameV3, renameV4 = 14, 29
	return e.holdCall(renameV3, []uint32{renameV4}, append([]string{name}, others...)...)
}

// holdMkdir does the same with the packet that makes a directory of this name.
func (e exported) holdMkdir(name string) *held {
	e.t.Helper()
	const mkdirV3, createV4, directory = 9, 6, 2
	return e.holdCall(mkdirV3, []uint32{createV4, directory}, name)
}

// holdCall holds back the call of a procedure of NFSv3, and of an operation of NFSv4,
// which the first name follows.
func (e exported) holdCall(procedure uint32, operation []uint32, names ...string) *held {
	e.t.Helper()
	const program = 100003
	var rows [][]uint32
	for _, name := range names {
		rows = append(rows, xdr(name))
	}
	if version, _ := setting(e.t); version == "v3" {
		return e.holdBy(dropIf(append(rows, []uint32{program, 3, procedure})...))
	}
	rows[0] = append(operation, rows[0]...)
	return e.holdBy(dropIf(rows...))
}

// xdr is how a text begins in a call: its length, and as many of its bytes in words as
// tell one name from another and leave the program short enough for tc.
func xdr(text string) []uint32 {
	const longest = 5
	words := []uint32{uint32(len(text))}
	for rest := []byte(text); len(rest) > 0 && len(words) < longest; {
		word := make([]byte, 4)
		rest = rest[copy(word, rest):]
		words = append(words, binary.BigEndian.Uint32(word))
	}
	return words
}

// holdBy attaches a classic BPF program, as tc writes it.
func (e exported) holdBy(program string) *held {
	e.t.Helper()
	h := &held{e: e}
	e.t.Cleanup(h.release)
	e.shell(`modprobe -a sch_ingress cls_bpf && tc -n "$other" qdisc add dev there clsact &&
		tc -n "$other" filter add dev there egress bpf direct-action bytecode "$1"`, program)
	return h
}

// wait waits until a packet was held back, and a moment more for others.
func (h *held) wait() {
	h.e.t.Helper()
	dropped := regexp.MustCompile(`qdisc clsact .*\n.*\(dropped ([1-9])`)
	eventually(h.e.t, "a packet is held back", func() error {
		if out := h.e.shell(`tc -n "$other" -s qdisc show dev there`); !dropped.MatchString(out) {
			return errors.New(out)
		}
		return nil
	})
	time.Sleep(500 * time.Millisecond)
}

// release lets everything pass; what was held is delivered when the client
// repeats it, seconds later. A second call does nothing.
func (h *held) release() {
	h.e.t.Helper()
	if !h.released {
		h.released = true
		h.e.shell(`tc -n "$other" qdisc del dev there clsact`)
	}
}

// dropIf returns a program that drops a packet in which each of the rows of words
// is found. XDR aligns everything to four bytes, and so do the headers before it.
func dropIf(rows ...[]uint32) string {
	const (
		first = 14 + 20 + 32 // Ethernet, IP, TCP with time stamps
		last  = first + 400

		load, jumpIfEqual, jump, end = 0x20, 0x15, 0x05, 0x06
	)
	var program []string
	add := func(code, yes, no int, k uint32) {
		program = append(program, fmt.Sprintf("%d %d %d %d", code, yes, no, k))
	}
	for _, row := range rows {
		size := 2*len(row) + 1 // of the comparison at one place
		for at := first; at < last; at += 4 {
			for i, word := range row {
				add(load, 0, 0, uint32(at+4*i)) // behind the packet's end the program ends: no match
				add(jumpIfEqual, 0, size-2*(i+1), word)
			}
			add(jump, 0, 0, uint32((last-at)/4*size-size+1)) // over the other places, and over what says no
		}
		add(end, 0, 0, 0)
	}
	add(end, 0, 0, 2) // TC_ACT_SHOT
	return fmt.Sprintf("%d,%s", len(program), strings.Join(program, ","))
}

// A held call arrives after the release, and only then; calls before it pass.
func TestAHeldRenameArrivesLate(t *testing.T) {
	e := export(t, "no_root_squash")
	c := e.second()
	must(t, c.act("mkdir", "data"))
	h := e.holdRename("data")
	must(t, c.act("mkdir", "other"))
	must(t, c.act("rename", "other", "passes"))
	late := c.start("rename", "data", "aside")
	h.wait()
	wantExists(t, e.onServer("data"), true)
	h.release()
	must(t, late.wait())
	wantExists(t, e.onServer("data"), false)
	wantExists(t, e.onServer("aside"), true)

	h = e.hold()
	killed, waits := c.start("rename", "aside", "passes/far"), c.start("mkdir", "near")
	h.wait()
	killed.kill()
	wantExists(t, e.onServer("near"), false)
	h.release()
	must(t, waits.wait())
	_ = killed.wait()
	wantExists(t, e.onServer("near"), true)
}
