package event

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/ratelimit"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// Config bounds a [Recent]. The zero value is the defaults.
type Config struct {
	// Octets is about how much memory each of its parts takes: the changes of a zone, its refusals, those of unsigned updates, the failed
	// handshakes, and the signatures that do not verify. Default 1 MiB.
	Octets int
	// ClientOctets and ClientEvents bound what one client has in each part. Default a 64th of Octets, and 20.
	ClientOctets, ClientEvents int
	// Zones is for how many zones there is room. Events of further zones are left out. Default 10,000.
	Zones int
	// FailuresPerSecond is how many failures are kept of one source: anyone can cause them, and describing one costs more
	// than counting it. Default 5.
	FailuresPerSecond float64
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&c.Octets, 1 << 20},
		{&c.ClientEvents, 20},
		{&c.Zones, 10_000},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.ClientOctets <= 0 {
		c.ClientOctets = c.Octets / 64
	}
	if c.FailuresPerSecond <= 0 {
		c.FailuresPerSecond = 5
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Recent keeps recent events by client. Each client has a bounded share, so that none pushes out the events of all others, and
// when there is no room, the client goes that has been quiet for the longest time. It is safe for concurrent use.
type Recent struct {
	config   Config
	failures *ratelimit.Accounts

	mu         sync.Mutex // guards what follows
	zones      map[string]*zoneEvents
	elsewhere  *groups[Update] // updates of zones that no server block has
	handshakes *groups[Failure]
	signatures *groups[Failure]
}

type zoneEvents struct {
	changes, refusals *groups[Update]
	// unsigned are refusals for want of a signature alone. Clients of Windows cause one before each signed update, and addresses
	// can be forged: they must not displace other refusals.
	unsigned *groups[Update]
	history  history
}

// NewRecent makes an empty Recent.
func NewRecent(config Config) *Recent {
	c := config.withDefaults()
	return &Recent{
		config: c,
		failures: ratelimit.New(ratelimit.Config{
			PerSecond: c.FailuresPerSecond, Burst: c.ClientEvents, Sources: 4096, Now: c.Now,
		}),
		zones:      make(map[string]*zoneEvents),
		elsewhere:  newGroups[Update](c),
		handshakes: newGroups[Failure](c),
		signatures: newGroups[Failure](c),
	}
}

// AddUpdate adds an update of a zone that a server block has.
func (r *Recent) AddUpdate(u *Update) {
	r.mu.Lock()
	defer r.mu.Unlock()
	z := r.zone(u.Zone)
	if z == nil {
		return
	}
	z.history.add(r.config.Now(), u.Rcode == noError)
	switch {
	case u.Cause == policy.CauseUnsigned:
		z.unsigned.add(u.who(), u.Time, u, u.size())
	case u.Rcode != noError:
		z.refusals.add(u.who(), u.Time, u, u.size())
	case u.Changed():
		z.changes.add(u.who(), u.Time, u, u.size())
	}
}

// AddChange adds a change that no client of this server has made: aging, or another server of the zone.
func (r *Recent) AddChange(u *Update) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if z := r.zone(u.Zone); z != nil {
		z.changes.add(u.who(), u.Time, u, u.size())
	}
}

// zone returns the events of a zone, nil if there is no room for them. The caller holds mu.
func (r *Recent) zone(name string) *zoneEvents {
	z, ok := r.zones[name]
	if !ok && len(r.zones) < r.config.Zones {
		z = &zoneEvents{changes: newGroups[Update](r.config), refusals: newGroups[Update](r.config), unsigned: newGroups[Update](r.config)}
		r.zones[name] = z
	}
	return z
}

// AddElsewhere adds an update of a zone that no server block has.
func (r *Recent) AddElsewhere(u *Update) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.elsewhere.add(u.who(), u.Time, u, u.size())
}

// WouldAdd reports whether a failure of that client would be added now. It is asked before the failure is described.
func (r *Recent) WouldAdd(client netip.Addr) bool { return r.failures.Take(ratelimit.Of(client)) }

// AddFailure adds a failed handshake or signature.
func (r *Recent) AddFailure(f *Failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	to := r.handshakes
	if f.Kind == Signature {
		to = r.signatures
	}
	to.add(network(f.Client.Addr()), f.Time, f, f.size())
}

// A Group is the recent events of one client, the newest first.
type Group[T any] struct {
	// Client is who it is: the identity of a client that signed, the address or the IPv6 network of any other.
	Client string
	Events []*T
	// Count is how many there were, those that have been dropped included.
	Count       int
	First, Last time.Time
}

// Changes returns the updates that changed a zone, by client, those with the newest first.
func (r *Recent) Changes(zone string) []Group[Update] {
	return r.ofZone(zone, func(z *zoneEvents) *groups[Update] { return z.changes })
}

// Unsigned returns the updates of a zone that were refused for want of a signature alone, by client, those with the newest
// first.
func (r *Recent) Unsigned(zone string) []Group[Update] {
	return r.ofZone(zone, func(z *zoneEvents) *groups[Update] { return z.unsigned })
}

// Refusals returns the other updates of a zone that were not applied, by client, those with the newest first.
func (r *Recent) Refusals(zone string) []Group[Update] {
	return r.ofZone(zone, func(z *zoneEvents) *groups[Update] { return z.refusals })
}

func (r *Recent) ofZone(zone string, part func(*zoneEvents) *groups[Update]) []Group[Update] {
	r.mu.Lock()
	defer r.mu.Unlock()
	z, ok := r.zones[zone]
	if !ok {
		return nil
	}
	return part(z).list()
}

// Elsewhere returns the updates of zones that no server block has, by client.
func (r *Recent) Elsewhere() []Group[Update] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.elsewhere.list()
}

// Failures returns the failed handshakes or signatures, by client.
func (r *Recent) Failures(kind Kind) []Group[Failure] {
	r.mu.Lock()
	defer r.mu.Unlock()
	if kind == Signature {
		return r.signatures.list()
	}
	return r.handshakes.list()
}

// History returns how many updates of a zone were applied and refused in the last 24 hours.
func (r *Recent) History(zone string) History {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.config.Now()
	if z, ok := r.zones[zone]; ok {
		return z.history.read(now)
	}
	return new(history).read(now)
}

// Forget drops the events of a zone.
func (r *Recent) Forget(zone string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.zones, zone)
}

const noError = "NOERROR"

// who is whose share an update takes. Addresses of unsigned updates can be forged: they have the shares of their networks.
func (u *Update) who() string {
	if u.Signed {
		return u.Identity
	}
	return network(u.Client.Addr())
}

// network is the source that an address belongs to: one IPv4 address, or an IPv6 network of 64 bits.
func network(a netip.Addr) string {
	a = a.Unmap()
	if !a.Is6() {
		return a.String()
	}
	prefix, err := a.WithZone("").Prefix(64)
	if err != nil {
		return a.String()
	}
	return prefix.String()
}

// The memory that an event takes, about.
const (
	updateOverhead  = 512
	recordOverhead  = 96
	failureOverhead = 320
	groupOverhead   = 256
)

func (u *Update) size() int {
	n := updateOverhead + len(u.Zone) + len(u.Identity) + len(u.Rule) + len(u.Reason) + len(u.Error) + len(u.Fix) + len(u.Name)
	for _, records := range []Records{u.Asked, u.Removed, u.Added} {
		for _, r := range records.List {
			n += recordOverhead + len(r.Name) + len(r.Data)
		}
	}
	for _, note := range u.Notes {
		n += len(note)
	}
	return n
}

func (f *Failure) size() int {
	return failureOverhead + len(f.Key) + len(f.Algorithm) + len(f.Peer) + len(f.Service) + 4*len(f.KeytabKVNOs) + len(f.Reason) + len(f.Fix)
}

// groups keeps the events of one part of a Recent by client.
type groups[T any] struct {
	config           Config
	byClient         map[string]*group[T]
	latest, quietest *group[T] // by the time of their last event
	octets           int
}

type group[T any] struct {
	client        string
	events        []kept[T] // the oldest first
	octets        int
	count         int
	first, last   time.Time
	later, before *group[T] // groups with a later last event, and with an earlier one
}

type kept[T any] struct {
	event  *T
	octets int
}

func newGroups[T any](c Config) *groups[T] {
	return &groups[T]{config: c, byClient: make(map[string]*group[T])}
}

// add adds an event of a client, and drops what there is no room for.
func (g *groups[T]) add(client string, at time.Time, event *T, octets int) {
	one, ok := g.byClient[client]
	if ok {
		g.unlink(one)
	} else {
		one = &group[T]{client: client, first: at, octets: groupOverhead + len(client)}
		g.byClient[client] = one
		g.octets += one.octets
	}
	one.events = append(one.events, kept[T]{event, octets})
	one.octets += octets
	g.octets += octets
	one.count++
	one.last = at
	drop := 0
	for len(one.events)-drop > 1 && (len(one.events)-drop > g.config.ClientEvents || one.octets > g.config.ClientOctets) {
		one.octets -= one.events[drop].octets
		g.octets -= one.events[drop].octets
		drop++
	}
	one.events = slices.Delete(one.events, 0, drop)
	g.link(one)
	for g.octets > g.config.Octets && g.quietest != one {
		gone := g.quietest
		g.unlink(gone)
		delete(g.byClient, gone.client)
		g.octets -= gone.octets
	}
}

// link makes a group the one with the latest event.
func (g *groups[T]) link(one *group[T]) {
	one.later, one.before = nil, g.latest
	if g.latest != nil {
		g.latest.later = one
	} else {
		g.quietest = one
	}
	g.latest = one
}

func (g *groups[T]) unlink(one *group[T]) {
	if one.later != nil {
		one.later.before = one.before
	} else {
		g.latest = one.before
	}
	if one.before != nil {
		one.before.later = one.later
	} else {
		g.quietest = one.later
	}
	one.later, one.before = nil, nil
}

func (g *groups[T]) list() []Group[T] {
	list := make([]Group[T], 0, len(g.byClient))
	for one := g.latest; one != nil; one = one.before {
		events := make([]*T, len(one.events))
		for i, k := range one.events {
			events[len(events)-1-i] = k.event
		}
		list = append(list, Group[T]{Client: one.client, Events: events, Count: one.count, First: one.first, Last: one.last})
	}
	return list
}

// Newest returns the events of all groups, the newest first, up to a number of them.
func Newest(groups []Group[Update], most int) []*Update {
	var all []*Update
	for _, g := range groups {
		all = append(all, g.Events...)
	}
	slices.SortStableFunc(all, func(a, b *Update) int { return b.Time.Compare(a.Time) })
	return all[:min(most, len(all))]
}

// String returns a record in a line, as nsupdate and master files write it.
func (r Record) String() string {
	var s strings.Builder
	s.WriteString(r.Name)
	s.WriteByte(' ')
	s.WriteString(r.Type)
	if r.Data != "" {
		s.WriteByte(' ')
		s.WriteString(r.Data)
	}
	return s.String()
}
