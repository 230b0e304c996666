package gsstsig

import (
	"errors"
	"fmt"
	clog "log"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/time/rate"

	"github.com/gsstsig/coredns-gsstsig/internal/ratelimit"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// TestUpdateLinesAreBounded: one identity gets no more lines than its share, changes have a share of their own, neighbours
// keep theirs, and what was left out is counted.
func TestUpdateLinesAreBounded(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	var due []func()
	newLimit := func() *lineLimit {
		return newLineLimit(lineLimitConfig{
			changes: ratelimit.Config{PerSecond: 10, Burst: 50, Now: clock},
			others:  ratelimit.Config{PerSecond: 1, Burst: 5, Now: clock},
			all:     rate.NewLimiter(0, 20),
			after:   func(_ time.Duration, f func()) { due = append(due, f) },
		})
	}
	who := func(name string) policy.Identity { return policy.Identity{Kind: policy.Kerberos, Name: name} }
	left := make(map[string]int)
	report := func(identity string, lines int) { left[identity] += lines }
	limit := newLimit()
	send := func(name string, changed bool, n int) (lines int) {
		for range n {
			if limit.allow(who(name), changed, report) {
				lines++
			}
		}
		return lines
	}
	if n := send("mallory", false, 1000); n != 5 {
		t.Errorf("%d lines about no changes", n)
	}
	if n := send("mallory", true, 1000); n != 50 {
		t.Errorf("%d lines about changes", n)
	}
	if n := send("alice", false, 5) + send("alice", true, 5); n != 10 {
		t.Errorf("%d lines of a neighbour", n)
	}
	if len(due) != 1 {
		t.Fatalf("%d reports are due", len(due))
	}
	due[0]()
	if !maps.Equal(left, map[string]int{"mallory": 995 + 950}) {
		t.Error(left)
	}
	now = now.Add(time.Second)
	if n := send("mallory", true, 100); n != 10 {
		t.Errorf("%d lines a second later", n)
	}
	if len(due) != 2 {
		t.Fatalf("%d reports are due", len(due))
	}
	// However many identities there are, what they cause together is bounded, and so is the report.
	limit, due = newLimit(), nil
	clear(left)
	lines := 0
	for i := range 1000 {
		lines += send(fmt.Sprint("host", i), false, 1)
	}
	if lines != 20 || len(due) != 1 {
		t.Errorf("%d lines, %d reports", lines, len(due))
	}
	due[0]()
	if len(left) != leftOutIdentities+1 || left[otherIdentities] != 1000-20-leftOutIdentities {
		t.Error(left)
	}
}

// TestLinesAreShort: a line is bounded, however long the names, and however many the records and notes are.
func TestLinesAreShort(t *testing.T) {
	var lines strings.Builder
	clog.SetOutput(&lines)
	defer clog.SetOutput(&logged)
	z, id, m := auditing(t)
	id.Name = strings.Repeat("\x01", 60_000)
	long := strings.Repeat(strings.Repeat(`\000`, 60)+".", 3) + "example.test."
	rr, err := dns.NewRR(long + " 300 IN A 192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	decision := zone.Decision{Rule: strings.Repeat("r", 5000), Reason: strings.Repeat("\n", 5000)}
	for range 1000 {
		m.Insert([]dns.RR{rr})
		decision.Notes = append(decision.Notes, strings.Repeat("\n", 1000))
	}
	newAuditor().update(z.Origin(), id, sender{netip.MustParseAddrPort("[2001:db8::1]:5353"), "udp"}, m, zone.Result{Rcode: dns.RcodeServerFailure,
		Decision: decision, Err: errors.New(strings.Repeat("\x01", 5000))}, corefile.LogInfo)
	if n := lines.Len(); n > 12_000 || strings.Count(lines.String(), "\n") != 1 || !strings.Contains(lines.String(), "and 994 more") {
		t.Errorf("%d octets: %.2000s", n, lines.String())
	}
}
