package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func always() error { return nil }

func TestGateLetsNothingInOnceClosed(t *testing.T) {
	g := newGate(always)
	if !g.open() || !g.enter(opProvision, "a") {
		t.Fatal("a new gate does not let in")
	}
	g.close()
	g.close()
	if g.open() || g.enter(opProvision, "b") {
		t.Fatal("a closed gate lets in")
	}
}

func TestGateWaitsUntilItIsClosedAndIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(always)
		g.enter(opProvision, "a")
		g.enter(opDelete, "b")
		waited := make(chan error, 1)
		go func() { waited <- g.wait(t.Context()) }()
		waiting := func(step string) {
			t.Helper()
			synctest.Wait()
			if len(waited) > 0 {
				t.Fatalf("does not wait %s", step)
			}
		}
		g.leave(opDelete, "b")
		waiting("before it is closed")
		g.close()
		waiting("for a Provision")
		g.expectSave("a")
		g.leave(opProvision, "a")
		waiting("for a PersistentVolume to be saved")
		g.leave(opSave, "a")
		if err := <-waited; err != nil {
			t.Fatal(err)
		}
		g.leave(opSave, "a") // saved again
	})
}

func TestGateNamesWhatDoesNotEnd(t *testing.T) {
	g := newGate(always)
	g.enter(opProvision, "pvc-1")
	g.enter(opDelete, "pvc-2")
	g.close()
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	err := g.wait(ctx)
	if !errors.Is(err, reason) || !strings.Contains(fmt.Sprint(err), "2 operations still under way: [delete pvc-2 provision pvc-1]") {
		t.Error(err)
	}
	g.leave(opProvision, "pvc-1")
	g.leave(opDelete, "pvc-2")
	if err := g.wait(ctx); err != nil {
		t.Error("idle:", err)
	}
}

func TestGateKnowsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(always)
		start := time.Now()
		g.enter(opProvision, "a")
		time.Sleep(time.Minute) // of the bubble
		g.enter(opProvision, "b")
		g.expectSave("c")
		count, oldest := g.ages()
		if count[opProvision] != 2 || count[opSave] != 1 || count[opDelete] != 0 {
			t.Error(count)
		}
		if !oldest[opProvision].Equal(start) || !oldest[opSave].Equal(start.Add(time.Minute)) {
			t.Error(oldest)
		}
	})
}

func TestGateFromManySides(t *testing.T) {
	g := newGate(always)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			name := fmt.Sprint(i)
			if g.enter(opProvision, name) {
				g.ages()
				g.expectSave(name)
				g.leave(opProvision, name)
				g.leave(opSave, name)
			}
		})
		all.Go(func() {
			if i == 25 {
				g.close()
			}
			g.open()
		})
	}
	if err := g.wait(t.Context()); err != nil {
		t.Error(err)
	}
	all.Wait()
	if count, _ := g.ages(); len(count) > 0 {
		t.Error("left under way:", count)
	}
}
