package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

const (
	alice   = "host/alice.example.test@EXAMPLE.TEST"
	mallory = "host/mallory.example.test@EXAMPLE.TEST"
	hostile = `<script>alert("x")</script>`
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// fake is a source with one of each, texts of clients with what HTML gives a meaning.
type fake struct {
	findings []diagnose.Finding
	damaged  *diagnose.Finding // of the zone
	contexts int               // beside that of alice
	cluster  bool              // the zone is on etcd, and not loaded
	counted  bool              // the zone is on etcd, and loaded
}

func (f fake) Status() view.Status {
	changed := noon.Add(-time.Minute)
	if f.cluster {
		behind := uint32(3)
		return view.Status{Started: noon, Findings: []diagnose.Finding{},
			Zones: []view.Zone{{Zone: "example.test.", Updates: "secure", Mode: "secure", Etcd: "etcd https://e.test:2379 prefix /gsstsig/",
				Unavailable: &diagnose.Finding{Problem: "it cannot be loaded", ClientError: "SERVFAIL", Fix: "start etcd"}}},
			Clusters: []view.Cluster{{Etcd: "etcd https://e.test:2379 prefix /gsstsig/", Server: "ns1", Error: "no leader",
				Zones:   []view.ClusterZone{{Zone: "example.test.", Serial: 15, Epoch: 1, Server: "ns2", Frozen: &noon}, {Zone: "new.test.", Error: "format 9"}},
				Members: []view.Member{{Name: "m1", Endpoint: "https://e.test:2379", Version: "3.5.21", Leader: true, Octets: 30 << 20, Quota: 4 << 30}, {Endpoint: "https://f.test:2379", Error: "refused"}, {Name: "m3", Problems: []string{"alarm:NOSPACE"}}},
				Servers: []view.ClusterServer{{Server: "ns2", State: view.ServerRunning, Version: "v9", Seen: noon, Zones: []view.ServerZone{{Zone: "example.test.", Serial: 12, Behind: &behind, Confirmed: &noon}}},
					{Server: "ns3", State: view.ServerRunning, Version: "v9", Seen: noon, Zones: []view.ServerZone{{Zone: "example.test."}}},
					{Server: "ns4", State: view.ServerGone, Seen: noon}, {Server: "ns5", State: view.ServerStopped, Seen: noon}}}}}
	}
	var commits *view.Commits
	home, confirmed := "", (*time.Time)(nil)
	if f.counted {
		home, confirmed, commits = "etcd https://e.test:2379 prefix /gsstsig/", &noon, &view.Commits{Conflicts: 12}
	}
	return view.Status{Version: "v1", CoreDNS: "1.15.0", Started: noon.Add(-72 * time.Hour), Ready: len(f.findings) == 0, Findings: f.findings,
		Zones: []view.Zone{{Zone: "example.test.", Serial: 7, Primary: "ns1.example.test.", Updates: "secure", Database: "/var/lib/coredns", Changed: &changed, Damaged: f.damaged,
			Etcd: home, Confirmed: confirmed, Commits: commits,
			Records: view.Usage{Used: 12345, Limit: 20000}, Octets: view.Usage{Used: 1, Limit: 100}, Owners: 2, Names: 3,
			Tombstones: view.Usage{Used: 95, Limit: 100}, Rules: []string{"grant EXAMPLE.TEST owner ."}}},
		Keys:     []view.Key{{Keytab: "/etc/dns.keytab", Principal: "DNS/ns1.example.test@EXAMPLE.TEST", KVNO: 3, Enctype: "aes256-cts-hmac-sha1-96"}},
		Contexts: view.Contexts{Established: view.Usage{Used: 4}, HalfOpen: view.Usage{Used: 1}}}
}

func record(name, rrtype, data string) view.NamedRecord {
	return view.NamedRecord{Name: name, Record: view.Record{TTL: 300, Type: rrtype, Data: data}}
}

func (fake) Recent(string) view.Recent {
	refused := func(client, identity, cause, reason string) view.RefusedClient {
		return view.RefusedClient{Client: client, Count: 3, First: noon, Last: noon, Refusals: []view.Refusal{{Time: noon, Zone: "example.test.",
			Client: "192.0.2.66:53", Identity: identity, Rcode: "REFUSED", Reason: reason, Cause: cause, Fix: "ask " + cause,
			Removed: []view.NamedRecord{record("a.example.test.", "A", "")}, Added: []view.NamedRecord{record("a.example.test.", "TXT", hostile)}}}}
	}
	failed := func(reason string) []view.FailedClient {
		return []view.FailedClient{{Client: "192.0.2.9", Count: 1, First: noon, Last: noon, Failures: []view.HandshakeFailure{{Time: noon, Client: "192.0.2.9:99",
			Result: "badkey", Service: "DNS/ns1", TicketKVNO: 4, KeytabKVNO: []uint32{2, 3}, Reason: reason, Fix: "export the keytab"}}}}
	}
	return view.Recent{
		Refused:    []view.RefusedClient{refused(mallory, mallory, "owned", "a.example.test. A: the name belongs to "+alice)},
		Unsigned:   []view.RefusedClient{refused("192.0.2.80", "anonymous", "unsigned", "the update is not signed")},
		Handshakes: failed("no key of that version"), Signatures: failed("no such key"),
		Changes: []view.Change{{Time: noon, Zone: "example.test.", Author: alice, Client: "192.0.2.1:53", Removed: []view.NamedRecord{record("a.example.test.", "A", "192.0.2.1")},
			Added: []view.NamedRecord{record("A.example.test.", "A", "192.0.2.2")}}},
	}
}

func (f fake) Contexts() []view.Context {
	created, used := noon, noon.Add(time.Minute)
	list := []view.Context{{Key: "1.sig", Principal: alice, Account: "ALICE$", Service: "DNS/ns1", Enctype: "aes256", Address: "192.0.2.77:4242", Created: &created,
		Expires: noon.Add(10 * time.Hour), Used: &used, Messages: 12}}
	for range f.contexts {
		list = append(list, view.Context{Key: "2.sig", Principal: mallory, Server: "ns2", Expires: noon.Add(time.Minute)})
	}
	return list
}

func (fake) History(string) []view.Point {
	return []view.Point{{Start: noon, Applied: 4, Refused: 1}, {Start: noon}, {Start: noon, Applied: 1}}
}

func (fake) Search(_ context.Context, words string, _ int) ([]view.Name, bool) {
	return []view.Name{{Zone: "example.test.", Name: "a.example.test.", Owner: alice + " S-1-5-21-1-2-3-4", Records: []view.Record{{TTL: 300, Type: "A", Data: "192.0.2.2"}}}}, words == "many"
}

func (fake) May(q Question) (view.Decision, error) {
	if q.Type == "NOTHING" {
		return view.Decision{}, errors.New("no such type")
	}
	d := view.Decision{Permitted: q.Principal == alice, Identity: q.Principal, Update: "add " + q.Name, Rule: "grant", Reason: q.Data}
	if !d.Permitted {
		d.Fix = "ask the owner"
	}
	return d, nil
}

func newPage(source Source) *Handler {
	h := New(source, Hosts("status.example.test:9154"))
	h.now = func() time.Time { return noon.Add(90 * time.Second) }
	return h
}

// get asks for a page as a browser does.
func get(t *testing.T, h http.Handler, target string, edit func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = "localhost:9154"
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}

// unaddressed has updates without the address of a client.
type unaddressed struct{ fake }

func (u unaddressed) Recent(zone string) view.Recent {
	v := u.fake.Recent(zone)
	v.Refused[0].Refusals[0].Client, v.Changes[0].Client = "", ""
	return v
}

// TestContextOfAnotherServer: a context that servers share is shown with the one that made it.
func TestContextOfAnotherServer(t *testing.T) {
	_, body := get(t, newPage(fake{contexts: 1}), "/contexts", nil)
	if strings.Count(body, "with ns2") != 1 || strings.Count(body, ">with ") != 1 {
		t.Errorf("%s", body)
	}
}

// TestWithoutAddress: what has no address is not said to come from one.
func TestWithoutAddress(t *testing.T) {
	from := regexp.MustCompile(`</time> from |class="quiet">from `)
	for _, target := range []string{"/refused", "/changes"} {
		section := func(source Source) string {
			_, body := get(t, newPage(source), target, nil)
			body, _, _ = strings.Cut(body, `id="unsigned"`)
			return body
		}
		if !from.MatchString(section(fake{})) {
			t.Errorf("%s: an address is not shown", target)
		}
		if found := from.FindString(section(unaddressed{})); found != "" {
			t.Errorf("%s has %q without an address", target, found)
		}
	}
}

var allPages = []string{"/", "/search?q=alice", "/search", "/refused", "/changes", "/changes?zone=example.test.", "/zones", "/zone?name=example.test.",
	"/keys", "/contexts", "/may", "/may?principal=" + mallory + "&name=a.example.test&type=TXT&data=%3Cscript%3Ealert(%22x%22)%3C/script%3E"}

// TestEveryPage: each page is whole, says nothing that a client could make HTML of, and has no script and no style of its own,
// which its policy would not permit.
func TestEveryPage(t *testing.T) {
	h := newPage(fake{})
	for _, target := range allPages {
		response, body := get(t, h, target, nil)
		if response.StatusCode != http.StatusOK || !strings.HasSuffix(strings.TrimSpace(body), "</html>") {
			t.Errorf("%s: %s\n%s", target, response.Status, body)
		}
		if found := regexp.MustCompile(`(?i)<script|<style| style=| on[a-z]+=|javascript:|https?://`).FindString(body); found != "" {
			t.Errorf("%s has %q", target, found)
		}
		policy := response.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "script-src") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", target, policy)
		}
	}
}

// TestWords: what a reader looks for is there.
func TestWords(t *testing.T) {
	h := newPage(fake{})
	broken := newPage(fake{findings: []diagnose.Finding{{Severity: diagnose.Error, Subject: "keytab k", Problem: "it has no key", Fix: "export one"}}})
	damaged := newPage(fake{damaged: &diagnose.Finding{Severity: diagnose.Error, Subject: "zone example.test.", Problem: "database damaged", ClientError: "SERVFAIL", Fix: "restore it"}})
	for _, test := range []struct {
		h      *Handler
		target string
		words  []string
	}{
		{h, "/", []string{"All is well", "4 security contexts", "3 days ago", mallory, "belongs to " + alice, "ask owned", "3 times", "1 client was refused an update without signature", "no key of that version"}},
		{broken, "/", []string{"Not ready", "it has no key", "export one"}},
		{damaged, "/", []string{`<b class="bad">damaged</b>`, "database damaged", "restore it"}},
		{damaged, "/zones", []string{`<b class="bad">damaged</b>`, "database damaged", "restore it"}},
		{damaged, "/zone?name=example.test.", []string{"<b>Damaged.</b> database damaged. Clients show: SERVFAIL", "restore it", "/var/lib/coredns", "grant EXAMPLE.TEST owner ."}},
		{damaged, "/zone.json?name=example.test.", []string{`"damaged": {`, `"fix": "restore it"`}},
		{newPage(fake{cluster: true}), "/", []string{"This server is <b>ns1</b>", "no leader", "ns2", "v9", `<td class="data">ns4</td><td><b class="bad">gone</b></td>`, `<td class="data">ns5</td><td>stopped</td>`, "<td>15 <b class=\"warn\">frozen</b></td>", "3 behind", "not loaded", "cannot be read", "30 MiB of 4096 MiB", "leads", "does not answer", "alarm:NOSPACE", `<b class="bad">not served</b>`, "start etcd"}},
		{newPage(fake{cluster: true}), "/zone?name=example.test.", []string{"<b>Not served.</b> it cannot be loaded. Clients show: SERVFAIL", "start etcd", "prefix /gsstsig/"}},
		{newPage(fake{counted: true}), "/zone?name=example.test.", []string{"Confirmed by etcd", "1 min ago", "Conflicts", "<dd>12 <", "Unknown outcomes", "<dd>0 <"}},
		{h, "/refused", []string{"Without signature", "ask unsigned", "no such key", "2, 3"}},
		{h, "/changes", []string{"<del>192.0.2.1</del>", "<ins>192.0.2.2</ins>", alice, "192.0.2.1"}},
		{h, "/zone?name=example.test.", []string{"12\u202f345", "grant EXAMPLE.TEST owner .", `class="much"`, "5 applied", "1 refused"}},
		{h, "/search?q=alice", []string{"Why it was refused", "Belongs to", "192.0.2.2", "static"}},
		{h, "/search?q=many", []string{"and more"}},
		{h, "/keys", []string{"DNS/ns1.example.test@EXAMPLE.TEST", "aes256"}},
		{h, "/contexts", []string{"<dd>4 ", alice, "account ALICE$", "192.0.2.77<", "1 min ago", "in 9 h", "30 s ago", `<td class="num">12</td>`}},
		{newPage(fake{contexts: mostContexts}), "/contexts", []string{"The newest 500 of 501", mallory, "before the restart", "never"}},
		{h, "/search?q=ALICE.example", []string{"1 security context<", "192.0.2.77<"}},
		{newPage(fake{contexts: mostNames + 1}), "/search?q=mallory", []string{"101 security contexts", "The newest 100 are shown"}},
		{h, "/may?principal=" + alice + "&name=a", []string{"<b>Yes.</b>", "may add a"}},
		{h, "/may?principal=" + mallory + "&name=a", []string{"<b>No.</b>", "may not add a", "<b>Fix</b> ask the owner"}},
		{h, "/may?principal=x&name=a&type=nothing", []string{"no such type"}},
	} {
		_, body := get(t, test.h, test.target, nil)
		for _, w := range test.words {
			if !strings.Contains(strings.ReplaceAll(body, "&#43;", "+"), w) {
				t.Errorf("%s does not say %q:\n%s", test.target, w, body)
			}
		}
	}
}

// TestFailuresByName: a client whose ticket cannot be read is known by its address. The search for its name finds it all the same.
func TestFailuresByName(t *testing.T) {
	name := func(name, address string) []view.Name {
		return []view.Name{{Name: name, Records: []view.Record{{Type: "TXT", Data: "192.0.2.9"}, {Type: "A", Data: address}}}}
	}
	for _, test := range []struct {
		names []view.Name
		words string
		found int
	}{
		{name("pc17.example.test.", "192.0.2.9"), "PC17", 1},
		{name("pc17.example.test.", "192.0.2.8"), "pc17", 0},
		{name("another.example.test.", "192.0.2.9"), "alice", 0}, // found by its owner
		{nil, "192.0.2.9", 1},
	} {
		r := about(fake{}.Recent(""), test.words, addressesOf(test.names, test.words))
		if len(r.Handshakes) != test.found || len(r.Signatures) != test.found {
			t.Errorf("%s: %d handshakes and %d signatures, want %d", test.words, len(r.Handshakes), len(r.Signatures), test.found)
		}
	}
}

// TestDamagedZone: a page shows no serial and no contents of a zone that has none.
func TestDamagedZone(t *testing.T) {
	for _, h := range []*Handler{newPage(fake{damaged: &diagnose.Finding{Problem: "database damaged"}}), newPage(fake{cluster: true})} {
		for _, target := range []string{"/zones", "/zone?name=example.test."} {
			_, body := get(t, h, target, nil)
			for _, word := range []string{"Serial", "serial 7", "serial 0", "12\u202f345", "Tombstones"} {
				if strings.Contains(body, word) {
					t.Errorf("%s has %q:\n%s", target, word, body)
				}
			}
		}
	}
}

// TestJSON: behind each page is JSON, by its path or by what the client accepts.
func TestJSON(t *testing.T) {
	h := newPage(fake{})
	for _, target := range allPages {
		path, query, _ := strings.Cut(target, "?")
		path = strings.TrimSuffix(path, "/")
		if path == "" {
			path = "/index"
		}
		response, byPath := get(t, h, path+".json?"+query, nil)
		_, byHeader := get(t, h, target, func(r *http.Request) { r.Header.Set("Accept", "application/json") })
		if response.Header.Get("Content-Type") != "application/json" || !json.Valid([]byte(byPath)) || byPath != byHeader {
			t.Errorf("%s: %s\n%s", target, response.Status, byPath)
		}
	}
	_, body := get(t, h, "/search.json?q=192.0.2.80", nil)
	var found searched
	if err := json.Unmarshal([]byte(body), &found); err != nil || len(found.Recent.Refused) != 0 || len(found.Recent.Unsigned) != 1 || found.Recent.Unsigned[0].Client != "192.0.2.80" || len(found.Recent.Changes) != 0 {
		t.Errorf("%v: %s", err, body)
	}
	for query, clients := range map[string]string{"alice.example.test.": alice, "alice$": alice, "192.0.2.77": alice, "mallory": "", "1.sig": ""} {
		_, body = get(t, h, "/search.json?q="+query, nil)
		if err := json.Unmarshal([]byte(body), &found); err != nil || found.ContextsFound != len(found.Contexts) || (found.ContextsFound == 1) != (clients != "") {
			t.Errorf("%s: %v: %s", query, err, body)
		}
	}
	var list contexts
	_, body = get(t, newPage(fake{contexts: 2 * mostContexts}), "/contexts.json", nil)
	if err := json.Unmarshal([]byte(body), &list); err != nil || list.Total != 2*mostContexts+1 || len(list.Newest) != mostContexts || list.Newest[0].Principal != alice || list.Established.Used != 4 {
		t.Errorf("%v: %s", err, body)
	}
	_, body = get(t, h, "/", func(r *http.Request) {
		r.Header.Set("Accept", "text/html,application/xhtml+xml,application/json;q=0.1")
	})
	if !strings.HasPrefix(body, "<!doctype html>") {
		t.Error("a browser gets JSON")
	}
}

// TestRefusedRequests: the page answers no request that would change something, none for the name of another server, and none
// that is too long.
func TestRefusedRequests(t *testing.T) {
	h := newPage(fake{})
	for name, test := range map[string]struct {
		target, method, host string
		status               int
	}{
		"address":             {"/", "GET", "192.0.2.1:9154", http.StatusOK},
		"IPv6 address":        {"/", "GET", "[::1]:9154", http.StatusOK},
		"localhost":           {"/", "GET", "LOCALHOST", http.StatusOK},
		"its own name":        {"/", "GET", "status.example.test.", http.StatusOK},
		"HEAD":                {"/", "HEAD", "localhost", http.StatusOK},
		"another name":        {"/", "GET", "rebound.example.org:9154", http.StatusMisdirectedRequest},
		"another name, JSON":  {"/index.json", "GET", "rebound.example.org", http.StatusMisdirectedRequest},
		"a name as prefix":    {"/", "GET", "localhost.example.org", http.StatusMisdirectedRequest},
		"no name":             {"/", "GET", "", http.StatusMisdirectedRequest},
		"POST":                {"/", "POST", "localhost", http.StatusMethodNotAllowed},
		"PUT":                 {"/may", "PUT", "localhost", http.StatusMethodNotAllowed},
		"no page":             {"/nothing", "GET", "localhost", http.StatusNotFound},
		"a file":              {"/assets/layout.html", "GET", "localhost", http.StatusNotFound},
		"no zone":             {"/zone?name=example.org.", "GET", "localhost", http.StatusNotFound},
		"no zone's changes":   {"/changes?zone=example.org.", "GET", "localhost", http.StatusNotFound},
		"a very long query":   {"/search?q=" + strings.Repeat("a", maxQuery+1), "GET", "localhost", http.StatusRequestURITooLong},
		"styles":              {"/style.css", "GET", "localhost", http.StatusOK},
		"icon":                {"/icon.svg", "GET", "localhost", http.StatusOK},
		"styles, other name":  {"/style.css", "GET", "example.org", http.StatusMisdirectedRequest},
		"a percent in a path": {"/%2e%2e/x", "GET", "localhost", http.StatusNotFound},
	} {
		response, body := get(t, h, test.target, func(r *http.Request) { r.Method, r.Host = test.method, test.host })
		if response.StatusCode != test.status {
			t.Errorf("%s: %s, want %d", name, response.Status, test.status)
		}
		if test.method == "HEAD" && body != "" {
			t.Error("HEAD has a body")
		}
		if response.Header.Get("X-Content-Type-Options") != "nosniff" || response.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", name, response.Header)
		}
	}
}

// crowd is a source with many clients that were refused.
type crowd struct{ fake }

func (c crowd) Recent(zone string) view.Recent {
	r := c.fake.Recent(zone)
	for i := range 2 * mostClients {
		refused, failed := r.Refused[0], r.Handshakes[0]
		refused.Client, failed.Client = fmt.Sprintf("client-%d.", i), fmt.Sprintf("192.0.2.9-%d", i)
		r.Refused, r.Unsigned = append(r.Refused, refused), append(r.Unsigned, refused)
		r.Handshakes, r.Signatures = append(r.Handshakes, failed), append(r.Signatures, failed)
	}
	return r
}

// TestListsAreBounded: a page lists the latest clients only, however many were refused, and the search finds the others.
func TestListsAreBounded(t *testing.T) {
	h := newPage(crowd{})
	for _, target := range []string{"/refused.json", "/zone.json?name=example.test.", "/search.json?q=example.test"} {
		_, body := get(t, h, target, nil)
		for _, list := range []string{"refused", "unsigned", "handshakes", "signatures"} {
			var top map[string]json.RawMessage
			if err := json.Unmarshal([]byte(body), &top); err != nil {
				t.Fatal(err)
			}
			if _, inside := top["recent"]; inside {
				if err := json.Unmarshal(top["recent"], &top); err != nil {
					t.Fatal(err)
				}
			}
			var clients []json.RawMessage
			if err := json.Unmarshal(top[list], &clients); err != nil || len(clients) > mostClients || len(clients) == 0 && !strings.HasPrefix(target, "/search") {
				t.Errorf("%s: %d clients of %s, %v", target, len(clients), list, err)
			}
		}
	}
	if _, body := get(t, h, fmt.Sprintf("/search.json?q=client-%d", 2*mostClients-1), nil); !strings.Contains(body, fmt.Sprintf("client-%d.", 2*mostClients-1)) {
		t.Error("the search does not find the last one")
	}
}

// TestSearchesAreBounded: a search goes through whole zones, so that only a few are under way at a time.
func TestSearchesAreBounded(t *testing.T) {
	h := newPage(fake{})
	for range cap(h.searching) {
		h.searching <- struct{}{}
	}
	for _, target := range []string{"/search?q=a", "/contexts"} {
		if response, _ := get(t, h, target, nil); response.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %s", target, response.Status)
		}
	}
	<-h.searching
	if response, _ := get(t, h, "/search?q=a", nil); response.StatusCode != http.StatusOK {
		t.Error(response.Status)
	}
}

func TestAgo(t *testing.T) {
	h := newPage(fake{})
	for d, want := range map[time.Duration]string{time.Second: "just now", 20 * time.Second: "20 s ago", 90 * time.Second: "1 min ago",
		3 * time.Hour: "3 h ago, 09:01 UTC", 72 * time.Hour: "3 days ago, 2026-05-01 12:01 UTC", -time.Minute: "just now"} {
		if got := h.ago(h.now().Add(-d)); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{20 * time.Minute: "this hour", 90 * time.Minute: "1 h ago", 72 * time.Hour: "3 days ago"} {
		if got := h.hour(h.now().Add(-d)); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-time.Minute: "now", 20 * time.Second: "in 20 s", 10 * time.Hour: "in 10 h", 72 * time.Hour: "in 3 days"} {
		if got := h.until(h.now().Add(d)); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1\u202f000", 1234567: "1\u202f234\u202f567"} {
		if got := number(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
