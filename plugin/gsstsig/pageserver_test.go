package gsstsig

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/control"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// fetch reads a view of the status page.
func fetch[T any](t *testing.T, address, path string) (v T) {
	t.Helper()
	response, err := http.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&v); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, response.Status, err)
	}
	return v
}

// TestStatusPageAdministrator: a change of the administrator has no address. A request that fails is in the log without a cause,
// and not among the refused clients.
func TestStatusPageAdministrator(t *testing.T) {
	address, path := freeAddress(t), socketPath(t)
	s := start(t, strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\nstatus "+address+"\ncontrol "+path, 1))
	c := control.NewClient(path)
	defer c.Close()
	update := func(prerequisites ...view.Instruction) error {
		_, err := control.Call[view.Applied](t.Context(), c, "update", view.Update{Zone: "example.test", Prerequisites: prerequisites,
			Updates: []view.Instruction{{Name: "admin.example.test.", Class: "IN", Type: "A", TTL: 60, Data: "192.0.2.9"}}})
		return err
	}
	if err := update(); err != nil {
		t.Fatal(err)
	}
	if err := update(view.Instruction{Name: "missing.example.test.", Class: "ANY", Type: "ANY"}); err == nil {
		t.Error("an unmet prerequisite")
	}
	if _, err := control.Call[view.Ownership](t.Context(), c, "release", view.NameRequest{Name: "nix.example.test"}); err == nil {
		t.Error("a name without owner was released")
	}
	want(t, "refused", s.signed(s.context("alice"), message(t, "example.test.", "+admin.example.test. 300 A 192.0.2.66")), dns.RcodeRefused)

	recent := fetch[struct{ Recent view.Recent }](t, address, "/index.json").Recent
	if len(recent.Changes) != 1 || recent.Changes[0].Author != "administrator" || recent.Changes[0].Client != "" {
		t.Errorf("changes %+v", recent.Changes)
	}
	if len(recent.Refused) != 1 || recent.Refused[0].Client != "alice@EXAMPLE.TEST" || !strings.HasPrefix(recent.Refused[0].Refusals[0].Client, "127.0.0.1:") {
		t.Errorf("refused %+v", recent.Refused)
	}
	if lines := logged.lines(`identity="administrator"`, "rcode=NXDOMAIN"); len(lines) != 1 {
		t.Errorf("unmet prerequisite: %q", lines)
	}
	lines := logged.lines(`identity="administrator"`, "rcode=REFUSED", "nix.example.test. has no owner")
	if len(lines) != 1 || strings.Contains(lines[0], "cause=") || strings.Contains(lines[0], "fix=") {
		t.Errorf("release: %q", lines)
	}
}

// TestStatusPage: the page knows the zones, what clients did, and what they may do.
func TestStatusPage(t *testing.T) {
	address := freeAddress(t)
	corefile := strings.Replace(smallCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\nstatus "+address, 1)
	s := start(t, corefile)
	host, other := s.context("host/client1.example.test"), s.context("host/client2.example.test")
	want(t, "update", s.signed(host, message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.1")), dns.RcodeSuccess)
	want(t, "update", s.signed(host, message(t, "example.test.", "-client1.example.test. A", "+client1.example.test. 300 A 192.0.2.2")), dns.RcodeSuccess)
	want(t, "PTR", s.signed(host, message(t, "2.0.192.in-addr.arpa.", "+2.2.0.192.in-addr.arpa. 300 PTR client1.example.test.")), dns.RcodeSuccess)
	want(t, "refused", s.signed(other, message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.66")), dns.RcodeRefused)

	overview := fetch[struct {
		Status view.Status
		Recent view.Recent
	}](t, address, "/index.json")
	if st := overview.Status; !st.Ready || len(st.Zones) != 2 || len(st.Keys) == 0 || st.Contexts.Established != (view.Usage{Used: 2, Limit: 10000}) || len(st.Findings) == 0 {
		t.Errorf("%+v", st)
	}
	const client2 = "host/client2.example.test@EXAMPLE.TEST"
	refused := overview.Recent.Refused
	if len(refused) != 1 || refused[0].Client != client2 || !strings.Contains(refused[0].Refusals[0].Reason, "belongs to host/client1.example.test@EXAMPLE.TEST") ||
		refused[0].Refusals[0].Fix == "" || refused[0].Refusals[0].Added[0].Data != "192.0.2.66" {
		t.Errorf("%+v", refused)
	}
	for zone, counts := range map[string][2]int{"example.test.": {2, 1}, "2.0.192.in-addr.arpa.": {1, 0}} {
		v := fetch[struct {
			Zone    string
			Updates string
			Records view.Usage
			History []view.Point
			Recent  view.Recent
		}](t, address, "/zone.json?name="+zone)
		var applied, refused int
		for _, p := range v.History {
			applied += p.Applied
			refused += p.Refused
		}
		if v.Zone != zone || v.Updates != "secure" || v.Records.Used == 0 || v.Records.Limit == 0 || [2]int{applied, refused} != counts || len(v.Recent.Changes) != counts[0] {
			t.Errorf("%+v", v)
		}
	}
	changes := fetch[struct{ Changes []view.Change }](t, address, "/changes.json?zone=example.test.").Changes
	if c := changes[0]; c.Removed[0].Data != "192.0.2.1" || c.Added[0].Data != "192.0.2.2" || c.Author != "host/client1.example.test@EXAMPLE.TEST" || c.To != c.From+1 {
		t.Errorf("%+v", c)
	}

	// The list of contexts is that of the control socket, the newest first.
	listed, err := current.listContexts(t.Context(), struct{}{})
	contexts := fetch[struct {
		Established view.Usage
		Total       int
		Contexts    []view.Context
	}](t, address, "/contexts.json")
	if err != nil || contexts.Total != 2 || len(contexts.Contexts) != 2 || contexts.Established.Used != 2 {
		t.Fatalf("%+v, %v", contexts, err)
	}
	for _, c := range contexts.Contexts {
		if !slices.ContainsFunc(listed, func(l view.Context) bool { return reflect.DeepEqual(l, c) }) || c.Messages == 0 || c.Created == nil || c.Used == nil || c.Address == "" {
			t.Errorf("%+v, at the socket: %+v", c, listed)
		}
	}
	of2 := fetch[struct{ Contexts []view.Context }](t, address, "/search.json?q=client2").Contexts
	if len(of2) != 1 || of2[0].Principal != client2 {
		t.Errorf("%+v", of2)
	}

	decision := func(principal, name string) view.Decision {
		q := url.Values{"principal": {principal}, "name": {name}, "type": {"A"}}
		return fetch[struct{ Decision view.Decision }](t, address, "/may.json?"+q.Encode()).Decision
	}
	may := func(principal, name string) bool { return decision(principal, name).Permitted }
	want(t, "the owner may", may("host/client1.example.test@EXAMPLE.TEST", "client1.example.test"), true)
	want(t, "another may", may(client2, "client1.example.test"), false)
	if d := decision(client2, "client1.example.test"); d.Cause != policy.CauseOwned || !strings.Contains(d.Fix, "coredns gsstsig own client1.example.test. "+client2) {
		t.Errorf("the refusal of another: %+v", d)
	}
	want(t, "one of another realm", may("host/x@EXAMPLE.ORG", "new.example.test"), false)
	if _, err := current.freeze(t.Context(), view.ZoneRequest{Zone: "example.test"}); err != nil {
		t.Fatal(err)
	}
	d := decision("host/client1.example.test@EXAMPLE.TEST", "client1.example.test")
	if d.Permitted || d.Rule != "frozen" || !strings.Contains(d.Fix, "coredns gsstsig thaw example.test.") {
		t.Errorf("the owner, in a frozen zone: %+v", d)
	}
	if _, err := current.thaw(t.Context(), view.ZoneRequest{Zone: "example.test"}); err != nil {
		t.Fatal(err)
	}
	want(t, "the owner may after thaw", may("host/client1.example.test@EXAMPLE.TEST", "client1.example.test"), true)
	for _, q := range []string{"principal=x&name=a.example.test", "principal=" + client2 + "&name=a.example.org", "principal=" + client2 + "&name=a.example.test&type=NOTHING"} {
		if v := fetch[struct{ Error string }](t, address, "/may.json?"+q); v.Error == "" {
			t.Errorf("%s: no error", q)
		}
	}

	// A reload keeps the page and what it knows; a Corefile without it ends it.
	if err := s.reload(corefile); err != nil {
		t.Fatal(err)
	}
	want(t, "changes after a reload", len(fetch[struct{ Changes []view.Change }](t, address, "/changes.json").Changes), 3)
	if err := s.reload(smallCorefile); err != nil {
		t.Fatal(err)
	}
	if response, err := http.Get("http://" + address); err == nil {
		response.Body.Close()
		t.Error("the page is there after a reload without it")
	}
	want(t, "watchers", current.audit.keeps(), false)
	s.stop()
	want(t, "changes of a zone that is gone", len(current.audit.recent.Changes("example.test.")), 0)
}

// TestSearch: names are found by themselves, their addresses and their owners, what is meant exactly first.
func TestSearch(t *testing.T) {
	s := start(t, smallCorefile)
	host := s.context("host/client1.example.test")
	want(t, "update", s.signed(host, message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.1", "+client1.example.test. 300 AAAA 2001:db8::1")), dns.RcodeSuccess)
	want(t, "update", s.signed(host, message(t, "example.test.", "+Other.example.test. 300 A 192.0.2.11")), dns.RcodeSuccess)
	want(t, "update", s.signed(host, message(t, "example.test.", "+gone.example.test. 300 A 192.0.2.3")), dns.RcodeSuccess)
	want(t, "update", s.signed(host, message(t, "example.test.", "-gone.example.test. A")), dns.RcodeSuccess)
	want(t, "PTR", s.signed(host, message(t, "2.0.192.in-addr.arpa.", "+1.2.0.192.in-addr.arpa. 300 PTR client1.example.test.")), dns.RcodeSuccess)
	for words, names := range map[string]string{
		"client1":                                "client1.example.test. 1.2.0.192.in-addr.arpa. gone.example.test. other.example.test.",
		"CLIENT1.example.test.":                  "client1.example.test. 1.2.0.192.in-addr.arpa. gone.example.test. other.example.test.",
		"192.0.2.1":                              "1.2.0.192.in-addr.arpa. client1.example.test.",
		"2001:DB8:0::1":                          "client1.example.test.",
		"192.0.2.11":                             "other.example.test.",
		"gone":                                   "gone.example.test.",
		"ther.exam":                              "other.example.test.",
		"host/client1.example.test@EXAMPLE.TEST": "1.2.0.192.in-addr.arpa. client1.example.test. gone.example.test. other.example.test.",
		"nothing":                                "",
		" ":                                      "",
		strings.Repeat("a", 300):                 "",
	} {
		found, more := current.search(t.Context(), words, 10)
		var got []string
		for _, n := range found {
			got = append(got, n.Name)
		}
		if strings.Join(got, " ") != names || more {
			t.Errorf("%s: %v, %t; want %s", words, got, more, names)
		}
	}
	found, more := current.search(t.Context(), "client1", 2)
	want(t, "found", fmt.Sprint(len(found), more), "2 true")
	if v := found[0]; len(v.Records) != 2 || v.Owner != "host/client1.example.test@EXAMPLE.TEST" || v.Deleted != nil {
		t.Errorf("%+v", v)
	}
	found, _ = current.search(t.Context(), "gone", 1)
	if found[0].Deleted == nil || len(found[0].Records) != 0 {
		t.Errorf("%+v", found)
	}
}

// TestNewestContexts: the newest contexts come first, and those of the last process, whose age is not known, last.
func TestNewestContexts(t *testing.T) {
	at := func(minute int) *time.Time {
		created := time.Date(2026, 5, 4, 12, minute, 0, 0, time.UTC)
		return &created
	}
	list := []view.Context{{Key: "b", Principal: "p"}, {Key: "old", Created: at(1)}, {Key: "a", Principal: "p"}, {Key: "new", Created: at(2)}}
	sortNewest(list)
	var order []string
	for _, c := range list {
		order = append(order, c.Key)
	}
	want(t, "order", strings.Join(order, " "), "new old a b")
}
