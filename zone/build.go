package zone

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/miekg/dns"
	"github.com/tidwall/btree"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// maxSet is how many records a node can count in one RRset.
const maxSet = 65535

var (
	errNoSOA   = errors.New("no SOA record at the zone's name")
	errNoNS    = errors.New("no NS record at the zone's name")
	errOutside = errors.New("record is not in the zone")
	errPlace   = errors.New("no NS record may be at a wildcard, and no DS record at the zone's name")
	errNoSeed  = errors.New("the store is empty and there is no seed")
)

// builder fills a Snapshot record by record. Records of one name need not come together, but it is
// faster when they do. The spelling of a name is that of its first record.
type builder struct {
	snapshot *Snapshot
	name     string // the owner of key, as in the last record
	key      string
	before   *node
	draft    *draft // nil without a key; spare, or newDraft's
	spare    draft
	data     []byte               // of the draft's records
	owners   map[string]ownership // some owners, so that their names share one copy
}

func newBuilder(o *origin) *builder { return &builder{snapshot: newSnapshot(o)} }

// add adds one record, whose rdata is valid and is copied. It refuses what no zone can hold. The first TTL of an
// RRset is that of all. Of a record that comes twice, the first time stays.
func (b *builder) add(r *store.Record) error {
	rrtype, ttl, data := r.Type, r.TTL, r.Data
	if err := b.selectName(r.Name); err != nil {
		return err
	}
	if r.Class != dns.ClassINET {
		return fmt.Errorf("%s: class %s is not IN", b.text(), dns.Class(r.Class))
	}
	if dnswire.IsMeta(rrtype) {
		return fmt.Errorf("%s: type %s cannot be in a zone", b.text(), dnswire.TypeText(rrtype))
	}
	if rrtype == dns.TypeSOA && b.key != "" {
		return fmt.Errorf("%s: SOA record below the zone's name", b.text())
	}
	if b.draft.conflictsWith(rrtype) {
		return fmt.Errorf("%s: CNAME and other data", b.text())
	}
	if ttl >= 1<<31 {
		ttl = 0
	}
	if set := b.draft.set(rrtype); set != nil {
		ttl = set.ttl
		if _, same := set.find(data); same {
			return nil
		}
		if rrtype != dnswire.TypeWKS && replaces(rrtype, set.records[0].data, data) {
			return fmt.Errorf("%s: more than one %s record", b.text(), dnswire.TypeText(rrtype))
		}
		if len(set.records) >= maxSet {
			return fmt.Errorf("%s: more than %d %s records", b.text(), maxSet, dnswire.TypeText(rrtype))
		}
	}
	at := len(b.data)
	b.data = append(b.data, data...)
	record := draftRecord{data: b.data[at:len(b.data):len(b.data)], hours: r.Hours}
	if b.key == "" {
		record.hours = 0 // the zone's own records do not age
	}
	b.draft.add(rrtype, ttl, record)
	return nil
}

// selectName makes name the one that records are added to.
func (b *builder) selectName(name string) error {
	if b.draft != nil && b.name == name {
		return nil
	}
	key, ok := b.snapshot.origin.keyOf(name)
	if !ok {
		return fmt.Errorf("%s: %w %s", textOf(name), errOutside, b.snapshot.origin.name)
	}
	if b.draft == nil || b.key != key {
		b.flush()
		b.key = key
		b.before, _ = b.snapshot.node(key)
		if b.before.empty() {
			b.draft = &b.spare
			b.draft.reset()
			var buf [dnswire.MaxName]byte
			if hasUpper(buf[:copy(buf[:], name)]) {
				b.draft.spelling = []byte(name)
			}
		} else {
			b.draft = newDraft(b.before)
		}
	}
	b.name = name
	return nil
}

// text returns the selected name for a message.
func (b *builder) text() string { return textOf(b.name) }

// textOf returns a name in wire form, which may be malformed, as text.
func textOf(wire string) string {
	if dnswire.NameLen([]byte(wire)) != len(wire) {
		return fmt.Sprintf("%q", wire)
	}
	return dnswire.NameText([]byte(wire))
}

func (b *builder) flush() {
	if b.draft == nil {
		return
	}
	if n := b.draft.node(); n != nil {
		b.snapshot.replace(b.key, b.before, n)
	}
	b.draft, b.data = nil, b.data[:0]
}

// finish returns the Snapshot if it is a zone.
func (b *builder) finish() (*Snapshot, error) {
	b.flush()
	apex := b.snapshot.apex()
	if apex.set(dns.TypeSOA).empty() {
		return nil, errNoSOA
	}
	if apex.set(dns.TypeNS).empty() {
		return nil, errNoNS
	}
	return b.snapshot, nil
}

// build makes a Snapshot of records.
func build(o *origin, records []store.Record) (*Snapshot, error) {
	b := newBuilder(o)
	for _, r := range records {
		if err := dnswire.Validate(r.Type, r.Data); err != nil {
			return nil, fmt.Errorf("%s: %w", textOf(r.Name), err)
		}
		if err := b.add(&r); err != nil {
			return nil, err
		}
	}
	return b.finish()
}

// A Source is what a zone can be read from: a store.Store, or one at rest.
type Source interface {
	// Load is that of [store.Store].
	Load(context.Context, store.Visitor) (serial uint32, found bool, err error)
}

// Read returns what a source holds of the zone, without serving it. A source that holds nothing is
// an error.
func Read(name string, from Source) (*Snapshot, error) {
	o, err := newOrigin(name)
	if err != nil {
		return nil, fmt.Errorf("zone: origin %q: %w", name, err)
	}
	s, err := load(o, from)
	if err == nil && s == nil {
		err = store.ErrEmpty
	}
	if err != nil {
		return nil, fmt.Errorf("zone %s: %w", o.name, err)
	}
	return s, nil
}

// load returns what the store holds, nil if it is empty.
func load(o *origin, from Source) (*Snapshot, error) {
	b := newBuilder(o)
	serial, found, err := from.Load(context.Background(), visitor{b})
	return b.loaded(serial, found, err)
}

// loaded returns what Load has put in, nil if that was nothing.
func (b *builder) loaded(serial uint32, found bool, err error) (*Snapshot, error) {
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if !found {
		return nil, nil
	}
	s, err := b.finish()
	if err == nil {
		s.compact()
	}
	if err == nil && s.serial != serial {
		err = fmt.Errorf("its SOA says serial %d, its log ends at %d", s.serial, serial)
	}
	if err != nil {
		return nil, fmt.Errorf("the store does not hold a zone: %w", err)
	}
	return s, nil
}

// visitor passes a store's contents to a builder.
type visitor struct{ b *builder }

// Record implements store.Visitor. Earlier releases stored some rdata that is not valid. It is kept,
// so that a zone which has some can be loaded and the records can be deleted; only types that the
// zone itself reads must be valid.
func (v visitor) Record(r store.Record) error {
	if isStructural(r.Type) {
		if err := dnswire.Validate(r.Type, r.Data); err != nil {
			return fmt.Errorf("%s: %w", textOf(r.Name), err)
		}
	}
	return v.b.add(&r)
}

func (v visitor) Owner(o store.Owner) error { return v.b.own(o) }

// own puts one ownership in.
func (b *builder) own(o store.Owner) error {
	key, ok := b.snapshot.origin.keyOf(o.Name)
	if !ok {
		return fmt.Errorf("owned name %s is not in the zone", textOf(o.Name))
	}
	own := b.intern(o.Principal)
	if !o.Deleted.IsZero() {
		own = own.withDeleted(o.Deleted.Unix())
	}
	b.snapshot.setOwner(b.snapshot.sameKey(key), &own)
	return nil
}

// intern returns the ownership of an owner, which its other names have too, as a rule.
func (b *builder) intern(principal string) ownership {
	const most = 4096
	if known, ok := b.owners[principal]; ok {
		return known
	}
	if b.owners == nil {
		b.owners = make(map[string]ownership)
	} else if len(b.owners) >= most {
		clear(b.owners)
	}
	own := newOwnership(principal, 0)
	b.owners[principal] = own
	return own
}

// compact gives back the memory that the trees of names and owners have in reserve. Filled in order,
// they have one place in two empty, by chance one in three.
func (s *Snapshot) compact() {
	s.names = compacted(s.names)
	s.owners = compacted(s.owners)
}

// compacted returns a tree whose nodes are copies, without the room that the old ones share.
func compacted[Key cmp.Ordered, Value any](tree *btree.Map[Key, Value]) *btree.Map[Key, Value] {
	tree = tree.Copy()
	tree.ScanMut(func(Key, Value) bool { return true })
	return tree
}

// sameKey returns the tree's own copy of a key, if it has the name.
func (s *Snapshot) sameKey(key string) string {
	s.names.Ascend(key, func(k string, _ *node) bool {
		if k == key {
			key = k
		}
		return false
	})
	return key
}

// initialize fills the store with the seed.
func initialize(o *origin, into store.Shared, seed func() ([]store.Record, error), owners []store.Owner) (*Snapshot, error) {
	if seed == nil {
		return nil, errNoSeed
	}
	records, err := seed()
	if err != nil {
		return nil, err
	}
	s, err := build(o, records)
	if err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	b := builder{snapshot: s}
	for _, owner := range owners {
		if err := b.own(owner); err != nil {
			return nil, fmt.Errorf("seed: %w", err)
		}
	}
	s.compact()
	contents := store.Contents{Serial: s.serial, Records: s.WireRecords(), Owners: s.Owners()}
	if s.position, err = into.Init(context.Background(), contents); err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	return s, nil
}
