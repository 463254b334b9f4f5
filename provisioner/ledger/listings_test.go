package ledger

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// world of listings that take a second each, and say when they began.
type slowListing struct {
	listings

	begun time.Time
	mu    sync.Mutex
	made  int
	fails bool
}

func (s *slowListing) list() ([]string, error) {
	s.mu.Lock()
	s.made++
	s.mu.Unlock()
	at := time.Since(s.begun)
	time.Sleep(time.Second)
	if s.fails {
		return nil, errors.New("no")
	}
	return []string{at.String()}, nil
}

func forEver(done <-chan struct{}) error { <-done; return nil }

func TestAListingIsSharedByThoseThatAskedBeforeItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowListing{begun: time.Now()}
		var all sync.WaitGroup
		ask := func(at time.Duration, n int, want string) {
			for range n {
				all.Go(func() {
					time.Sleep(at)
					keys, err := s.share(s.list, forEver)
					if err != nil || fmt.Sprint(keys) != "["+want+"]" {
						t.Errorf("asked at %s: a listing that began at %v, %v; want %s", at, keys, err, want)
					}
				})
			}
		}
		ask(0, 1, "0s")
		ask(100*time.Millisecond, 10, "1s")
		ask(900*time.Millisecond, 10, "1s")
		ask(1100*time.Millisecond, 10, "2s")
		ask(5*time.Second, 1, "5s")
		all.Wait()
		if s.made != 4 {
			t.Errorf("%d listings were made, want 4", s.made)
		}
	})
}

// An operation may be given up, or fail, for reasons of its own.
func TestAListingOfAnotherOperationMayFail(t *testing.T) {
	errGivenUp := errors.New("given up")
	synctest.Test(t, func(t *testing.T) {
		s, failing := &slowListing{begun: time.Now()}, &slowListing{fails: true}
		var all sync.WaitGroup
		all.Go(func() { _, _ = s.share(failing.list, forEver) })
		all.Go(func() { // leads the next listing, and does not live to make it
			time.Sleep(100 * time.Millisecond)
			if _, err := s.share(s.list, func(<-chan struct{}) error { return errGivenUp }); !errors.Is(err, errGivenUp) {
				t.Error(err)
			}
		})
		all.Go(func() {
			time.Sleep(200 * time.Millisecond)
			if keys, err := s.share(s.list, forEver); err != nil || keys[0] != "1s" {
				t.Errorf("asked after that: %v, %v", keys, err)
			}
		})
		all.Go(func() {
			time.Sleep(1100 * time.Millisecond)
			if keys, err := s.share(s.list, forEver); err != nil || keys[0] != "2s" {
				t.Errorf("asked later: %v, %v", keys, err)
			}
		})
		all.Wait()

		begun := make(chan struct{})
		all.Go(func() {
			defer func() { _ = recover() }()
			_, _ = s.share(func() ([]string, error) { close(begun); time.Sleep(time.Second); panic("the operation is cut off") }, forEver)
		})
		<-begun
		for range 2 {
			all.Go(func() {
				if keys, err := s.share(s.list, forEver); err != nil || len(keys) != 1 {
					t.Errorf("asked beside one that panics: %v, %v", keys, err)
				}
			})
		}
		all.Wait()
	})
}
