package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// hostile are names that are more than names to a browser or a terminal.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'><svg onload=alert(1)>`, `</style><script>alert(1)</script>`,
	`</title><script>alert(1)</script>`, `<!-- `, `--> <b>`, `javascript:alert(1)`, `{{.Style}}`, `&lt;b&gt;`, `a&amp;b`, "`${alert(1)}`",
	"\u202egnp.exe", "a\u200bb", "line\nbreak\r\x00\x1b[31mred", "\xff\xfe", "مرحبا", strings.Repeat("<x>", 5000), strings.Repeat("長", 300),
}

// full has each of the names in every place where a name or text can be.
func full(names []string) Data {
	d := Data{Version: names[0], Provisioner: names[0], Cluster: names[0], At: noon, Leads: true}
	s := Share{Name: names[0], Server: "nas", Path: "/", Size: 100 << 30, Free: 30 << 30, Volumes: 5, Requested: 70 << 30}
	for i, n := range names {
		d.Volumes.Rows = append(d.Volumes.Rows, Volume{Share: n, Name: n, Namespace: n, Claim: n, Size: Size{Requested: 1 << 30, Used: 1 << 20, Known: i%2 == 0}})
		d.Namespaces.Rows = append(d.Namespaces.Rows, Namespace{Name: n, Volumes: 2, Measured: 1, Size: Size{1 << 31, 1 << 21, true}})
		d.Refused.Rows = append(d.Refused.Rows, Refused{Namespace: n, Claim: n, Class: n, Reason: n, Text: n, Since: noon.Add(-time.Hour)})
		s.Archives.Ending.Rows = append(s.Archives.Ending.Rows, Archive{Share: n, Namespace: n, Claim: n, Path: n, Until: noon.Add(time.Duration(i) * time.Hour)})
		s.Findings.Rows = append(s.Findings.Rows, Finding{Share: n, Kind: n, Object: n, Problem: n, Remedy: n})
		d.Shares = append(d.Shares, Share{Name: n, Server: n, Path: n, Trouble: n, Findings: Findings{At: noon}, Archives: Archives{At: noon}, Trash: Trash{Known: true, Waiting: 2, Failing: 1, Reasons: n}})
	}
	s.Trash, s.Archives.At, s.Findings.At = Trash{Known: true}, noon, noon
	d.Shares = append(d.Shares, s)
	return d
}

func written(t *testing.T, d Data) string {
	t.Helper()
	var out bytes.Buffer
	if err := write(&out, d); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// tags returns all that a browser takes for markup, with its attributes.
func tags(page string) []string {
	page = strings.Replace(page, style, "", 1)
	return regexp.MustCompile(`<[^>]*>`).FindAllString(page, -1)
}

// What is markup on the page does not depend on the names.
func TestNamesAreText(t *testing.T) {
	plain := make([]string, len(hostile))
	for i := range plain {
		plain[i] = "name"
	}
	got, want := written(t, full(hostile)), written(t, full(plain))
	if a, b := tags(got), tags(want); !slices.Equal(a, b) {
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				t.Fatalf("markup number %d is %s, and with plain names %s", i, a[i], b[i])
			}
		}
		t.Fatalf("%d pieces of markup, and with plain names %d", len(a), len(b))
	}
	for _, n := range hostile {
		if !strings.Contains(html.UnescapeString(got), name(n)) {
			t.Errorf("%q is not shown as %q", n, name(n))
		}
	}
	for i, r := range got {
		if r != '\n' && r != '\t' && (r < ' ' || r == 0x7f || r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069) {
			t.Errorf("the page has %U: %q", r, got[max(0, i-30):i+5])
		}
	}
	if most := 300 << 10; len(got) > most {
		t.Errorf("the page has %d bytes", len(got))
	}
}

func TestNamesAreCutInTheMiddle(t *testing.T) {
	long := "begin" + strings.Repeat("x", 400) + "end"
	if got := name(long); len([]rune(got)) != longestName || !strings.HasPrefix(got, "begin") || !strings.HasSuffix(got, "end") {
		t.Errorf("%q", got)
	}
	if got := text(long); got != long {
		t.Errorf("a text of %d characters is cut: %q", len(long), got)
	}
}

// get asks the handler for / of localhost, unless change says otherwise.
func get(t *testing.T, h http.Handler, change func(*http.Request)) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost:8081/", nil)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestABrowserMayUseThePagesOwnStyleAndNothingElse(t *testing.T) {
	h := Handler(func() Data { return full(hostile) }, true)
	for _, path := range []string{"/", "/nothing"} {
		r := get(t, h, func(r *http.Request) { r.URL.Path = path })
		text := body(t, r)
		policy := r.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: %q lacks %s", path, policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "script-src") {
			t.Error(policy)
		}
		for header, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY", "Cache-Control": "no-store"} {
			if got := r.Header.Get(header); got != want {
				t.Errorf("%s: %s: %q", path, header, got)
			}
		}
		styles := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindAllStringSubmatch(text, -1)
		if path != "/" {
			continue
		}
		if len(styles) != 1 {
			t.Fatalf("%d styles", len(styles))
		}
		sum := sha256.Sum256([]byte(styles[0][1]))
		if !strings.Contains(policy, "style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
			t.Errorf("the style is not the one of %s", policy)
		}
		if strings.Contains(style, "url(") || strings.Contains(style, "@import") || regexp.MustCompile(`(src|href)="(https?:)?//`).MatchString(text) || strings.Contains(text, " style=") {
			t.Error("the page asks for something outside of it, or has a style that the policy forbids")
		}
	}
}

func TestOnlyThePageIsServed(t *testing.T) {
	calls := 0
	h := Handler(func() Data { calls++; return Data{At: noon} }, true)
	for _, c := range []struct {
		method, path string
		code         int
	}{
		{"GET", "/", 200}, {"HEAD", "/", 200}, {"GET", "/index.html", 404}, {"GET", "/metrics", 404}, {"GET", "/favicon.ico", 404},
		{"POST", "/", 405}, {"PUT", "/", 405}, {"DELETE", "/", 405}, {"OPTIONS", "/", 405}, {"POST", "/x", 404},
	} {
		r := get(t, h, func(r *http.Request) { r.Method, r.URL.Path = c.method, c.path })
		if r.StatusCode != c.code {
			t.Errorf("%s %s: %s", c.method, c.path, r.Status)
		}
	}
	if calls != 1 {
		t.Errorf("the data were gathered %d times", calls)
	}
}

// A page of a stranger may make a name of its own mean 127.0.0.1, and read what is there.
func TestOnLoopbackOnlyItsNamesAreServed(t *testing.T) {
	data := func() Data { return Data{At: noon} }
	for host, ok := range map[string]bool{
		"localhost": true, "localhost:8081": true, "LOCALHOST:1": true, "localhost.": true, "a.localhost:80": true, "127.0.0.1:8081": true, "127.9.9.9": true,
		"[::1]:8081": true, "[::1]": true, "::1": true, "evil.example:8081": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "10.0.0.1:8081": false,
		"": false, "evillocalhost": false, "[::2]:80": false, "0.0.0.0:8081": false,
	} {
		for _, local := range []bool{true, false} {
			want := http.StatusOK
			if local && !ok {
				want = http.StatusMisdirectedRequest
			}
			if r := get(t, Handler(data, local), func(r *http.Request) { r.Host = host }); r.StatusCode != want {
				t.Errorf("%q, on loopback %v: %s", host, local, r.Status)
			}
		}
	}
}

func TestTablesEndAndSayHowMuchMoreThereIs(t *testing.T) {
	d := full(slices.Repeat([]string{"name"}, 200))
	d.Volumes.Total, d.Namespaces.Total, d.Refused.Total, d.Refused.AtLeast = 1254, 321, 10_000, true
	d.Shares[0].Archives.Ending.Total, d.Shares[1].Findings.Total = 100_000, 7000
	page := written(t, d)
	rows := map[string]int{}
	for _, part := range regexp.MustCompile(`(?s)<section id="(\w+)".*?</section>`).FindAllStringSubmatch(page, -1) {
		rows[part[1]] = strings.Count(part[0], "<tr>") - 1
	}
	want := map[string]int{"shares": Entries, "refused": Entries, "volumes": Rows, "namespaces": Rows, "copies": -1, "trash": -1, "archives": Entries, "findings": Entries}
	if fmt.Sprint(rows) != fmt.Sprint(want) {
		t.Errorf("rows: %v, want %v", rows, want)
	}
	for _, want := range []string{"and 1,234 more", "and 301 more", "and at least 9,950 more", "and 151 more", "and 100,150 more", "and 7,150 more"} {
		if !strings.Contains(page, want) {
			t.Errorf("it does not say %s", want)
		}
	}
}

func TestCopiesAndSnapshotsAreCounted(t *testing.T) {
	at := func(count int, bytes int64) Snapshots { return Snapshots{noon, count, bytes} }
	for want, shares := range map[string][]Share{
		"<p>No copy is under way, and there is no snapshot.</p>":                                   {{Snapshots: at(0, 0)}},
		"1 copy runs, and 0 wait; 1 snapshot holds 1" + nbsp + "KiB.":                              {{Copies: Copies{Running: 1}, Snapshots: at(1, 1024)}},
		"<bdi>b</bdi>: 2 copies run, and 1 waits; 2,000 snapshots hold 3" + nbsp + "GiB.":          {{Name: "a", Snapshots: at(0, 0)}, {Name: "b", Copies: Copies{2, 1}, Snapshots: at(2000, 3<<30)}},
		"0 copies run, and 0 wait; 2 snapshots hold 0" + nbsp + "B.</p>\n<p>No copy is under way.": {{Snapshots: at(2, 0)}},
		"The snapshots of at least one share have not been counted yet.":                           {{Name: "a", Snapshots: at(0, 0)}, {Name: "b"}},
		`<a href="#copies"><b>7</b> copies under way</a>`:                                          {{Copies: Copies{2, 4}}, {Copies: Copies{1, 0}}},
	} {
		if page := written(t, Data{At: noon, Leads: true, Shares: shares}); !strings.Contains(page, want) {
			t.Errorf("it does not say %s: %s", want, page[strings.Index(page, `id="copies"`):strings.Index(page, `id="trash"`)])
		}
	}
}

// Of a replica that does not lead nobody may think that all is well with what it does not know.
func TestAStandbySaysWhatOnlyTheLeaderKnows(t *testing.T) {
	d := Data{At: noon, Shares: []Share{{Server: "nas", Path: "/export", Size: 10, Free: 5}}}
	page := written(t, d)
	if n := strings.Count(page, "Only the replica that leads knows this"); n != 5 {
		t.Errorf("it says so of %d parts", n)
	}
	for _, not := range []string{"No claim is refused", "No copy is under way", "The trash is empty", "Nothing.", "No archive ends"} {
		if strings.Contains(page, not) {
			t.Errorf("it says: %s", not)
		}
	}
	if !strings.Contains(page, "nas:/export") || !strings.Contains(page, "50"+nbsp+"% of 10"+nbsp+"B") {
		t.Error("it does not say what it knows")
	}
	d.Leads, d.Starting = true, true
	page = written(t, d)
	for _, want := range []string{"No claim is refused", "No copy is under way", "have not been counted yet", "has not been listed yet", "have not been looked for yet", "has not been swept yet", "not complete yet"} {
		if !strings.Contains(page, want) {
			t.Errorf("a leader that has just begun does not say: %s", want)
		}
	}
}

func TestAPageThatIsAskedForInALoopIsMadeNowAndThen(t *testing.T) {
	now, cost, calls := noon, 3*time.Millisecond, 0
	m := &made{now: func() time.Time { return now }, data: func() Data { calls++; now = now.Add(cost); return Data{At: now} }}
	ask := func(n int) {
		t.Helper()
		if _, err := m.page(); err != nil || calls != n {
			t.Errorf("made %d times, want %d (%v)", calls, n, err)
		}
	}
	ask(1)
	ask(1)
	now = now.Add(fresh - time.Millisecond)
	ask(1)
	now = now.Add(time.Millisecond)
	cost = time.Second
	ask(2)
	now = now.Add(oneIn*cost - time.Millisecond)
	ask(2)
	now = now.Add(time.Millisecond)
	ask(3)
}

func TestOneAtATimeMakesThePage(t *testing.T) {
	var at, most atomic.Int32
	h := Handler(func() Data {
		most.Store(max(most.Load(), at.Add(1)))
		defer at.Add(-1)
		time.Sleep(5 * time.Millisecond)
		return Data{At: noon}
	}, true)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { get(t, h, nil) })
	}
	all.Wait()
	if most.Load() != 1 {
		t.Errorf("%d at a time", most.Load())
	}
}

func TestTheLargestAreFound(t *testing.T) {
	var s Sizes
	const n = 1000
	for i := range n {
		s.Add(Volume{Name: fmt.Sprintf("pvc-%04d", i*7%n), Namespace: fmt.Sprintf("ns-%d", i*7%n%50), Size: Size{Requested: int64(i * 7 % n)}})
	}
	s.Add(Volume{Name: "used", Namespace: "small", Size: Size{Requested: 1, Used: 5000, Known: true}})
	s.Add(Volume{Name: "empty", Namespace: "small", Size: Size{Requested: 9000, Used: 0, Known: true}})
	volumes, namespaces := s.Volumes(), s.Namespaces()
	if volumes.Total != n+2 || len(volumes.Rows) != Rows || volumes.Rows[0].Name != "used" || volumes.Rows[1].Name != "pvc-0999" || volumes.Rows[Rows-1].Name != "pvc-0981" {
		t.Errorf("%+v", volumes)
	}
	first := namespaces.Rows[0]
	if namespaces.Total != 51 || len(namespaces.Rows) != Rows || first.Name != "ns-49" || first.Volumes != 20 || first.Requested != 20*49+50*190 || first.Known {
		t.Errorf("%+v", namespaces)
	}
	i := slices.IndexFunc(namespaces.Rows, func(n Namespace) bool { return n.Name == "small" })
	if i >= 0 {
		t.Errorf("5,000 used bytes come before %d requested ones", namespaces.Rows[Rows-1].Requested)
	}
	if empty := (&Sizes{}).Volumes(); empty.Total != 0 || len(empty.Rows) != 0 {
		t.Errorf("%+v", empty)
	}
}

func TestValuesAreWrittenForPeople(t *testing.T) {
	for got, want := range map[string]string{
		bytesText(int64(0)): "0 B", bytesText(int64(1023)): "1023 B", bytesText(int64(1536)): "1.5 KiB", bytesText(int64(5 << 30)): "5 GiB",
		bytesText(uint64(1234 << 30)): "1.2 TiB", bytesText(int64(1<<63 - 1)): "8 EiB", bytesText(int64(150<<20 + 1)): "150 MiB",
		count(0): "0", count(999): "999", count(1000): "1,000", count(1234567): "1,234,567",
		ago(noon.Add(-90*time.Second), noon): "1 minute ago", ago(noon.Add(49*time.Hour), noon): "in 2 days", ago(noon, noon): "now", ago(noon.Add(-5*time.Second), noon): "5 seconds ago",
		percent(30, 90): "33 %", percent(1, 0): "",
		fmt.Sprint(bar(int64(1), uint64(1000)), bar(int64(0), int64(5)), bar(int64(9), int64(3)), bar(int64(1), int64(3)), bar(int64(1), int64(0))): "1 0 100 33.3 0",
	} {
		if got = strings.ReplaceAll(got, nbsp, " "); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func BenchmarkPage(b *testing.B) {
	d := full(slices.Repeat([]string{"team-a"}, 100))
	for b.Loop() {
		if err := write(io.Discard, d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSizes(b *testing.B) {
	for b.Loop() {
		var s Sizes
		for i := range 100_000 {
			s.Add(Volume{Name: "pvc-0d1c9a4e-5c0f-4f2c-9d7e-1f2a3b4c5d6e", Namespace: spaces[i%len(spaces)], Size: Size{Requested: int64(i * 7919 % 100_003)}})
		}
		s.Volumes()
		s.Namespaces()
	}
}

var spaces = func() (all []string) {
	for i := range 1000 {
		all = append(all, fmt.Sprint("namespace-", i))
	}
	return all
}()
