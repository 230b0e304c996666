//go:build e2e

package page

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// browser starts a Chromium that downloads nothing by itself.
func browser(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(site.ctx, 2*time.Minute)
	t.Cleanup(cancel)
	allocator, cancel := chromedp.NewExecAllocator(ctx, chromedp.ExecPath("chromium"), chromedp.UserDataDir(t.TempDir()),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("disable-dev-shm-usage", true))
	t.Cleanup(cancel)
	tab, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	run(t, tab)
	return tab
}

func run(t *testing.T, tab context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(tab, steps...); err != nil {
		t.Fatal(err)
	}
}

func result[T any](t *testing.T, tab context.Context, action chromedp.Action[T]) T {
	t.Helper()
	value, err := chromedp.Run(tab, action)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// expect looks for words that a reader sees, and in what is folded up.
func expect(t *testing.T, tab context.Context, words ...string) {
	t.Helper()
	seen := result(t, tab, chromedp.Evaluate[string]("document.body.textContent.replace(/\\s+/g, ' ')"))
	for _, w := range words {
		if !strings.Contains(seen, w) {
			t.Errorf("%q is not on the page:\n%s", w, seen)
		}
	}
}

// widths are those of a phone and of a desk.
var widths = map[string]int64{"phone": 390, "desk": 1280}

// TestPages looks at every page at both widths: what must be there is, nothing is wider than the window, the browser has no
// complaint, and nothing was asked of another server.
func TestPages(t *testing.T) {
	for device, width := range widths {
		t.Run(device, func(t *testing.T) {
			tab := browser(t)
			var mu sync.Mutex
			var complaints []string
			complain := func(text string) {
				mu.Lock()
				defer mu.Unlock()
				complaints = append(complaints, text)
			}
			if err := chromedp.Listen(tab, func(e any) {
				switch e := e.(type) {
				case *log.EventEntryAdded:
					complain(e.Entry.Text)
				case *network.EventLoadingFailed:
					complain(e.ErrorText)
				case *network.EventRequestWillBeSent:
					if !strings.HasPrefix(e.Request.URL, site.url) {
						complain("asked for " + e.Request.URL)
					}
				}
			}); err != nil {
				t.Fatal(err)
			}
			run(t, tab, chromedp.EmulateViewport(width, 900))
			for _, page := range []struct {
				name, path string
				words      []string
			}{
				{"overview", "/", []string{"All is well", "Refused lately", other, "belongs to " + owner, "Fix", "192.0.2.9", "192.0.2.17", "Failed handshakes"}},
				{"refused", "/refused", []string{other, "key version of the ticket", "Without signature", "no server block"}},
				{"changes", "/changes", []string{"pc18.corp.example.com", "192.0.2.18"}},
				{"zones", "/zones", []string{zoneName, reverse, "applied"}},
				{"zone", "/zone?name=" + zoneName + ".", []string{"Primary server", "ns1.corp.example.com.", "grant " + realmName + " owner ."}},
				{"keys", "/keys", []string{"DNS/ns1.corp.example.com@" + realmName}},
				{"contexts", "/contexts", []string{"Negotiations under way", owner, other, "Expires", "in "}},
				{"search", "/search?q=pc17", []string{"Why it was refused", "pc17.corp.example.com.", "Belongs to", "17.2.0.192.in-addr.arpa."}},
				{"may", "/may?principal=" + other + "@" + realmName + "&name=pc17.corp.example.com&type=A", []string{"No.", "belongs to " + owner}},
			} {
				run(t, tab, chromedp.Navigate(site.url+page.path))
				expect(t, tab, page.words...)
				if content := result(t, tab, chromedp.Evaluate[int64]("document.documentElement.scrollWidth")); content > width {
					t.Errorf("%s is %d pixels wide in a window of %d", page.name, content, width)
				}
				shoot(t, tab, page.name+"-"+device)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(complaints) > 0 {
				t.Errorf("the browser complains: %v", complaints)
			}
		})
	}
}

// shoot writes a screenshot into the directory of the environment variable SCREENSHOTS, if it is set: those of the
// documentation are made so.
func shoot(t *testing.T, tab context.Context, name string) {
	t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	png := result(t, tab, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestWhyRefused: from the first page two clicks lead to why a machine was refused, and to whether it may now.
func TestWhyRefused(t *testing.T) {
	tab := browser(t)
	run(t, tab, chromedp.Navigate(site.url),
		chromedp.SendKeys("#q", "PC18"), chromedp.Click(".find button"), chromedp.WaitVisible(".names"))
	expect(t, tab, "Why it was refused", "belongs to "+owner, "Fix")
	run(t, tab, chromedp.Click("summary"), chromedp.Click("a.ask"), chromedp.WaitVisible(".banner"))
	expect(t, tab, "No.", "belongs to "+owner)
	run(t, tab, chromedp.SetValue("#principal", owner+"@"+realmName), chromedp.Click("form.ask button"), chromedp.WaitVisible(".banner.yes"))
	expect(t, tab, "Yes.")
}
