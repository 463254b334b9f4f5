//go:build browser

package browser

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"claimdir/provisioner/page"
)

var screenshots = flag.String("screenshots", "", "the `directory` that keeps the screenshots")

// start starts Chromium and returns it.
func start(t *testing.T) *Browser {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	b, err := Start(ctx)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		cancel()
	})
	return b
}

// tester is a browser in a test.
type tester struct {
	*testing.T
	*Browser
}

func (b tester) do(method string, params map[string]any) {
	b.Helper()
	if err := b.Call(method, params, nil); err != nil {
		b.Fatal(err)
	}
}

func (b tester) evaluate(expression string, result any) {
	b.Helper()
	if err := b.Evaluate(expression, result); err != nil {
		b.Fatalf("%s: %v", expression, err)
	}
}

// open opens an address on a screen of that width, in a colour scheme, and waits until it is loaded.
func (b tester) open(url string, width int, scheme string) {
	b.Helper()
	if err := b.Open(b.Context(), url, width, scheme); err != nil {
		b.Fatal(err)
	}
}

// screenshot takes a picture of all of the page.
func (b tester) screenshot(name string) {
	b.Helper()
	small, err := b.Screenshot()
	if err != nil {
		b.Fatal(err)
	}
	if len(small) > 100<<10 && *screenshots != "" {
		b.Errorf("the screenshot %s has %d bytes", name, len(small))
	}
	if err := os.WriteFile(filepath.Join(cmp.Or(*screenshots, b.TempDir()), name), small, 0o644); err != nil { //nolint:gosec // for everybody
		b.Fatal(err)
	}
}

// look opens the page with the data in both colour schemes at both widths, and checks what holds for any data.
// see is called for each.
func look(t *testing.T, d page.Data, see func(b tester, width int, scheme string)) {
	server := httptest.NewServer(page.Handler(func() page.Data { return d }, true))
	t.Cleanup(server.Close)
	url, b := server.URL+"/", start(t)
	for _, width := range []int{400, 1200} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(fmt.Sprint(scheme, " at ", width), func(t *testing.T) {
				b := tester{t, b}
				b.open(url, width, scheme)
				var wide int
				if b.evaluate(`document.documentElement.scrollWidth`, &wide); wide > width {
					var what string
					b.evaluate(fmt.Sprintf(`(r => [...document.querySelectorAll("body *")].filter(e => (r.selectNodeContents(e), r.getBoundingClientRect().right > %d || e.scrollWidth > e.clientWidth && e.clientWidth)).map(e => e.scrollWidth + " " + e.outerHTML.slice(0, 80)).join("\n"))(document.createRange())`, width), &what)
					t.Errorf("on %d pixels the page takes %d:\n%s", width, wide, what)
				}
				b.checkColours(scheme)
				b.checkKeyboard()
				see(b, width, scheme)
				if said := b.Problems(); len(said) > 0 {
					t.Errorf("the console says: %s", strings.Join(said, "\n"))
				}
				for _, asked := range b.Requests() {
					if asked != url && !strings.HasPrefix(asked, "data:") {
						t.Errorf("the page asks for %s", asked)
					}
				}
			})
		}
	}
}

// contrast returns the texts whose colour is too near to what is behind them, by the measure of WCAG 2 AA, and how
// bright the page is.
const contrast = `(() => {
	const parse = c => c.match(/[\d.]+/g).map(Number);
	const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b };
	const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c } return [255, 255, 255] };
	const bad = [];
	for (const e of document.querySelectorAll("body *")) {
		if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
		const a = light(parse(getComputedStyle(e).color)), b = light(behind(e));
		if ((Math.max(a, b) + .05) / (Math.min(a, b) + .05) < 4.5) bad.push(e.textContent.trim().slice(0, 40));
	}
	return {bad, page: light(behind(document.body))};
})()`

func (b tester) checkColours(scheme string) {
	b.Helper()
	var found struct {
		Bad  []string
		Page float64
	}
	b.evaluate(contrast, &found)
	if len(found.Bad) > 0 {
		b.Errorf("hard to read: %q", found.Bad)
	}
	if (found.Page < .1) != (scheme == "dark") {
		b.Errorf("the page has brightness %v", found.Page)
	}
}

// checkKeyboard goes through the page with the Tab key: it must come to each link, in their order, and show where
// it is.
func (b tester) checkKeyboard() {
	b.Helper()
	var links, reached []string
	b.evaluate(`[...document.links].map(a => a.getAttribute("href"))`, &links)
	b.evaluate(`(document.activeElement.blur(), scrollTo(0, 0), 0)`, new(int))
	for range links {
		for _, kind := range []string{"keyDown", "keyUp"} {
			b.do("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9})
		}
		var at struct {
			Href     string
			Outlined bool
			Right    float64
		}
		b.evaluate(`(e => ({href: e.getAttribute("href") ?? "", outlined: getComputedStyle(e).outlineStyle !== "none", right: e.getBoundingClientRect().right}))(document.activeElement)`, &at)
		if at.Href == "" {
			break
		}
		reached = append(reached, at.Href)
		if !at.Outlined || at.Right < 1 {
			b.Errorf("nobody sees that %s has the focus", at.Href)
		}
	}
	if len(links) < 8 || !slices.Equal(links, reached) {
		b.Errorf("the Tab key comes to %q, and the links are %q", reached, links)
	}
	b.evaluate(`(document.activeElement.blur(), scrollTo(0, 0), 0)`, new(int))
}

// text is what a person sees.
func (b tester) text() (all string) {
	b.Helper()
	b.evaluate(`document.body.innerText`, &all)
	return strings.ReplaceAll(all, "\u00a0", " ")
}

func TestThePageAsAPersonSeesIt(t *testing.T) {
	look(t, example(), func(b tester, width int, scheme string) {
		text := b.text()
		for _, want := range []string{
			"leads", "1 in trouble", "1,204", "analytics/warehouse", "412 GiB", "and 1,197 more", "team-blue/scratch", "does not have room", "in 2 days", "held back",
			"2 could not be removed so far", "claimdir doctor --fix", "has not answered since", "712 GiB",
		} {
			if !strings.Contains(text, want) {
				b.Errorf("it does not show %q:\n%s", want, text)
			}
		}
		var lacks []string
		b.evaluate(`[...document.querySelectorAll("table")].filter(t => !t.caption || !t.tHead || [...t.querySelectorAll("th")].some(h => !h.scope)).map(t => t.outerHTML.slice(0, 60))
			.concat([...document.querySelectorAll("section")].filter(s => !s.querySelector("h2") || !document.getElementById(s.getAttribute("aria-labelledby"))).map(s => s.id))
			.concat(document.documentElement.lang && document.title && document.querySelector("main, header, nav") ? [] : ["lang, title or a landmark"])`, &lacks)
		if len(lacks) > 0 {
			b.Errorf("who cannot see it gets no names for %q", lacks)
		}
		if scheme == "light" {
			b.screenshot(fmt.Sprintf("page-%d.png", width))
		} else if width == 1200 {
			b.screenshot("page-dark.png")
		}
	})
}

// Names of markup do nothing, and are shown.
func TestHostileNamesAreShown(t *testing.T) {
	names := []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'><svg onload=alert(1)>`, `</style><script>alert(1)</script>`, `</title><script>alert(1)</script>`,
		`javascript:alert(1)`, `<iframe src=//example.com>`, `<a href=//example.com>click`, `<meta http-equiv=refresh content=0;url=//example.com>`, `<style>*{display:none}</style>`,
		"a\u202egnp.exe", "مرحبا بالعالم", "z" + strings.Repeat("\u0336\u0489", 30), strings.Repeat("W", 400), strings.Repeat("長", 300), strings.Repeat("<x>", 100),
	}
	d := page.Data{Version: "v1", Provisioner: names[0], Cluster: names[1], At: time.Now(), Leads: true}
	for i, n := range names {
		size := page.Size{Requested: 1 << 62, Used: 1 << 61, Known: i%2 == 0}
		d.Volumes.Rows = append(d.Volumes.Rows, page.Volume{Share: n, Name: n, Namespace: n, Claim: n, Size: size})
		d.Namespaces.Rows = append(d.Namespaces.Rows, page.Namespace{Name: n, Volumes: 1 << 40, Measured: 1, Size: size})
		d.Refused.Rows = append(d.Refused.Rows, page.Refused{Namespace: n, Claim: n, Class: n, Reason: n, Text: strings.Repeat(n, 4), Since: d.At})
		d.Shares = append(d.Shares, page.Share{
			Name: n, Server: n, Path: n, Trouble: n, Size: 1 << 63, Free: 1 << 62, Volumes: 1 << 40, Requested: 1 << 62,
			Trash:    page.Trash{Known: true, Waiting: 3, Failing: 2, Reasons: n},
			Archives: page.Archives{At: d.At, Ending: page.List[page.Archive]{Rows: []page.Archive{{Share: n, Namespace: n, Claim: n, Path: n, Until: d.At, Held: true}}}},
			Findings: page.Findings{At: d.At, List: page.List[page.Finding]{Rows: []page.Finding{{Share: n, Kind: n, Object: n, Problem: n, Remedy: n}}}},
		})
	}
	look(t, d, func(b tester, _ int, _ string) {
		text := b.text()
		for _, n := range names[:10] {
			if strings.Count(text, n) < 10 {
				b.Errorf("%s is shown %d times", n, strings.Count(text, n))
			}
		}
		var foreign int
		if b.evaluate(`document.querySelectorAll("script, img, iframe, meta[http-equiv], [onerror], [onload], svg svg, a[href*='example']").length`, &foreign); foreign > 0 {
			b.Errorf("%d elements are made of names", foreign)
		}
	})
}

// A page that is served on loopback is not for a name that a stranger made mean that address.
func TestAnotherNameOfLoopbackGetsNothing(t *testing.T) {
	server := httptest.NewServer(page.Handler(example, true))
	t.Cleanup(server.Close)
	b := tester{t, start(t)}
	local := strings.Replace(server.URL, "127.0.0.1", "localhost", 1) + "/"
	if b.open(local, 1200, "light"); !strings.Contains(b.text(), "analytics/warehouse") {
		t.Errorf("localhost gets: %s", b.text())
	}
	rebound := strings.Replace(server.URL, "127.0.0.1", Rebound, 1) + "/"
	if b.open(rebound, 1200, "light"); strings.Contains(b.text(), "warehouse") || !strings.Contains(b.text(), "served to localhost only") {
		t.Errorf("another name gets: %s", b.text())
	}
}
