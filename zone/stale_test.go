package zone

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
	"github.com/gsstsig/coredns-gsstsig/zone/store/storetest"
)

// staleNames are names that clients update in TestStaleIsWhatGoes, with what they put there.
var staleNames = map[string][]string{
	"a":           {"A 192.0.2.1", "A 192.0.2.2", "TXT one", "TXT two", "HINFO x y"},
	"b":           {"A 192.0.2.3", "CNAME a.example.test."},
	"c.b":         {"A 192.0.2.4", "MX 10 a.example.test."},
	"*.wild":      {"A 192.0.2.5", "TXT wild"},
	"sub":         {"NS ns.sub.example.test.", "NS ns2.sub.example.test."},
	"ns.sub":      {"A 192.0.2.6", "AAAA 2001:db8::6"},
	"_ldap._tcp":  {"SRV 0 0 389 a.example.test.", "SRV 0 0 389 b.example.test."},
	"example":     {"TXT apex", "MX 10 a.example.test."}, // stands for the zone's own name
	"UPPER.Names": {"A 192.0.2.7", "PTR A.Example.TEST."},
}

// stalePlace is where the zone of TestStaleIsWhatGoes is.
type stalePlace struct {
	open   func(edit func(*Config)) *Zone
	reopen func() // before open, when the zone was closed
	others bool   // open may be called again meanwhile, for another server
	settle func(zones []*Zone)
}

// TestStaleIsWhatGoes: what Stale tells is what Scavenge removes, record by record, and is what the documentation of aging
// says, whatever clients, the administrator, restarts and changes of the intervals have done before: in memory, on disk, and
// at each of several servers.
func TestStaleIsWhatGoes(t *testing.T) {
	for where, place := range map[string]func(t *testing.T, now func() time.Time) *stalePlace{
		"memory": func(t *testing.T, _ func() time.Time) *stalePlace {
			m := store.NewMemory(store.MemoryOptions{})
			return &stalePlace{
				open: func(edit func(*Config)) *Zone {
					return openText(t, testApex, func(c *Config) { c.Store = m; edit(c) })
				},
				reopen: func() {
					again, err := m.Reopen()
					if err != nil {
						t.Fatal(err)
					}
					m = again
				},
			}
		},
		"disk": func(t *testing.T, _ func() time.Time) *stalePlace {
			dir := filepath.Join(t.TempDir(), "db")
			return &stalePlace{
				open: func(edit func(*Config)) *Zone {
					d, err := disk.Open(dir, disk.Options{Origin: "example.test."})
					if err != nil {
						t.Fatal(err)
					}
					return openText(t, testApex, func(c *Config) { c.Store = d; edit(c) })
				},
				reopen: func() {},
			}
		},
		"servers": func(t *testing.T, now func() time.Time) *stalePlace {
			shared := storetest.NewCluster(storetest.ClusterOptions{Now: now})
			n := 0
			return &stalePlace{
				open: func(edit func(*Config)) *Zone {
					n++
					return openServer(t, shared.Server(fmt.Sprint("ns", n)), edit)
				},
				others: true,
				settle: func(zones []*Zone) {
					for _, z := range zones {
						reaches(t, z, shared)
					}
				},
			}
		},
	} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprint(where, " ", seed), func(t *testing.T) {
				t.Parallel()
				h := &staleHistory{t: t, random: rand.New(rand.NewPCG(seed, 7)), hours: make(map[string]uint32)}
				h.set(timesNow)
				h.run(place(t, h.now))
			})
		}
	}
}

// staleHistory is a random history of a zone, with what its aging should be.
type staleHistory struct {
	t      *testing.T
	random *rand.Rand
	at     time.Time
	clock  atomic.Pointer[time.Time] // at, as servers that follow others read it
	zones  []*Zone
	aging  Aging
	hours  map[string]uint32 // of each record, 0 if it is static
	since  []time.Time       // by zone: from when on clients could refresh
	seen   struct{ removed, waiting, left, none int }
}

func (h *staleHistory) now() time.Time { return *h.clock.Load() }

func (h *staleHistory) set(at time.Time) {
	h.at = at
	h.clock.Store(&at)
}

func (h *staleHistory) pick(from ...string) string { return from[h.random.IntN(len(from))] }

func (h *staleHistory) run(place *stalePlace) {
	limits := Limits{OwnerTombstones: 1}
	edit := func(c *Config) {
		c.Limits, c.Aging, c.Now = limits, h.aging, h.now
	}
	open := func() {
		h.zones, h.since = append(h.zones, place.open(edit)), append(h.since, h.at)
	}
	open()
	if place.others {
		open()
	}
	for record := range h.records(0) {
		h.hours[record] = 0
	}
	for range 600 {
		i := h.random.IntN(len(h.zones))
		switch h.random.IntN(20) {
		case 0:
			h.set(h.at.Add(time.Duration(1+h.random.IntN(9*24)) * time.Hour).Truncate(time.Hour))
		case 1, 2:
			h.set(h.at.Add(time.Duration(h.random.IntN(30*60)) * time.Minute))
		case 3: // to the moment in which one is due
			if due := h.due(h.aging, h.at.Add(1000*week)); len(due) > 0 {
				hours := h.hours[due[h.random.IntN(len(due))]]
				h.set(time.Unix(max(h.at.Unix(), 3600*int64(hours)+int64((h.aging.NoRefresh+h.aging.Refresh)/time.Second)), 0))
			}
		case 4:
			if h.random.IntN(4) == 0 {
				h.configure(limits)
			}
		case 5:
			if !place.others && h.random.IntN(3) == 0 {
				if err := h.zones[i].Close(); err != nil {
					h.t.Fatal(err)
				}
				place.reopen()
				h.zones, h.since = nil, nil
				open()
			}
		case 6:
			if h.random.IntN(4) == 0 {
				h.freeze(i, place)
			}
		case 7, 8, 9:
			h.scavenge(i)
		default:
			h.update(i)
		}
		if place.settle != nil {
			place.settle(h.zones)
		}
		for i := range h.zones {
			h.check(i)
		}
	}
	if h.seen.removed == 0 || h.seen.waiting == 0 || h.seen.none == 0 {
		h.t.Errorf("the history has shown too little: %+v", h.seen)
	}
	h.t.Logf("%+v", h.seen)
}

func staleKey(r *store.Record) string {
	return strings.ToLower(dnswire.NameText([]byte(r.Name))) + " " + dnswire.TypeText(r.Type) + " " + string(r.Data)
}

// records are those of a zone, but for its SOA record.
func (h *staleHistory) records(i int) map[string]uint32 {
	records := make(map[string]uint32)
	for r := range h.zones[i].Snapshot().WireRecords() {
		if r.Type != dns.TypeSOA {
			records[staleKey(&r)] = r.Hours
		}
	}
	return records
}

func (h *staleHistory) configure(limits Limits) {
	before := h.aging
	h.aging = [...]Aging{{}, {NoRefresh: week, Refresh: week}, {NoRefresh: 0, Refresh: 48 * time.Hour}, {NoRefresh: 36 * time.Hour, Refresh: time.Hour}}[h.random.IntN(4)]
	for i, z := range h.zones {
		z.Configure(limits, 0, h.aging)
		if !before.Enabled() {
			h.since[i] = h.at
		}
	}
}

// freeze freezes the zone, finds that nothing goes, and thaws it.
func (h *staleHistory) freeze(i int, place *stalePlace) {
	z := h.zones[i]
	freeze(h.t, z)
	before := h.records(i)
	if s, err := z.Scavenge(h.t.Context(), nil); s.Removed != 0 || err == nil && len(h.due(h.aging, h.at)) > 0 && s.Waiting == 0 {
		h.t.Errorf("while it is frozen: %+v, %v", s, err)
	}
	if !maps.Equal(before, h.records(i)) {
		h.t.Error("a frozen zone has changed")
	}
	if place.settle != nil {
		place.settle(h.zones)
	}
	thaw(h.t, z)
	if place.settle != nil {
		place.settle(h.zones)
	}
	for i := range h.since {
		h.since[i] = h.at
	}
}

// update adds, repeats and deletes records at one name or two.
func (h *staleHistory) update(i int) {
	var script strings.Builder
	added := make(map[string]bool)
	var claims []Claim
	for range 1 + h.random.IntN(2) {
		label := h.pick(slices.Sorted(maps.Keys(staleNames))...)
		name := label + ".example.test."
		if label == "example" {
			name = "example.test."
		}
		data := h.pick(staleNames[label]...)
		rrtype, _, _ := strings.Cut(data, " ")
		add := fmt.Sprintf("U %s %d IN %s\n", name, 60*(1+h.random.IntN(2)), data)
		key := staleKey(&recordsOf(h.t, parseRR(h.t, name+" 60 IN "+data))[0])
		switch h.random.IntN(8) {
		case 0:
			fmt.Fprintf(&script, "U %s 0 NONE %s\n", name, data)
			delete(added, key)
		case 1:
			fmt.Fprintf(&script, "U %s 0 ANY %s\n", name, rrtype)
			maps.DeleteFunc(added, func(k string, _ bool) bool { return strings.HasPrefix(k, strings.ToLower(name)+" "+rrtype+" ") })
		case 2: // as SSSD does
			fmt.Fprintf(&script, "U %s 0 ANY %s\n%s", name, rrtype, add)
			maps.DeleteFunc(added, func(k string, _ bool) bool { return strings.HasPrefix(k, strings.ToLower(name)+" "+rrtype+" ") })
			added[key] = true
		default:
			script.WriteString(add)
			added[key] = true
		}
		if owner := h.pick("", "alice", "bob", SignedOwner, AdministratorOwner); owner != "" && label != "example" {
			claims = append(claims, Claim{Name: wire(h.t, name), Principal: owner})
		}
	}
	static := h.random.IntN(10) == 0
	before := h.records(i)
	r := h.zones[i].Apply(h.t.Context(), &Update{
		Message: pack(h.t, message(h.t, script.String())), Static: static,
		Authorize: func(*Proposal) Decision { return Decision{Allow: true, Own: claims} },
	})
	if full := (*LimitError)(nil); errors.As(r.Err, &full) {
		return
	}
	if r.Rcode != dns.RcodeSuccess {
		h.t.Fatalf("%s%+v", script.String(), r)
	}
	hour := uint32(h.at.Unix() / 3600)
	after := h.records(i)
	for key := range before {
		if _, ok := after[key]; !ok {
			delete(h.hours, key)
		}
	}
	for key := range after {
		old, known := h.hours[key]
		switch {
		case known && !added[key]:
		case static || strings.HasPrefix(key, "example.test. "):
			h.hours[key] = 0
		case !known:
			h.hours[key] = hour
		case old != 0 && h.aging.Enabled() && h.at.Sub(time.Unix(3600*int64(old), 0)) >= h.aging.NoRefresh:
			h.hours[key] = hour
		}
	}
}

// due are the records that are stale at a time, as the documentation says.
func (h *staleHistory) due(aging Aging, at time.Time) []string {
	var due []string
	for key, hours := range h.hours {
		if hours != 0 && aging.Enabled() && !time.Unix(3600*int64(hours), 0).Add(aging.NoRefresh+aging.Refresh).After(at) {
			due = append(due, key)
		}
	}
	slices.Sort(due)
	return due
}

func (h *staleHistory) told(i int, aging Aging, at time.Time) []string {
	var told []string
	for s := range h.zones[i].Snapshot().Stale(aging, at) {
		told = append(told, staleKey(&s.Record))
	}
	slices.Sort(told)
	return told
}

// check compares a zone with what it should be, and what is told of it: now, and as a preview of other intervals and times.
func (h *staleHistory) check(i int) {
	h.t.Helper()
	if got := h.records(i); !maps.Equal(got, h.hours) {
		h.t.Fatalf("zone %d has\n%v\nwant\n%v", i, got, h.hours)
	}
	preview := Aging{NoRefresh: time.Duration(h.random.IntN(100)) * time.Hour, Refresh: time.Duration(h.random.IntN(100)) * time.Hour}
	for _, aging := range []Aging{h.aging, preview} {
		for _, in := range []time.Duration{0, time.Duration(h.random.IntN(20*24*60)) * time.Minute} {
			if told, due := h.told(i, aging, h.at.Add(in)), h.due(aging, h.at.Add(in)); !slices.Equal(told, due) {
				h.t.Fatalf("%v in %v: stale %q, want %q", aging, in, told, due)
			}
		}
	}
}

// scavenge has what is told to be stale removed, and nothing else.
func (h *staleHistory) scavenge(i int) {
	z := h.zones[i]
	told, before := h.told(i, h.aging, h.at), h.records(i)
	from := h.since[i].Add(h.aging.Refresh)
	if h.aging.Enabled() && !z.AgingFrom().Equal(from.Truncate(time.Second)) {
		h.t.Errorf("nothing goes before %v, want %v", z.AgingFrom(), from)
	}
	var gone []string
	s, err := z.Scavenge(h.t.Context(), func(r Result) {
		for _, record := range r.Removed {
			if record.Type != dns.TypeSOA {
				gone = append(gone, staleKey(&record))
			}
		}
	})
	slices.Sort(gone)
	after := h.records(i)
	for _, key := range gone {
		delete(before, key)
		delete(h.hours, key)
	}
	if !maps.Equal(before, after) || s.Removed != len(gone) {
		h.t.Fatalf("gone are %q, %+v; left\n%v\nof\n%v", gone, s, after, before)
	}
	h.seen.removed += len(gone)
	full := (*LimitError)(nil)
	switch {
	case h.at.Before(from) && h.aging.Enabled():
		if len(gone) > 0 || s.Waiting != len(told) || err != nil {
			h.t.Fatalf("before %v: gone are %q, %+v, %v; stale are %q", from, gone, s, err, told)
		}
		h.seen.waiting += s.Waiting
	case errors.As(err, &full):
		for _, key := range told {
			name, _, _ := strings.Cut(key, " ")
			own, _ := z.Snapshot().Owner(name)
			if _, found := slices.BinarySearch(gone, key); !found && !isReserved(own.Principal) {
				h.t.Fatalf("%q stays, although its owner is %q: %v", key, own.Principal, err)
			}
		}
		h.seen.left += len(told) - len(gone)
	case err != nil || !slices.Equal(gone, told) || s.Waiting != 0:
		h.t.Fatalf("gone are %q, %+v, %v; stale were %q", gone, s, err, told)
	case len(gone) == 0:
		h.seen.none++
	}
}
