package provisioner

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"claimdir/provisioner/sharetest"
)

// Claims are served while the records of layout 1 are converted. CLAIMDIR_TEST_RECORDS says
// how many there are; the promise is for 100,000.
func TestClaimsAreServedWhileRecordsAreConverted(t *testing.T) {
	records := times(3000, 300)
	if n, err := strconv.Atoi(os.Getenv("CLAIMDIR_TEST_RECORDS")); err == nil {
		records = n
	}
	dir := t.TempDir()
	for _, name := range []string{"volumes", "trash", "parents"} {
		must(t, os.MkdirAll(dir+"/.claimdir/"+name, 0o700))
	}
	must(t, os.WriteFile(dir+"/.claimdir/share.json", []byte(`{"layout":1,"id":"share-1"}`), 0o600))
	for i := range records {
		text := fmt.Sprintf(`{"layout":1,"state":"active","path":"data-%d","pv":"pvc-%d","claim":{"namespace":"ns","name":"data"},"cluster":"other"}`, i, i)
		must(t, os.WriteFile(fmt.Sprintf("%s/.claimdir/volumes/data-%d.json", dir, i), []byte(text), 0o600))
	}
	w := worldOn(sharetest.NewWorldIn(t, dir))
	converted := make(chan time.Duration)
	go func() {
		began := time.Now()
		w.Start(t.Context())
		converted <- time.Since(began)
	}()
	var took []time.Duration
	for n := 0; ; n++ {
		select {
		case all := <-converted:
			if len(took) < 3 {
				t.Fatalf("only %d claims were served in the %v that the conversion took", len(took), all)
			}
			slices.Sort(took)
			t.Logf("%d records converted in %v; %d claims meanwhile, half of them within %v, the slowest in %v",
				records, all.Round(time.Millisecond), len(took), took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
			if slowest := took[len(took)-1]; slowest > 10*time.Second {
				t.Errorf("a claim waited %v", slowest)
			}
			return
		default:
			began := time.Now()
			w.provision(t, options("ns/new", fmt.Sprint("pvc-new-", n), at(fmt.Sprint("new-", n))))
			took = append(took, time.Since(began))
		}
	}
}
