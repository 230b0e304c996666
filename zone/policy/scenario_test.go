package policy_test

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/policy/policytest"
)

// A scenario is a zone that one policy watches over and what happens to it, written as in
// testdata/scenarios: a line "== TITLE" and then lines of
//
//	mode MODE              realms REALM...          protect NAME...
//	proxies IDENTITY...     reclaim WORD
//	grant ...              deny ...                 zone ORIGIN
//	aging DURATION         the no-refresh interval
//	WHO [tcp|udp ADDRESS] : CHANGE [; CHANGE]... -> RCODE [same|refreshed] [NOTE]
//	wait DURATION
//	reload                 a new policy of the lines since the last one
//	owner NAME is PRINCIPAL | was PRINCIPAL | none
//	elsewhere NAME OWNER   an owner in another zone of the server
//	target NAME            a name that records of the services of another zone lead to
//	has NAME TYPE [RDATA]  lacks NAME [TYPE]
//
// WHO is as in the tables of policytest; a principal may have in brackets what its ticket's PAC tells,
// see withPAC.
//
// "same" says that no record changes, though the update succeeds, and "refreshed" that one gets another
// time but none changes otherwise; everything else that succeeds must change one. NOTE is a part of what is noted for the log, in quotation marks; without it
// nothing may be noted. Names and changes are as in the tables of policytest; "if NAME" among them
// is the prerequisite that the name is in use. The zone is one of policytest.Seeds, example.test
// unless said otherwise.
type scenario struct {
	t      *testing.T
	config policy.Config
	origin string
	zone   *zone.Zone
	policy *policy.Policy
	clock  time.Time
	aging  zone.Aging

	elsewhere map[string]string // owners by names in wire form
}

// TestScenarios plays them. Those of quotas.txt are about limits on records of a type, which no
// other entry of a rule, and no order of changes, gets around (BIND GL #5799).
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split("\n"+string(text), "\n== ")[1:] {
			title, body, _ := strings.Cut(part, "\n")
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+title, func(t *testing.T) {
				s := &scenario{t: t, origin: "example.test.", clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
				s.run(body)
			})
		}
	}
}

func (s *scenario) run(body string) {
	lines := bufio.NewScanner(strings.NewReader(body))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := s.line(line); err != nil {
			s.t.Fatalf("%s\n\t%v", line, err)
		}
	}
}

func (s *scenario) line(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	words := strings.Fields(rest)
	var err error
	switch word {
	case "mode":
		s.config.Mode, err = policy.ParseMode(rest)
	case "realms":
		s.config.Realms = words
	case "proxies":
		s.config.Proxies = words
	case "elsewhere":
		if s.config.OwnerOf == nil {
			owners := map[string]string{}
			s.elsewhere = owners
			s.config.OwnerOf = func(name []byte) string { return owners[string(name)] }
		}
		s.elsewhere[wire(words[0])] = words[1]
	case "target":
		target := wire(words[0])
		s.config.IsTarget = func(name []byte) bool { return string(name) == target }
	case "reclaim":
		s.config.Reclaim, err = policy.ParseReclaim(rest)
	case "protect":
		s.config.Protected = words
	case "zone":
		s.origin = rest
	case "grant", "deny":
		var r policy.Rule
		r, err = policy.ParseRule(words, "Corefile:1", word == "deny")
		s.config.Rules = append(s.config.Rules, r)
	case "reload":
		s.policy = nil
		s.config = policy.Config{}
	case "wait":
		var d time.Duration
		d, err = time.ParseDuration(rest)
		s.clock = s.clock.Add(d)
	case "aging":
		s.aging.NoRefresh, err = time.ParseDuration(rest)
	case "owner":
		return s.owner(words)
	case "has", "lacks":
		return s.records(word == "has", words)
	default:
		return s.update(line)
	}
	return err
}

func (s *scenario) start() error {
	if s.zone == nil {
		s.zone = openZone(s.t, s.origin, mustRecords(s.t, s.origin), zone.Config{Aging: s.aging, Now: func() time.Time { return s.clock }})
	}
	if s.policy == nil {
		s.policy = newPolicy(s.t, s.config)
	}
	return nil
}

func (s *scenario) update(line string) error {
	if err := s.start(); err != nil {
		return err
	}
	request, want, ok := strings.Cut(line, " -> ")
	sender, changes, ok2 := strings.Cut(request, " : ")
	if !ok || !ok2 {
		return fmt.Errorf("not a line of a scenario")
	}
	words := strings.Fields(sender)
	who, ticket, _ := strings.Cut(strings.TrimSuffix(words[0], "]"), "[")
	c := policytest.Case{Who: who, Client: netip.MustParseAddr("192.0.2.77")}
	if len(words) == 3 {
		c.TCP, c.Client = words[1] == "tcp", netip.MustParseAddr(words[2])
	}
	id := withPAC(c.Identity(), ticket)
	m := new(dns.Msg)
	m.SetUpdate(s.origin)
	for _, change := range strings.Split(changes, ";") {
		change = strings.TrimSpace(change)
		if name, ok := strings.CutPrefix(change, "if "); ok {
			m.Answer = append(m.Answer, &dns.ANY{Hdr: dns.RR_Header{
				Name: policytest.Absolute(s.origin, name), Rrtype: dns.TypeANY, Class: dns.ClassANY}})
			continue
		}
		rr, err := policytest.ParseChange(s.origin, change)
		if err != nil {
			return err
		}
		m.Ns = append(m.Ns, rr)
	}
	wire, err := m.Pack()
	if err != nil {
		return err
	}
	r := s.zone.Apply(context.Background(), s.policy.Update(id, wire))
	want, note, _ := strings.Cut(want, ` "`)
	note = strings.TrimSuffix(note, `"`)
	rcode, same, _ := strings.Cut(want, " ")
	if got := dns.RcodeToString[r.Rcode]; got != rcode {
		return fmt.Errorf("%s, decision %+v, %v", got, r.Decision, r.Err)
	}
	if r.Rcode == dns.RcodeSuccess && r.Changed != (same == "") {
		return fmt.Errorf("changed: %v, decision %+v", r.Changed, r.Decision)
	}
	if same != "" && (r.Refreshed > 0) != (same == "refreshed") {
		return fmt.Errorf("%d records refreshed, decision %+v", r.Refreshed, r.Decision)
	}
	notes := strings.Join(r.Decision.Notes, "\n")
	if note == "" && notes != "" || !strings.Contains(notes, note) {
		return fmt.Errorf("notes: %q", notes)
	}
	if r.Rcode == dns.RcodeRefused && (r.Decision.Reason == "" || r.Decision.Rule == "" || !slices.Contains(policy.Causes(), r.Decision.Cause)) {
		return fmt.Errorf("a refusal without reason, cause or rule: %+v", r.Decision)
	}
	return nil
}

func (s *scenario) owner(words []string) error {
	o, ok := s.zone.Snapshot().Owner(policytest.Absolute(s.origin, words[0]))
	got := "none"
	if ok && o.Deleted.IsZero() {
		got = "is " + o.Principal
	} else if ok {
		got = "was " + o.Principal
	}
	if want := strings.Join(words[1:], " "); got != want {
		return fmt.Errorf("owner %s", got)
	}
	return nil
}

func (s *scenario) records(has bool, words []string) error {
	name := policytest.Absolute(s.origin, words[0])
	snapshot := s.zone.Snapshot()
	if len(words) == 1 {
		if snapshot.Exists(name) != has {
			return fmt.Errorf("exists: %v", !has)
		}
		return nil
	}
	found := false
	for _, rr := range snapshot.RRset(name, dns.StringToType[words[1]]) {
		text := strings.TrimPrefix(rr.String(), rr.Header().String())
		found = found || len(words) == 2 || text == strings.Join(words[2:], " ")
	}
	if found != has {
		return fmt.Errorf("there: %v", found)
	}
	return nil
}
