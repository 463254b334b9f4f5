package copies

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"claimdir/provisioner/ledger"
	"claimdir/provisioner/share"
	"claimdir/provisioner/sharetest"
	"claimdir/provisioner/volpath"
)

func sleep(milliseconds int) { time.Sleep(time.Duration(milliseconds) * time.Millisecond) }

// quick has no limits, slow lets a copy of a hundred files take a minute of synctest.
var (
	quick = Config{AtOnce: 1, Workers: 4}
	slow  = Config{AtOnce: 1, Workers: 4, Rate: 20}
)

func TestAJobCopiesAndIsComplete(t *testing.T) {
	inTime(t, quick, func(t *testing.T, w *world) {
		names := w.files("data", 5)
		var result share.Copied
		var total share.Usage
		job := w.job("ns", "data", func(j *Job) {
			complete, begin := j.Complete, j.Begin
			j.Begin = func(ctx context.Context, source share.Usage) error { total = source; return begin(ctx, source) }
			j.Complete = func(ctx context.Context, r share.Copied) error { result = r; return complete(ctx, r) }
		})
		w.starts(job)
		synctest.Wait()
		w.has("data ends")
		w.was("data begins", "data is complete", "data ends")
		if got := w.copied(job); !slices.Equal(got, names) {
			t.Errorf("the copy has %q, want %q", got, names)
		}
		if result.Files != 5 || total.Files != 5 {
			t.Errorf("copied %+v of %+v", result, total)
		}
		m := w.metrics
		if files, runs := testutil.ToFloat64(m.files.WithLabelValues("")), testutil.ToFloat64(m.running.WithLabelValues("")); files != 5 || runs != 0 {
			t.Errorf("the metrics count %v files, and %v copies that run", files, runs)
		}
		var bytes float64
		for _, method := range []string{"clone", "server", "read"} {
			bytes += testutil.ToFloat64(m.bytes.WithLabelValues("", method))
		}
		if want := float64(result.Cloned + result.Server + result.Read); bytes != want || bytes == 0 {
			t.Errorf("the metrics count %v bytes, want %v", bytes, want)
		}
	})
}

func TestAJobThatRunsIsNotStartedAgain(t *testing.T) {
	inTime(t, slow, func(t *testing.T, w *world) {
		w.files("data", 50)
		job := w.job("ns", "data")
		w.starts(job)
		w.has("data begins")
		if !w.Runs(w.Keeper, job.Name) || w.Runs(w.Keeper, "another") {
			t.Error("it does not say what runs")
		}
		w.starts(job)
		w.has("data ends")
		sleep(60_000)
		w.was("data begins", "data: "+w.progress(), "data is complete", "data ends")
		if w.Runs(w.Keeper, job.Name) {
			t.Error("it says that a job runs that has ended")
		}
		w.starts(job) // now it is another one
		w.has("data ends")
	})
}

// progress returns the last text about the progress.
func (w *world) progress() (text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, did := range w.did {
		if _, told, is := strings.Cut(did, ": "); is {
			text = told
		}
	}
	return text
}

func TestOnlySomeJobsRunAtATimeAndNamespacesTakeTurns(t *testing.T) {
	inTime(t, Config{AtOnce: 2, Workers: 1, Rate: 1000}, func(t *testing.T, w *world) {
		running, most := 0, 0
		observed := func(j *Job) {
			begin, complete := j.Begin, j.Complete
			j.Begin = func(ctx context.Context, u share.Usage) error {
				w.mu.Lock()
				running++
				most = max(most, running)
				w.mu.Unlock()
				return begin(ctx, u)
			}
			j.Complete = func(ctx context.Context, r share.Copied) error {
				w.mu.Lock()
				running--
				w.mu.Unlock()
				return complete(ctx, r)
			}
		}
		for _, name := range []string{"a1", "a2", "a3", "a4", "b1"} {
			w.files(name, 30)
			w.starts(w.job(name[:1], name, observed))
		}
		w.has("a4 ends")
		var order []string
		for _, did := range w.done() {
			if name, is := strings.CutSuffix(did, " begins"); is {
				order = append(order, name)
			}
		}
		if most != 2 {
			t.Errorf("%d jobs ran at a time, want 2", most)
		}
		if len(order) != 5 || slices.Index(order, "b1") > 3 { // two of a ran already, and a third one was next
			t.Errorf("the jobs began in the order %q; a's did not make way for b's", order)
		}
	})
}

func TestALongJobMakesWayForOthersAndGoesOn(t *testing.T) {
	inTime(t, slow, func(t *testing.T, w *world) {
		names := w.files("long", 3000)
		w.files("short", 3)
		var result share.Copied
		long := w.job("a", "long", func(j *Job) {
			complete := j.Complete
			j.Complete = func(ctx context.Context, r share.Copied) error { result = r; return complete(ctx, r) }
		})
		began := time.Now()
		w.starts(long)
		w.has("long begins")
		same := w.job("a", "short", func(j *Job) { j.Name = volpath.OwnAt("pvc-same", sharetest.Cluster, sharetest.PathOf(t, "same")) })
		w.starts(same) // its own namespace's does not let it make way
		sleep(2 * int(turn/time.Millisecond))
		if w.count("short begins") > 0 {
			t.Error("a job made way for one of its own namespace")
		}
		w.starts(w.job("b", "short"))
		w.has("short ends")
		if w.count("long ends") > 0 {
			t.Fatal("the long job was not long enough to show anything")
		}
		if ran := time.Since(began); ran > 3*turn {
			t.Errorf("the short job waited for %v", ran)
		}
		w.has("long ends")
		if got := w.copied(long); !slices.Equal(got, names) {
			t.Errorf("the copy has %d files, want %d", len(got), len(names))
		}
		if result.Found == 0 || w.count("long begins") < 2 {
			t.Errorf("it did not go on: %+v after %d turns", result, w.count("long begins"))
		}
		told := false
		for _, did := range w.done() {
			told = told || strings.HasPrefix(did, "long: copied ") && strings.HasSuffix(did, "; it makes way for other copies in between")
		}
		if !told {
			t.Error("nobody was told that it makes way")
		}
	})
}

// Jobs that take long, however many turns they have had and however many they are, keep no new one waiting, and go on beside
// new ones.
func TestLongJobsKeepNoNewOneWaiting(t *testing.T) {
	two := slow
	two.AtOnce = 2
	inTime(t, two, func(t *testing.T, w *world) {
		for _, name := range []string{"long-a", "long-b"} {
			w.files(name, 3000)
			w.starts(w.job(name, name))
		}
		for i := range 6 {
			short := fmt.Sprintf("short-%d", i)
			w.files(short, 3)
			began := time.Now()
			w.starts(w.job(short, short))
			w.has(short + " ends")
			if waited := time.Since(began); i < 2 && waited > 2*turn || i >= 2 && waited > time.Minute {
				t.Errorf("%s waited for %v", short, waited)
			}
		}
		if w.count("long-a ends")+w.count("long-b ends") > 0 {
			t.Fatal("the long jobs were not long enough to show anything")
		}
		w.has("long-a ends")
		w.has("long-b ends")
	})
}

func TestAJobAloneNeedsNotMakeWay(t *testing.T) {
	inTime(t, slow, func(t *testing.T, w *world) {
		w.files("long", 3000)
		began := time.Now()
		w.starts(w.job("a", "long"))
		w.has("long ends")
		if ran := time.Since(began); ran < 2*turn || w.count("long begins") != 1 {
			t.Errorf("it ran %v in %d turns", ran, w.count("long begins"))
		}
	})
}

func TestAJobThatFailedIsStartedAgainAfterATimeThatGrows(t *testing.T) {
	inTime(t, quick, func(t *testing.T, w *world) {
		w.files("data", 1)
		failure := errors.New("no luck")
		job := w.job("ns", "data", func(j *Job) {
			j.Begin = func(context.Context, share.Usage) error { w.note("data begins"); return failure }
		})
		for _, wait := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
			w.starts(job)
			w.has("data ends: no luck")
			w.done()
			if err := w.Start(job); !errors.Is(err, failure) {
				t.Errorf("Start says %v, want why it failed", err)
			}
			time.Sleep(wait - 200*time.Millisecond)
			if err := w.Start(job); !errors.Is(err, failure) {
				t.Errorf("it was started again before %v", wait)
			}
			time.Sleep(200 * time.Millisecond)
			w.was()
		}
		for range 20 {
			time.Sleep(retryMost)
			w.starts(job)
			w.has("data ends: no luck")
			w.done()
		}
		time.Sleep(retryMost)
		w.starts(job) // the time does not grow for ever
		w.has("data ends: no luck")
		w.Forget(w.Keeper, job.Name)
		job.Begin = w.job("ns", "data").Begin
		w.starts(job) // at once
		w.has("data is complete")
		if err := w.Start(job); err != nil {
			t.Errorf("the failure is not forgotten: %v", err)
		}
		w.has("data ends")
	})
}

func TestAJobThatNobodyWantsEndsAtOnce(t *testing.T) {
	inTime(t, slow, func(t *testing.T, w *world) {
		w.files("data", 1000)
		unwanted := errors.New("nobody wants it")
		wanted := make(chan struct{})
		job := w.job("ns", "data", func(j *Job) {
			j.Wanted = func(context.Context) error {
				select {
				case <-wanted:
					return unwanted
				default:
					return nil
				}
			}
		})
		w.starts(job)
		w.has("data begins")
		sleep(5000)
		close(wanted)
		ended := time.Now()
		w.has("data ends: nobody wants it")
		if took := time.Since(ended); took > 3*time.Second {
			t.Errorf("it ended after %v", took)
		}
		if w.count("data is complete") > 0 || len(w.copied(job)) == 0 {
			t.Error("what was copied is gone, or called complete")
		}
		w.Forget(w.Keeper, job.Name)
		w.done()
		w.starts(job) // also before anything is read
		w.has("data ends: nobody wants it")
		w.was("data ends: nobody wants it")
	})
}

// A copy that is whole in the very moment in which nobody wants it any more is not completed.
func TestWhatNobodyWantsIsNotCompleted(t *testing.T) {
	inTime(t, slow, func(t *testing.T, w *world) {
		w.files("data", 1)
		unwanted := errors.New("nobody wants it")
		looks := 0
		gone := false
		job := w.job("ns", "data", func(j *Job) {
			find := j.Find
			j.Find = func(ctx context.Context, store ledger.Store) (share.CopyFrom, error) {
				if looks++; looks == 3 { // the last look at the source
					w.mu.Lock()
					gone = true
					w.mu.Unlock()
					sleep(10_000) // until it was asked
				}
				return find(ctx, store)
			}
			j.Wanted = func(context.Context) error {
				w.mu.Lock()
				defer w.mu.Unlock()
				if gone {
					return unwanted
				}
				return nil
			}
		})
		w.starts(job)
		w.has("data ends: nobody wants it")
		if w.count("data is complete") > 0 {
			t.Error("it was completed")
		}
	})
}

func TestAStopKeepsWhatIsCopiedAndEndsNothing(t *testing.T) {
	inTime(t, slow, func(t *testing.T, w *world) {
		names := w.files("data", 200)
		var result share.Copied
		job := w.job("ns", "data", func(j *Job) {
			complete := j.Complete
			j.Complete = func(ctx context.Context, r share.Copied) error { result = r; return complete(ctx, r) }
		})
		other := w.job("ns", "other")
		w.starts(job)
		w.starts(other) // waits
		w.has("data begins")
		sleep(8000)
		stopped := time.Now()
		w.stop()
		if took := time.Since(stopped); took > time.Second {
			t.Errorf("the stop took %v", took)
		}
		for _, did := range w.done() {
			if did != "data begins" && !strings.HasPrefix(did, "data: copied ") {
				t.Errorf("the stop called a hook: %s", did)
			}
		}
		if n := len(w.copied(job)); n == 0 || n == len(names) {
			t.Fatalf("%d files are copied", n)
		}
		w.start(slow)
		w.starts(job)
		w.has("data ends")
		if got := w.copied(job); !slices.Equal(got, names) || result.Found == 0 {
			t.Errorf("the next process has %d files, of which it found %d", len(got), result.Found)
		}
	})
}

func TestASourceThatIsGoneWhenTheCopyIsMadeFailsIt(t *testing.T) {
	inTime(t, quick, func(t *testing.T, w *world) {
		w.files("data", 3)
		looks := 0
		job := w.job("ns", "data", func(j *Job) {
			find := j.Find
			j.Find = func(ctx context.Context, store ledger.Store) (share.CopyFrom, error) {
				if looks++; looks == 3 {
					return share.CopyFrom{}, errors.New("released meanwhile")
				}
				return find(ctx, store)
			}
		})
		w.starts(job)
		w.has("data ends: released meanwhile")
		w.was("data begins", "data ends: released meanwhile")
	})
}

// A source on another share that hangs, and is lost, keeps no place of the share that it is copied to.
func TestASourceThatHangsHoldsNobodyUp(t *testing.T) {
	elsewhere := t.TempDir()
	inTime(t, quick, func(t *testing.T, w *world) {
		other := sharetest.NewWorldIn(t, elsewhere)
		other.Tree(t, "far/file", "far/file2")
		w.files("near", 3)
		gate := make(chan struct{})
		w.starts(w.job("ns", "far", func(j *Job) {
			j.From = other.Keeper
			j.Begin = func(context.Context, share.Usage) error {
				other.Hook(func(_ string, call func() error) error {
					<-gate
					return call()
				})
				return os.Rename(elsewhere+"/.claimdir", elsewhere+"/gone") // which the keeper sees: it does not use the hook
			}
		}))
		synctest.Wait()
		w.starts(w.job("ns", "near")) // waits for the only place
		sleep(5 * 60_000)
		if w.count("near is complete") != 1 {
			t.Errorf("the hooks were called for %q", w.did)
		}
		close(gate)
		other.End()
	})
}

func TestASourceThatIsAnotherDirectoryIsNotCopied(t *testing.T) {
	inTime(t, quick, func(t *testing.T, w *world) {
		w.files("data", 3)
		w.files("another", 2)
		another, err := w.Store(t).Dirs.Identify(sharetest.PathOf(t, "another"))
		sharetest.Must(t, err)
		job := w.job("ns", "data", func(j *Job) {
			j.Find = func(context.Context, ledger.Store) (share.CopyFrom, error) {
				return share.CopyFrom{Path: sharetest.PathOf(t, "data"), Identity: another}, nil
			}
		})
		w.starts(job)
		synctest.Wait()
		sleep(1000)
		if did := w.done(); len(did) != 1 || !strings.HasPrefix(did[0], "data ends: ") || len(w.copied(job)) > 0 {
			t.Errorf("the hooks were called for %q, and %q was copied", did, w.copied(job))
		}
	})
}

// A bug that one copy triggers must not end the process, leader after leader.
func TestAPanicInAHookEndsOnlyTheJob(t *testing.T) {
	panics := func() { panic("a bug") }
	for hook, breaks := range map[string]func(*Job){
		"Find": func(j *Job) {
			j.Find = func(context.Context, ledger.Store) (share.CopyFrom, error) { panics(); return share.CopyFrom{}, nil }
		},
		"Begin":    func(j *Job) { j.Begin = func(context.Context, share.Usage) error { panics(); return nil } },
		"Complete": func(j *Job) { j.Complete = func(context.Context, share.Copied) error { panics(); return nil } },
		"Progress": func(j *Job) { j.Progress = func(string) { panics() } },
		"Wanted, later": func(j *Job) {
			asked := 0
			j.Wanted = func(context.Context) error {
				if asked++; asked > 1 {
					panics()
				}
				return nil
			}
		},
		"Wanted": func(j *Job) { j.Wanted = func(context.Context) error { panics(); return nil } },
	} {
		t.Run(hook, func(t *testing.T) {
			inTime(t, slow, func(t *testing.T, w *world) {
				w.files("data", 200)
				w.files("next", 1)
				w.starts(w.job("ns", "data", breaks))
				w.starts(w.job("ns", "next"))
				w.has("data ends: panic: a bug")
				w.has("next ends")
			})
		})
	}
	t.Run("Ended", func(t *testing.T) {
		inTime(t, quick, func(t *testing.T, w *world) {
			w.files("data", 1)
			w.files("next", 1)
			w.starts(w.job("ns", "data", func(j *Job) { j.Ended = func(context.Context, error) { panics() } }))
			w.starts(w.job("ns", "next"))
			w.has("next ends")
		})
	})
}

func TestAJobBetweenTwoShares(t *testing.T) {
	from := t.TempDir()
	inTime(t, slow, func(t *testing.T, w *world) {
		source := sharetest.NewWorldIn(t, from)
		for _, name := range []string{"a", "b", "c"} {
			source.Tree(t, "data/"+name)
		}
		job := w.job("ns", "data", func(j *Job) { j.From = source.Keeper })
		w.starts(job)
		w.has("data ends")
		w.was("data begins", "data is complete", "data ends")
		if got := w.copied(job); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("the copy has %q", got)
		}
	})
}

// What Begin waits for makes no calls to the share, which must not look as if it did not answer.
func TestABeginThatTakesLongIsNoTroubleOfTheShare(t *testing.T) {
	inTime(t, quick, func(t *testing.T, w *world) {
		w.files("data", 1)
		w.starts(w.job("ns", "data", func(j *Job) {
			j.Begin = func(context.Context, share.Usage) error {
				time.Sleep(5 * time.Minute) // the keeper gives up after one
				w.note("data begins")
				return nil
			}
		}))
		w.has("data ends")
		w.was("data: measuring what is to be copied", "data begins", "data is complete", "data ends")
	})
}

func TestTextsOfProgress(t *testing.T) {
	for want, tt := range map[string]struct {
		total        share.Usage
		bytes, files int64
		turns        int
	}{
		"copied 1.0Mi of 4.0Mi (25 %), 7 files of 9":                                  {share.Usage{Bytes: 4 << 20, Files: 9}, 1 << 20, 7, 0},
		"copied 1.0Mi of 4.0Mi (25 %), 7 files":                                       {share.Usage{Bytes: 4 << 20}, 1 << 20, 7, 0},
		"copied 9.0Mi of 4.0Mi (99 %), 7 files":                                       {share.Usage{Bytes: 4 << 20}, 9 << 20, 7, 0},
		"copied 0 of 0 (0 %), 0 files of 1; it makes way for other copies in between": {share.Usage{Files: 1}, 0, 0, 1},
		"copied 8192.0Pi of 8192.0Pi (99 %), 0 files":                                 {share.Usage{Bytes: 1<<63 - 1}, 1<<63 - 1, 0, 0},
	} {
		now := &seen{total: tt.total}
		now.progress.Bytes.Store(tt.bytes)
		now.progress.Files.Store(tt.files)
		task := &task{turns: tt.turns}
		if text := task.text(); text != "measuring what is to be copied" {
			t.Errorf("before it has begun it says %q", text)
		}
		task.seen.Store(now)
		if text := task.text(); text != want {
			t.Errorf("it says %q, want %q", text, want)
		}
	}
}
