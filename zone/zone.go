package zone

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Config is the configuration of a zone for [Open].
type Config struct {
	// Origin is the zone's name. Required.
	Origin string
	// Store keeps the zone, unless Shared does: one of them is required. From a successful Open to
	// Close only the zone uses it, and Close closes it.
	Store store.Store
	// Shared keeps a zone that other servers change too.
	Shared store.Shared
	// Seed returns the zone's first contents, as ParseSeed or GeneratedApex do. It is called only
	// if the store is empty; nil makes an empty store an error. If another server fills a shared store
	// at that moment, the zone is what that one has put in.
	Seed func() ([]store.Record, error)
	// Owners are the owners of names in the seed.
	Owners []store.Owner
	// Limits bound what updates may do. The zero value is the defaults.
	Limits Limits
	// TombstoneLifetime is how long a name keeps its owner after its last record was deleted. 0
	// means 7 days. Expired entries are ignored, and are deleted with later updates.
	TombstoneLifetime time.Duration
	// Committed is told of each commit, also of one that failed. It is called before the results are
	// returned, while all other updates of the zone wait. It may be nil.
	Committed func(Commit)
	// Applied is told of each change that comes from a shared store and is of no update that Apply has
	// returned a Result other than SERVFAIL for: of other servers' changes, and of one of this server
	// whose outcome was unknown. It is called after they were published, in their order, one call at a
	// time and by another goroutine, perhaps before Open returns. Close does not wait for it. It may be
	// nil.
	Applied func(Applied)
	// Aging says when dynamic records go. The zero value keeps them.
	Aging Aging
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// A Commit is a write to the store, or the failed confirmation by a shared one that the zone is as this
// server has it.
type Commit struct {
	// Updates is how many updates share it.
	Updates int
	// Duration is how long the store took.
	Duration time.Duration
	// Conflicts is how often the updates were evaluated again, because another server had changed the
	// zone.
	Conflicts int
	// Unknown says that the store did not tell the outcome in time: the updates may have been done.
	Unknown bool
	// Err is the store's error. All of the updates have failed then. If the store could not take them
	// in one piece, it is the last error, and other pieces may have been committed.
	Err error
}

// Applied is what a zone has taken from a shared store.
type Applied struct {
	// Before and After are the serials around it.
	Before, After uint32
	// Changes must not be modified. There are none if the zone was frozen or thawed, or loaded again.
	Changes []store.Change
	// Loaded says that the changes are not told, and Server and Time neither: the zone was loaded again,
	// because the store's log did not have them any more, or they were too many.
	Loaded bool
	// Server is the one that made the changes, and Time when, by its clock.
	Server string
	Time   time.Time
}

// Limits bound updates and the zone. An update that would exceed a limit is refused as a whole,
// with a *LimitError in its Result. Zero means the default. A seed may exceed RecordsPerSet and
// TypesPerName; updates can then only shrink what is too large.
type Limits struct {
	// UpdateRecords is how many records the prerequisite and update sections may hold together.
	// Default 2,000.
	UpdateRecords int
	// UpdateOctets is how many octets of names and rdata they may hold, uncompressed. Default
	// 65,535.
	UpdateOctets int
	// RecordsPerSet is how many records an RRset may hold. Default 100.
	RecordsPerSet int
	// TypesPerName is how many RRsets a name may have. Default 100.
	TypesPerName int
	// ZoneRecords is how many records the zone may hold. Default 5,000,000.
	ZoneRecords int
	// ZoneOctets is how many octets of names, rdata and owners the zone may hold. Tombstones may take
	// a quarter of that in addition. Default 1 GiB.
	ZoneOctets int
	// Tombstones is how many names without records may keep an owner. When there are more, or they
	// take too many octets, some are deleted early: the oldest of those owners that have the most,
	// down to the average of all, or else the oldest. Default 1,000,000.
	Tombstones int
	// OwnerNames is how many names with records an owner may have. It does not bound owners that are no
	// clients, such as AdministratorOwner, and neither do the next two. Default 100,000.
	OwnerNames int
	// OwnerRecords is how many records these may have together. Default half of ZoneRecords.
	OwnerRecords int
	// OwnerOctets is how many octets these names and their rdata may have. Default half of
	// ZoneOctets.
	OwnerOctets int
	// OwnerTombstones is how many tombstones an owner may have. When there are more, its oldest are
	// deleted early. Those of AdministratorOwner and SignedOwner are not: an update that would exceed
	// this number of them together, or a sixteenth of ZoneOctets, is refused. Default a tenth of
	// Tombstones, at least 1,000.
	OwnerTombstones int
	// NonTerminals is how many empty non-terminals (RFC 4592 section 2.2.2) an update may create: an
	// IPv6 address in a new network makes up to 32. Default 1,024.
	NonTerminals int
	// Queue is how many updates may wait for the zone's writer. Default 1,024.
	Queue int
	// QueueOctets is how many octets of memory they may take. Default 64 MiB.
	QueueOctets int
	// Batch is how many updates share one Commit at most. Default 256.
	Batch int
}

// ErrReplayed is in the Result of an update whose Mark says that it was done before. Nothing is done.
var ErrReplayed = errors.New("zone: update was done before")

// ErrClosed is in the Result of an update to a zone that was closed.
var ErrClosed = errors.New("zone: closed")

// An Update is one UPDATE message, or what would be in one, and who decides on it.
type Update struct {
	// Message is the UPDATE message as it was received. It must not be modified until Apply returns.
	// Its additional section is checked for its form only.
	Message []byte
	// Sections, unless nil, are done instead of Message.
	Sections *Sections
	// Administrative says that the update is done although the zone is frozen, unless it is sealed.
	Administrative bool
	// Principal is who sends the update, for the log of changes. It is cut to store.MaxText octets.
	Principal string
	// Static makes the records that the update adds static, as those of an administrator are: they do
	// not age. The records of other updates are dynamic.
	Static bool
	// Source is who is to have a fair share of the queue together: a principal, a key or a network of
	// senders. It is compared only. The writer takes one update of each source in turn, and gives a
	// source no more than its share of the time while others are active: an equal share, but at least
	// an eighth. If the queue has no room for an update, the newest of the source that fills the most
	// of it is refused, which may be this one.
	Source string
	// Mark, unless zero, identifies the message, so that it is done at most once, by whatever server: see
	// ErrReplayed. It is remembered once the update was done, even if that changed nothing, or failed
	// because of its prerequisites. A zone that is not in a shared store forgets marks when it is closed.
	Mark store.Mark
	// Authorize decides on the update. It is called while all other updates of the zone wait, so it must
	// not block and must not call Apply. It is called again if another server of a shared store has
	// changed the zone meanwhile: the last Decision counts. nil permits every update.
	Authorize func(*Proposal) Decision
	// stale, unless nil, reports whether the update may delete a record of that time. A record that was
	// refreshed since the update was put together stays.
	stale func(hours uint32) bool
	// Refusal, unless nil, is a refusal that does not depend on the zone's state. Authorize is then
	// not called, and the update does not wait in the queue: it is refused once its form has been
	// checked.
	Refusal *Decision
}

// Sections are the prerequisite and update sections of an update that is no message (RFC 2136
// sections 2.4 and 2.5). The class of a record has the meaning that it has in a message. They may be
// of any size: the limits UpdateRecords, UpdateOctets and NonTerminals do not apply, and the update
// does not wait in the queue but for the batch that is being written. While Authorize is called,
// [Zone.Snapshot] is the state that they would apply to. They must not be modified until Apply
// returns.
type Sections struct {
	Prerequisites, Updates []store.Record // in the order of a message
}

// A Decision is the result of Authorize.
type Decision struct {
	// Allow permits all of the update. Otherwise nothing of it is done, and the rcode is REFUSED.
	Allow bool
	// Rule and Reason are for the log.
	Rule, Reason string
	// Name is the name that a refusal is about, in presentation form. It may be empty.
	Name string
	// Cause is the kind of reason in a word, for counters. It is empty if the update is permitted.
	Cause string
	// Own are names whose owner is set if the update succeeds, in the same commit as its records. A
	// claim to a name that has no records afterwards leaves a tombstone if the name had records or
	// an owner before, and is ignored otherwise. A claim to a name outside the zone is ignored.
	Own []Claim
	// Released are names, in wire form, whose owner is taken away in the same commit.
	Released []string
	// Unrefreshed are RRsets whose records keep their times where the update repeats them: the client
	// may not change them, but an update that changes nothing of them is permitted.
	Unrefreshed []ProposedSet
	// Notes are for the log too.
	Notes []string
}

// A ProposedSet is an RRset of a [Proposal].
type ProposedSet struct {
	// Name is an index for [Proposal.Name].
	Name int
	// Type is the RRset's.
	Type uint16
}

// A Claim makes Principal the owner of a name.
type Claim struct {
	// Name is in wire form.
	Name string
	// Principal is recorded as it is: this package compares it only.
	Principal string
}

// Ownership is the owner of a name.
type Ownership struct {
	// Principal is what a [Claim] or a seed has set: see also AdministratorOwner.
	Principal string
	// Deleted is when the name's last record was deleted, in UTC and whole seconds; zero while it
	// has records. An entry older than the tombstone lifetime may still be found here, until a
	// later update deletes it.
	Deleted time.Time
}

// A Result is the outcome of an update.
type Result struct {
	// Rcode is for the response.
	Rcode int
	// Before and After are the serials around the update. They differ if and only if records
	// changed.
	Before, After uint32
	// Changed says whether records changed. Ownership and times alone do not count.
	Changed bool
	// Removed and Added are the records that the zone lost and got, with their values. If records
	// changed, the SOA record with its former and its new serial is the first of each. They must
	// not be modified.
	Removed, Added []store.Record
	// Refreshed is how many records got a new time of their last refresh and did not change otherwise.
	Refreshed int
	// Decision is what Authorize returned, if it was asked, or Refusal.
	Decision Decision
	// Err is why Rcode is not NOERROR, for the log: a *LimitError when a limit was exceeded,
	// ErrClosed, ErrReplayed, the context's or the store's error. With store.ErrUnknown the update may
	// have been done. With store.ErrTooLarge, which no other attempt can change, the rcode is REFUSED.
	Err error
}

// A Zone is one authoritative zone. All methods are safe for concurrent use.
type Zone struct {
	origin   *origin
	store    store.Shared
	shared   bool // other servers change the store too
	settings atomic.Pointer[settings]
	observe  func(Commit) // may be nil
	now      func() time.Time

	// current is the published state. It is stored to with advancing held.
	current atomic.Pointer[Snapshot]
	// advancing is held while a state is made of the published one.
	advancing sync.Mutex
	replica   replica
	marks     markTable // guarded by advancing

	frozen  atomic.Pointer[store.Freeze] // nil while updates are taken
	changed atomic.Pointer[time.Time]    // the last change of records or owners; nil: none since Open

	grace   grace
	elapsed func() time.Duration                 // monotonic
	rest    func(context.Context, time.Duration) // of Scavenge between updates

	queue queue
	wake  chan struct{} // holds one value if updates were queued while a writer was active
	later *time.Timer   // wakes the writer

	// failing is the error of the last commit, nil if it was none.
	failing atomic.Pointer[error]

	// writing is held by the zone's single writer: an Apply that found no other active, or
	// writeQueued. It guards batch, crowd and the store.
	writing sync.Mutex
	batch   []*pending
	crowd   crowd

	failedAt time.Duration // of z.elapsed, when failing was set

	closing  chan struct{} // closed by Close
	stopped  chan struct{} // closed when writeQueued has ended
	close    sync.Once
	closeErr error
}

// settings are what Configure may change while the zone is served.
type settings struct {
	limits   Limits
	lifetime time.Duration // of tombstones
	aging    Aging
}

// Open loads the zone from its store, or fills an empty store with the seed. If it fails, the
// caller still has to close the store.
func Open(config Config) (*Zone, error) {
	o, err := newOrigin(config.Origin)
	if err != nil {
		return nil, fmt.Errorf("zone: origin %q: %w", config.Origin, err)
	}
	if (config.Store == nil) == (config.Shared == nil) {
		return nil, fmt.Errorf("zone %s: not one store, of Store and Shared", o.name)
	}
	z := &Zone{
		origin:  o,
		store:   config.Shared,
		shared:  config.Shared != nil,
		observe: config.Committed,
		now:     config.Now,
		wake:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
		rest:    restAfter,
	}
	if !z.shared {
		z.store = store.Exclusive(config.Store)
	}
	z.replica.announcer.call = config.Applied
	z.queue.clock, z.elapsed = sinceStart, sinceStart
	if z.now == nil {
		z.now = time.Now
	} else {
		opened := z.now()
		z.elapsed = func() time.Duration { return z.now().Sub(opened) }
	}
	z.marks = newMarkTable(z.elapsed)
	z.Configure(config.Limits, config.TombstoneLifetime, config.Aging)
	z.clock()
	z.batch = make([]*pending, 0, z.settings.Load().limits.Batch)
	if err := z.open(&config); err != nil {
		return nil, fmt.Errorf("zone %s: %w", o.name, err)
	}
	z.later = time.AfterFunc(time.Hour, z.wakeWriter)
	z.later.Stop()
	go z.writeQueued()
	z.startFollowing()
	return z, nil
}

// open loads or fills the store.
func (z *Zone) open(config *Config) error {
	found, err := z.loadFirst()
	if err != nil || found {
		return err
	}
	begun := time.Now()
	s, err := initialize(z.origin, z.store, config.Seed, config.Owners)
	if z.shared && errors.Is(err, store.ErrNotEmpty) {
		// Another server was faster.
		if found, err = z.loadFirst(); err == nil && !found {
			err = store.ErrEmpty
		}
		return err
	}
	if err == nil {
		z.current.Store(s)
		z.confirmedAt(begun)
	}
	return err
}

// loadFirst loads the zone. found is false if the store is empty.
func (z *Zone) loadFirst() (found bool, err error) {
	begun := time.Now()
	l, err := loadShared(context.Background(), z.origin, z.store)
	if err != nil || l.state == nil {
		return false, err
	}
	z.current.Store(l.state)
	z.confirmedAt(begun)
	z.marks.add(l.marks)
	if l.frozen != (store.Freeze{}) {
		z.frozen.Store(&l.frozen)
	}
	return true, nil
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&l.UpdateRecords, 2_000},
		{&l.UpdateOctets, 65_535},
		{&l.RecordsPerSet, 100},
		{&l.TypesPerName, 100},
		{&l.ZoneRecords, 5_000_000},
		{&l.ZoneOctets, 1 << 30},
		{&l.Tombstones, 1_000_000},
		{&l.OwnerNames, 100_000},
		{&l.NonTerminals, 1_024},
		{&l.Queue, 1_024},
		{&l.QueueOctets, 64 << 20},
		{&l.Batch, 256},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	for _, share := range []struct {
		field *int
		value int
	}{
		{&l.OwnerRecords, max(1, l.ZoneRecords/2)},
		{&l.OwnerOctets, max(1, l.ZoneOctets/2)},
		{&l.OwnerTombstones, max(l.Tombstones/10, 1_000)},
	} {
		if *share.field <= 0 {
			*share.field = share.value
		}
	}
	// A set's size is counted in 16 bits.
	l.RecordsPerSet = min(l.RecordsPerSet, maxSet)
	return l
}

// Configure changes the limits, the lifetime of tombstones and aging for later updates, with the
// defaults of Config. [Limits.Batch] cannot be changed after Open.
func (z *Zone) Configure(limits Limits, tombstoneLifetime time.Duration, aging Aging) {
	if tombstoneLifetime <= 0 {
		tombstoneLifetime = 7 * 24 * time.Hour
	}
	limits = limits.withDefaults()
	before := z.settings.Load()
	if before != nil {
		limits.Batch = before.limits.Batch
	}
	if before == nil || !before.aging.Enabled() {
		z.grace.begin(z.now().Unix())
	}
	z.settings.Store(&settings{limits: limits, lifetime: tombstoneLifetime, aging: aging})
}

// Origin returns the zone's name, in lower case and absolute.
func (z *Zone) Origin() string { return z.origin.name }

// Snapshot returns the zone's current state. It never blocks.
func (z *Zone) Snapshot() *Snapshot { return z.current.Load() }

// Epoch is that of the current state: see store.Position. It is 0 if no other server changes the zone.
func (z *Zone) Epoch() uint32 { return z.Snapshot().position.Epoch }

// LastChange returns when records or owners last changed; the zero time if they have not since Open.
func (z *Zone) LastChange() time.Time {
	if t := z.changed.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// CauseFrozen is the [Decision.Cause] of a refusal because of Freeze.
const CauseFrozen = "frozen"

// Freeze has all updates refused that are not Administrative, at all servers of a shared store. When it
// returns, no other update will be applied until Thaw. Queries go on. It returns false if the zone was
// frozen already. A zone that no other server changes is frozen without an error.
func (z *Zone) Freeze(ctx context.Context) (bool, error) {
	now := z.now().UTC()
	before, err := z.refreeze(ctx, func(f store.Freeze) store.Freeze {
		if f.Since.IsZero() {
			f.Since = now
		}
		return f
	})
	return err == nil && before.Since.IsZero(), err
}

// Seal is Freeze for Administrative updates too: when it returns, nothing changes the zone until Unseal, so that
// a copy which is made then stays equal. It returns false if the zone was sealed already.
func (z *Zone) Seal(ctx context.Context) (bool, error) {
	now := z.now().UTC()
	before, err := z.refreeze(ctx, func(f store.Freeze) store.Freeze {
		if f.Since.IsZero() {
			f.Since = now
		}
		f.Sealed = true
		return f
	})
	return err == nil && !before.Sealed, err
}

// Unseal leaves a zone that is sealed frozen alone. It returns false if the zone was not sealed.
func (z *Zone) Unseal(ctx context.Context) (bool, error) {
	before, err := z.refreeze(ctx, func(f store.Freeze) store.Freeze {
		f.Sealed = false
		return f
	})
	return err == nil && before.Sealed, err
}

// ErrSealed is the error of Thaw for a zone that is sealed.
var ErrSealed = errors.New("zone: frozen for the administrator too, because it is copied to another place")

// Thaw ends what Freeze began. It returns false if the zone was not frozen, and ErrSealed if it is sealed: who
// has sealed it relies on that, and may be at another server of a shared store. Unseal comes first then.
func (z *Zone) Thaw(ctx context.Context) (bool, error) {
	before, err := z.refreeze(ctx, func(f store.Freeze) store.Freeze {
		if f.Sealed {
			return f
		}
		return store.Freeze{}
	})
	if err == nil && before.Sealed {
		err = ErrSealed
	}
	return err == nil && !before.Since.IsZero(), err
}

// refreeze makes the freeze of the zone what next makes of it, and returns what it was.
func (z *Zone) refreeze(ctx context.Context, next func(store.Freeze) store.Freeze) (before store.Freeze, err error) {
	if z.shared {
		return z.agree(ctx, next)
	}
	z.writing.Lock() // for the batch that is being written
	defer z.endWriting()
	before = z.freeze()
	if after := next(before); after != before {
		z.setFrozen(after)
	}
	return before, nil
}

// freeze returns how the zone is frozen.
func (z *Zone) freeze() store.Freeze {
	if f := z.frozen.Load(); f != nil {
		return *f
	}
	return store.Freeze{}
}

// thaw ends a freeze. Clients could not refresh their records meanwhile. That comes first: a record must not be
// removed in between.
func (z *Zone) thaw() {
	z.grace.begin(z.now().Unix())
	z.frozen.Store(nil)
}

// Frozen returns since when the zone is frozen, and whether it is.
func (z *Zone) Frozen() (since time.Time, ok bool) {
	since = z.freeze().Since
	return since, !since.IsZero()
}

// Sealed reports whether the zone is frozen for the administrator too.
func (z *Zone) Sealed() bool { return z.freeze().Sealed }

// Close waits for the batch that is being written, and closes the store. Snapshots stay usable;
// updates get SERVFAIL. It may be called again.
func (z *Zone) Close() error {
	z.close.Do(func() {
		close(z.closing)
		<-z.stopped
		z.later.Stop()
		z.writing.Lock() // of an Apply
		defer z.writing.Unlock()
		z.stopFollowing()
		z.closeErr = z.store.Close()
	})
	return z.closeErr
}
