package zone

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/storetest"
)

// week is the refresh and the no-refresh interval of the tests.
const week = 7 * 24 * time.Hour

// aged opens a zone that ages, with a clock.
func aged(t *testing.T, aging Aging) (*Zone, *clock, *storetest.Faulty) {
	t.Helper()
	c := &clock{at: timesNow}
	var f *storetest.Faulty
	z := openText(t, testApex, func(config *Config) {
		f = &storetest.Faulty{Store: config.Store}
		config.Store, config.Aging, config.Now = f, aging, c.now
	})
	return z, c, f
}

// host adds a host that belongs to a principal of its name.
func host(t *testing.T, z *Zone, name string) Result {
	t.Helper()
	r := applyAs(t, z, "U "+name+".example.test. 300 IN A 192.0.2.7", Claim{Name: wire(t, name+".example.test."), Principal: name})
	if r.Rcode != dns.RcodeSuccess {
		t.Fatal(r)
	}
	return r
}

// scavenge scavenges, and returns what went, as NAME TYPE.
func scavenge(t *testing.T, z *Zone) (gone []string, s Scavenging) {
	t.Helper()
	before := z.Snapshot().Serial()
	s, err := z.Scavenge(t.Context(), func(r Result) {
		if r.Before != before || r.After == r.Before {
			t.Errorf("from serial %d to %d after %d", r.Before, r.After, before)
		}
		before = r.After
		for _, record := range r.Removed {
			if record.Type != dns.TypeSOA {
				gone = append(gone, strings.TrimSuffix(dnswire.NameText([]byte(record.Name)), ".example.test.")+" "+dnswire.TypeText(record.Type))
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.Removed != len(gone) {
		t.Errorf("%d removed, reported %q", s.Removed, gone)
	}
	verify(t, z.Snapshot())
	return gone, s
}

// stale returns what is stale at a time, as NAME TYPE.
func stale(z *Zone, by time.Time) (names []string) {
	for s := range z.Snapshot().Stale(z.Aging(), by) {
		names = append(names, strings.TrimSuffix(dnswire.NameText([]byte(s.Name)), ".example.test.")+" "+dnswire.TypeText(s.Type))
	}
	return names
}

// A record goes when both intervals have passed since the hour of its last refresh, not a second
// earlier, and its name keeps its owner.
func TestScavengeWhenDue(t *testing.T) {
	z, c, _ := aged(t, Aging{NoRefresh: week, Refresh: week})
	host(t, z, "a")
	hour := c.at.Truncate(time.Hour)
	c.at = c.at.Add(10 * 24 * time.Hour)
	host(t, z, "b")
	due := hour.Add(2 * week)
	if got := stale(z, due.Add(-time.Second)); len(got) != 0 {
		t.Errorf("stale before it is due: %q", got)
	}
	for s := range z.Snapshot().Stale(z.Aging(), due) {
		if dnswire.NameText([]byte(s.Name)) != "a.example.test." || !s.Due.Equal(due) || s.Hours != uint32(hour.Unix()/3600) {
			t.Errorf("%+v", s)
		}
	}
	c.at = due.Add(-time.Second)
	if gone, s := scavenge(t, z); len(gone) != 0 || s.Waiting != 0 {
		t.Errorf("gone early: %q, %+v", gone, s)
	}
	c.at = due
	if gone, _ := scavenge(t, z); !slices.Equal(gone, []string{"a A"}) {
		t.Errorf("gone when due: %q", gone)
	}
	if o, ok := z.Snapshot().Owner("a.example.test."); !ok || o.Principal != "a" || !o.Deleted.Equal(due) {
		t.Errorf("the owner is %+v, %t", o, ok)
	}
	for c, err := range z.Log(t.Context()) {
		if err != nil || c.Author != ScavengeAuthor || c.Rule != "aging 7d 7d" || len(c.Removed) != 2 || len(c.Added) != 1 {
			t.Errorf("%+v, %v", c, err)
		}
		break
	}
	if gone, _ := scavenge(t, z); len(gone) != 0 {
		t.Errorf("gone again: %q", gone)
	}
}

// What is static stays, as does what belongs to the zone's own name, and a record beside a stale one.
func TestScavengeLeaves(t *testing.T) {
	z, c, _ := aged(t, Aging{NoRefresh: week, Refresh: week})
	apply(t, z, "U example.test. 300 IN TXT \"x\"\nU a.example.test. 300 IN A 192.0.2.1\nU a.example.test. 300 IN TXT \"x\"")
	z.Apply(t.Context(), &Update{Message: pack(t, message(t, "U s.example.test. 300 IN A 192.0.2.1\nU a.example.test. 300 IN A 192.0.2.9")), Static: true})
	c.at = c.at.Add(week)
	apply(t, z, "U a.example.test. 300 IN TXT \"x\"\nU a.example.test. 300 IN TXT \"y\"")
	c.at = c.at.Add(week)
	if gone, _ := scavenge(t, z); !slices.Equal(gone, []string{"a A"}) {
		t.Errorf("gone: %q", gone)
	}
	if got := len(z.Snapshot().RRset("a.example.test.", dns.TypeA)); got != 1 {
		t.Errorf("%d addresses", got)
	}
	c.at = c.at.Add(1000 * week)
	if gone, _ := scavenge(t, z); !slices.Equal(gone, []string{"a TXT", "a TXT"}) {
		t.Errorf("gone: %q", gone)
	}
	if got := texts(z.Snapshot()); len(got) != 5 {
		t.Errorf("left: %q", got)
	}
}

// Clients get the refresh interval to refresh their records after the zone was opened, aging was
// switched on, the zone was thawed, or the clock was set ahead.
func TestScavengeGrace(t *testing.T) {
	aging := Aging{NoRefresh: week, Refresh: 2 * week}
	for name, begin := range map[string]func(t *testing.T, z *Zone, c *clock) *Zone{
		"opened": func(t *testing.T, z *Zone, c *clock) *Zone {
			records := slices.Collect(z.Snapshot().WireRecords())
			return openText(t, testApex, func(config *Config) {
				config.Aging, config.Now = aging, c.now
				config.Seed = func() ([]store.Record, error) { return records, nil }
			})
		},
		"on": func(t *testing.T, z *Zone, _ *clock) *Zone {
			z.Configure(Limits{}, 0, Aging{})
			z.Configure(Limits{}, 0, aging)
			return z
		},
		"thawed": func(t *testing.T, z *Zone, c *clock) *Zone {
			if !freeze(t, z) {
				t.Fatal("not frozen")
			}
			if _, err := z.Scavenge(t.Context(), nil); err == nil {
				t.Error("scavenged while it is frozen")
			}
			if !thaw(t, z) {
				t.Fatal("not thawed")
			}
			return z
		},
		"set back": func(t *testing.T, z *Zone, c *clock) *Zone {
			passed := time.Duration(0)
			z.elapsed = func() time.Duration { return passed }
			at := c.at
			c.at = at.Add(1000 * week)
			scavenge(t, z) // the clock goes ahead
			c.at = at
			if gone, s := scavenge(t, z); len(gone) != 0 || s.ClockJump != 0 {
				t.Errorf("gone: %q, %+v", gone, s)
			}
			z.elapsed = func() time.Duration { return passed + c.at.Sub(at) }
			return z
		},
		"clock": func(t *testing.T, z *Zone, c *clock) *Zone {
			passed := time.Duration(0)
			z.elapsed = func() time.Duration { return passed }
			z.grace.observe(c.at.Add(-2*time.Hour).Unix(), -time.Hour-time.Second) // not quite an hour
			z.grace.jumped()
			z.grace.observe(c.at.Unix(), passed)
			if jump := z.grace.jumped(); jump != 0 {
				t.Errorf("jump of %v", jump)
			}
			c.at = c.at.Add(90 * 24 * time.Hour)
			passed = time.Hour
			if gone, s := scavenge(t, z); len(gone) != 0 || s.ClockJump != 90*24*time.Hour-time.Hour {
				t.Errorf("gone: %q, %+v", gone, s)
			}
			at := c.at
			z.elapsed = func() time.Duration { return passed + c.at.Sub(at) }
			return z
		},
	} {
		t.Run(name, func(t *testing.T) {
			z, c, _ := aged(t, aging)
			host(t, z, "a")
			c.at = c.at.Add(100 * week)
			z = begin(t, z, c)
			from := c.at.Add(2 * week)
			if got := z.AgingFrom(); !got.Equal(from) {
				t.Errorf("records go from %v on, want %v", got, from)
			}
			// A reload that changes nothing, or the intervals alone, does not begin it again.
			c.at = c.at.Add(time.Hour)
			z.Configure(Limits{}, 0, Aging{NoRefresh: week, Refresh: 2 * week})
			c.at = from.Add(-time.Second)
			if gone, s := scavenge(t, z); len(gone) != 0 || s.Waiting != 1 {
				t.Errorf("gone: %q, %+v", gone, s)
			}
			c.at = from
			if gone, s := scavenge(t, z); len(gone) != 1 || s.Waiting != 0 {
				t.Errorf("gone: %q, %+v", gone, s)
			}
		})
	}
}

// What clients add and refresh while the clock is wrong does not go because of that, when the clock is right again:
// also if it was wrong between two passes alone, as at a start without a battery until NTP answers, and if it is
// corrected while a pass goes on.
func TestScavengeAfterAClockThatWasBehind(t *testing.T) {
	for name, behind := range map[string]time.Duration{"16 days": 16 * 24 * time.Hour, "20 years": 20 * 365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			z, c, _ := aged(t, Aging{NoRefresh: week, Refresh: week})
			var passed, wrong time.Duration
			begin := c.at
			tick := func(d time.Duration) { passed += d; c.at = begin.Add(passed + wrong) }
			z.elapsed = func() time.Duration { return passed }
			host(t, z, "a")
			for passed < 5*week { // clients refresh their records each day, and a pass is each hour
				for range 24 {
					tick(time.Hour)
					if gone, s := scavenge(t, z); len(gone) != 0 || s != (Scavenging{}) {
						t.Fatalf("after %v: gone %q, %+v", passed, gone, s)
					}
				}
				apply(t, z, "U a.example.test. 300 IN A 192.0.2.7")
			}
			tick(10 * time.Minute)
			wrong = -behind
			tick(10 * time.Minute)
			host(t, z, "b")
			apply(t, z, "U a.example.test. 300 IN A 192.0.2.7")
			tick(10 * time.Minute)
			wrong = 0
			tick(10 * time.Minute)
			host(t, z, "c") // with this, the server sees that the clock was set
			if gone, s := scavenge(t, z); len(gone) != 0 || s.Waiting != 2 || (s.ClockJump-behind).Abs() > time.Second {
				t.Errorf("gone: %q, %+v", gone, s)
			}
			apply(t, z, "U a.example.test. 300 IN A 192.0.2.7") // the others are gone for good
			tick(week - time.Hour)
			if gone, s := scavenge(t, z); len(gone) != 0 || s.ClockJump != 0 {
				t.Errorf("gone: %q, %+v", gone, s)
			}
			tick(2 * time.Hour)
			if gone, _ := scavenge(t, z); !slices.Equal(gone, []string{"b A"}) {
				t.Errorf("gone: %q", gone)
			}
		})
	}
}

// A clock that is set ahead while a pass goes on takes no more records with it than those that were stale before.
func TestScavengeStopsAtAClockJump(t *testing.T) {
	z, c, _ := aged(t, Aging{NoRefresh: week, Refresh: week})
	passed, set := time.Duration(0), time.Duration(0)
	begin := c.at
	tick := func(d time.Duration) { passed += d; c.at = begin.Add(passed + set) }
	z.elapsed = func() time.Duration { return passed }
	for i := range scavengeRecords + 20 {
		host(t, z, fmt.Sprintf("a%03d", i))
	}
	tick(2*week - time.Hour)
	host(t, z, "z")
	tick(time.Hour)
	z.rest = func(context.Context, time.Duration) { set = 52 * week; tick(0) }
	gone, s := scavenge(t, z)
	if slices.Contains(gone, "z A") || len(gone) != scavengeRecords || s.ClockJump != 52*week {
		t.Errorf("%d gone: %q, %+v", len(gone), gone, s)
	}
}

// TestTombstonesAtAClockJump: a clock that is wrong frees no name of a client before its time, whether it is ahead, or was behind when
// the client gave the name up. Once it has gone on for a lifetime it counts.
func TestTombstonesAtAClockJump(t *testing.T) {
	const claimed = "U a.example.test. 60 IN A 192.0.2.1"
	for name, test := range map[string]struct {
		wrong time.Duration // when the name is given up
		steps []struct{ passed, wrong time.Duration }
		kept  []bool // after each step; the name is taken again and given up where it was free
	}{
		"right":          {0, []struct{ passed, wrong time.Duration }{{week - time.Hour, 0}, {2 * time.Hour, 0}}, []bool{true, false}},
		"ahead":          {0, []struct{ passed, wrong time.Duration }{{time.Hour, 30 * week}, {time.Hour, 30 * week}, {time.Hour, 0}, {week - 4*time.Hour, 0}, {2 * time.Hour, 0}}, []bool{true, true, true, true, false}},
		"behind":         {-30 * week, []struct{ passed, wrong time.Duration }{{time.Hour, 0}, {week - 2*time.Hour, 0}, {3 * time.Hour, 0}}, []bool{true, true, false}},
		"ahead for ever": {0, []struct{ passed, wrong time.Duration }{{time.Hour, 30 * week}, {week - 2*time.Hour, 30 * week}, {2 * time.Hour, 30 * week}}, []bool{true, true, false}},
		"set back":       {0, []struct{ passed, wrong time.Duration }{{week - 2*time.Hour, 30 * week}, {time.Hour, 0}, {2 * time.Hour, 0}}, []bool{true, true, false}},
		"made while ahead, after a week": {0, []struct{ passed, wrong time.Duration }{{time.Hour, 30 * week}, {week, 30 * week}, {week - time.Hour, 30 * week}, {2 * time.Hour, 30 * week}},
			[]bool{true, false, true, false}},
		"a little ahead": {0, []struct{ passed, wrong time.Duration }{{week - time.Hour, time.Hour - time.Second}, {2 * time.Second, time.Hour - time.Second}}, []bool{true, false}},
	} {
		t.Run(name, func(t *testing.T) {
			z, c, _ := aged(t, Aging{})
			begin, passed, wrong := c.at, time.Duration(0), test.wrong
			set := func() { c.at = begin.Add(passed + wrong) }
			z.elapsed = func() time.Duration { return passed }
			set()
			claim := func(p *Proposal) Decision {
				return Decision{Allow: true, Own: []Claim{{Name: string(p.Name(0).Wire()), Principal: "bob"}}}
			}
			makeTombstone := func() {
				for _, script := range []string{claimed, "U a.example.test. 0 ANY ANY"} {
					u := &Update{Message: pack(t, message(t, script)), Authorize: claim}
					if script != claimed {
						u.Authorize = nil
					}
					if r := z.Apply(t.Context(), u); !r.Changed {
						t.Fatalf("%+v", r)
					}
				}
			}
			makeTombstone()
			for i, step := range test.steps {
				passed, wrong = passed+step.passed, step.wrong
				set()
				ofBob := func(p *Proposal) bool {
					held, found := p.Holding([]byte("\x01a\x07example\x04test\x00"))
					return found && held.Owned && held.Owner.Principal == "bob"
				}
				kept, told := false, ofBob(propose(t, z, claimed))
				z.Apply(t.Context(), &Update{Message: pack(t, message(t, claimed)), Authorize: func(p *Proposal) Decision {
					kept = ofBob(p)
					return Decision{}
				}})
				if kept != test.kept[i] || told != kept {
					t.Errorf("after step %d the tombstone counts: %t, for who asks before: %t", i, kept, told)
				}
				if !kept {
					makeTombstone()
				}
			}
		})
	}
}

// TestTombstonesOfASuspendedServer: a server that is suspended each night keeps the names that clients gave up not longer from month to
// month.
func TestTombstonesOfASuspendedServer(t *testing.T) {
	z, c, _ := aged(t, Aging{})
	passed := time.Duration(0)
	z.elapsed = func() time.Duration { return passed }
	night := func() {
		passed += 14 * time.Hour
		c.at = c.at.Add(24 * time.Hour)
		z.clock()
	}
	for range 100 {
		night()
	}
	made := c.at
	days := 0
	for z.grace.expired(c.at, week) < made.Unix() {
		night()
		days++
	}
	if days < 7 || days > 14 { // the nights of a week by day count twice
		t.Errorf("the name is free after %d days", days)
	}
}

// TestSetAhead: what a clock was set ahead by counts for a lifetime each time, but for what it was set back again.
func TestSetAhead(t *testing.T) {
	type step struct{ passed, set, want time.Duration } // want is what counts then
	for name, steps := range map[string][]step{
		"twice":             {{0, 2 * time.Hour, 2 * time.Hour}, {week - time.Second, 3 * time.Hour, 5 * time.Hour}, {time.Second, 0, 3 * time.Hour}, {week - time.Second, 0, 0}},
		"in part set back":  {{0, 2 * time.Hour, 2 * time.Hour}, {0, 3 * time.Hour, 5 * time.Hour}, {0, -time.Hour, 4 * time.Hour}, {0, -3 * time.Hour, time.Hour}, {0, 0, time.Hour}},
		"set back too far":  {{0, 2 * time.Hour, 2 * time.Hour}, {0, -9 * time.Hour, 0}, {0, time.Hour, time.Hour}},
		"a little":          {{0, 2 * time.Hour, 2 * time.Hour}, {0, time.Hour - time.Second, 2 * time.Hour}, {0, time.Second - time.Hour, 2 * time.Hour}},
		"again and again":   slices.Repeat([]step{{0, time.Hour, -1}}, 10*maxSetAhead),
		"ahead and back":    slices.Repeat([]step{{0, time.Hour, time.Hour}, {0, -time.Hour, 0}}, 2*maxSetAhead),
		"ahead for an hour": {{0, 9 * week, 9 * week}, {time.Hour, -9 * week, 0}, {week, 0, 0}},
	} {
		g, now, passed := new(grace), timesNow, time.Duration(0)
		g.observe(now.Unix(), passed)
		for i, s := range steps {
			passed += s.passed
			now = now.Add(s.passed + s.set)
			g.observe(now.Unix(), passed)
			want := s.want
			if want < 0 {
				want = time.Duration(i+1) * s.set
			}
			if got := now.Add(-week).Sub(time.Unix(g.expired(now, week), 0)); got != want || len(g.ahead) > maxSetAhead {
				t.Errorf("%s, step %d: %v, want %v; %d times", name, i, got, want, len(g.ahead))
			}
		}
	}
}

func TestScavengeOff(t *testing.T) {
	z, c, f := aged(t, Aging{})
	host(t, z, "a")
	commits := len(f.Commits())
	c.at = c.at.Add(1000 * week)
	if gone, s := scavenge(t, z); len(gone) != 0 || s != (Scavenging{}) || len(f.Commits()) != commits {
		t.Errorf("gone: %q, %+v", gone, s)
	}
	// What would be stale can be seen before.
	if got := len(slices.Collect(z.Snapshot().Stale(Aging{NoRefresh: week, Refresh: week}, c.at))); got != 1 {
		t.Errorf("%d records would be stale", got)
	}
}

// Many records go in several updates, each once, also those of one name.
func TestScavengeMany(t *testing.T) {
	z, c, f := aged(t, Aging{NoRefresh: week, Refresh: week})
	var want []string
	for i := range 50 {
		var script strings.Builder
		for k := range i + 1 {
			fmt.Fprintf(&script, "U h%02d.example.test. 300 IN A 192.0.2.%d\n", i, k)
			want = append(want, fmt.Sprintf("h%02d A", i))
		}
		if r := apply(t, z, script.String()); r.Rcode != dns.RcodeSuccess {
			t.Fatal(r)
		}
	}
	var script strings.Builder
	for k := range 100 {
		for _, rrtype := range []string{"TXT", "SPF", "TYPE65280"} {
			data := fmt.Sprintf("%q", fmt.Sprint(k))
			if rrtype == "TYPE65280" {
				data = fmt.Sprintf(`\# 1 %02x`, k)
			}
			fmt.Fprintf(&script, "U many.example.test. 300 IN %s %s\n", rrtype, data)
			want = append(want, "many "+rrtype)
		}
	}
	if r := apply(t, z, script.String()); r.Rcode != dns.RcodeSuccess {
		t.Fatal(r)
	}
	host(t, z, "zzz")
	c.at = c.at.Add(2*week - time.Hour)
	apply(t, z, "U zzz.example.test. 300 IN A 192.0.2.7") // a refresh
	c.at = c.at.Add(time.Hour)
	commits := len(f.Commits())
	gone, _ := scavenge(t, z)
	slices.Sort(want)
	slices.Sort(gone)
	if !slices.Equal(gone, want) {
		t.Errorf("%d gone, want %d", len(gone), len(want))
	}
	if got := len(f.Commits()) - commits; got != (len(want)+scavengeRecords-1)/scavengeRecords {
		t.Errorf("%d commits for %d records", got, len(want))
	}
	if !z.Snapshot().Exists("zzz.example.test.") {
		t.Error("what was refreshed is gone")
	}
}

// A record that is refreshed after it was found to be stale stays.
func TestRefreshedInTheLastMoment(t *testing.T) {
	z, c, f := aged(t, Aging{NoRefresh: week, Refresh: week})
	host(t, z, "a")
	host(t, z, "b")
	c.at = c.at.Add(2 * week)
	entered, gate := make(chan struct{}, 1), make(chan struct{})
	f.Hold(entered, gate)
	refreshed := make(chan Result)
	go func() { refreshed <- apply(t, z, "U a.example.test. 300 IN A 192.0.2.7") }()
	<-entered // the refresh is being written
	scavenged := make(chan []string)
	go func() {
		var gone []string
		_, err := z.Scavenge(context.Background(), func(r Result) {
			for _, record := range r.Removed[1:] {
				gone = append(gone, dnswire.NameText([]byte(record.Name)))
			}
		})
		if err != nil {
			t.Error(err)
		}
		scavenged <- gone
	}()
	queued(t, z, 1)
	f.Hold(nil, nil)
	close(gate)
	if r := <-refreshed; r.Refreshed != 1 {
		t.Errorf("%+v", r)
	}
	if gone := <-scavenged; !slices.Equal(gone, []string{"b.example.test."}) {
		t.Errorf("gone: %q", gone)
	}
}

// Between two updates the writer and the disk are left to clients, for as long as the first one took.
func TestScavengeRests(t *testing.T) {
	z, c, _ := aged(t, Aging{NoRefresh: week, Refresh: week})
	for i := range scavengeRecords + 1 {
		host(t, z, fmt.Sprint("h", i))
	}
	c.at = c.at.Add(3 * week)
	clock := time.Duration(0)
	z.queue.clock = func() time.Duration { clock += time.Second; return clock }
	var rests []time.Duration
	z.rest = func(_ context.Context, took time.Duration) {
		if z.Snapshot().dynamic != 1-len(rests) {
			t.Errorf("rests with %d records left", z.Snapshot().dynamic)
		}
		rests = append(rests, took)
	}
	scavenge(t, z)
	if len(rests) != 2 || rests[0] <= 0 || rests[1] <= 0 {
		t.Errorf("rested for %v, expected as long as each of two updates took", rests)
	}
}

// Which limits of an update are about the tombstones that it would leave: a full queue is not, and skips no names.
func TestNoTombstones(t *testing.T) {
	for limit, want := range map[string]bool{"OwnerTombstones": true, "ZoneOctets": true, "Queue": false, "QueueOctets": false} {
		err := fmt.Errorf("refused: %w", &LimitError{Limit: limit, Max: 1})
		if got := noTombstones(err); (got != nil) != want {
			t.Errorf("%s: %v", limit, got)
		}
	}
	if got := noTombstones(store.ErrTooLarge); got != nil {
		t.Error(got)
	}
}

// A pass that fails goes on at the next one.
func TestScavengeFails(t *testing.T) {
	z, c, f := aged(t, Aging{NoRefresh: week, Refresh: week})
	host(t, z, "a")
	c.at = c.at.Add(2 * week)
	cause := errors.New("disk full")
	f.Fail(cause)
	if s, err := z.Scavenge(t.Context(), nil); !errors.Is(err, cause) || s.Removed != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	f.Fail(nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := z.Scavenge(ctx, nil); !errors.Is(err, context.Canceled) || s.Removed != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if gone, _ := scavenge(t, z); len(gone) != 1 {
		t.Errorf("gone: %q", gone)
	}
}

// Names that clients created with a signature and may not own leave tombstones that stay, and there is room for
// some only. Those for which there is none are in nobody else's way.
func TestScavengeWithoutRoomForTombstones(t *testing.T) {
	z, c, _ := aged(t, Aging{NoRefresh: week, Refresh: week})
	const limit = 3
	z.Configure(Limits{OwnerTombstones: limit}, week, z.Aging())
	for i := range 2 * limit {
		name := fmt.Sprintf("b%d.example.test.", i)
		if r := applyAs(t, z, "U "+name+" 300 IN A 192.0.2.7", Claim{Name: wire(t, name), Principal: SignedOwner}); r.Rcode != dns.RcodeSuccess {
			t.Fatal(r)
		}
	}
	host(t, z, "a")
	host(t, z, "z")
	c.at = c.at.Add(3 * week)
	s, err := z.Scavenge(t.Context(), nil)
	var full *LimitError
	if !errors.As(err, &full) || full.Limit != "OwnerTombstones" || s.Removed != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	if z.Snapshot().Exists("a.example.test.") || z.Snapshot().Exists("z.example.test.") || !z.Snapshot().Exists("b0.example.test.") {
		t.Errorf("still stale: %q", stale(z, c.at))
	}
}

// A client that repeats a record does not have the database written more than once an hour, whatever the intervals.
func TestRepetitionsWriteOnceAnHour(t *testing.T) {
	z, c, f := aged(t, Aging{Refresh: week})
	c.at = c.at.Truncate(time.Hour)
	host(t, z, "a")
	c.at = c.at.Add(time.Hour)
	commits := len(f.Commits())
	for range 100 {
		if r := host(t, z, "a"); r.Changed {
			t.Fatalf("%+v", r)
		}
		c.at = c.at.Add(time.Second)
	}
	if got := len(f.Commits()) - commits; got != 1 {
		t.Errorf("%d commits", got)
	}
}

func TestAgingString(t *testing.T) {
	for want, a := range map[string]Aging{
		"aging 7d 7d":    {week, week},
		"aging 36h 0d":   {36 * time.Hour, 0},
		"aging 1m30s 1h": {90 * time.Second, time.Hour},
	} {
		if got := a.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestLateBatch: a batch that comes late, as after an outage, does not tell of a wrong clock by its age alone.
func TestLateBatch(t *testing.T) {
	const now = 1_800_000_000
	for _, tc := range []struct {
		then, late, want time.Duration
	}{
		{0, 0, 0},
		{-59 * time.Minute, 0, 0},
		{-2 * time.Hour, 0, -2 * time.Hour},
		{-2 * time.Hour, 2 * time.Hour, 0},
		{-2 * time.Hour, 3 * time.Hour, 0},
		{-5 * time.Hour, 2 * time.Hour, -3 * time.Hour},
		{-2 * time.Hour, -3 * time.Hour, -2 * time.Hour},
		{2 * time.Hour, 3 * time.Hour, 2 * time.Hour},
	} {
		var g grace
		g.compare(now, "other", now+int64(tc.then/time.Second), tc.late)
		if _, got := g.differed(); got != tc.want || (g.since == now) != (tc.want != 0) {
			t.Errorf("a batch of %v, %v late: a difference of %v, want %v", tc.then, tc.late, got, tc.want)
		}
	}
}

// TestMostDifferentClock: of several servers whose clocks differ, the one that differs most is told of, and once.
func TestMostDifferentClock(t *testing.T) {
	const now, hour = 1_800_000_000, 3600
	var g grace
	for _, of := range []struct {
		server string
		then   int64
	}{{"a", now + 2*hour}, {"b", now - 3*hour}, {"c", now + 2*hour}, {"d", now}} {
		g.compare(now, of.server, of.then, 0)
	}
	if other, got := g.differed(); other != "b" || got != -3*time.Hour {
		t.Errorf("%q differs by %v", other, got)
	}
	if other, got := g.differed(); other != "" || got != 0 {
		t.Errorf("again: %q differs by %v", other, got)
	}
}
