package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"
)

// MemoryOptions bound the log of changes. Zero values have defaults.
type MemoryOptions struct {
	// MaxChanges is how many changes the log keeps; 0 means 10,000.
	MaxChanges int
	// MaxOctets is how many octets of names and rdata the log keeps; 0 means 16 MiB. The latest
	// change is kept however large it is.
	MaxOctets int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Memory is a Store whose contents exist as long as the value does. It holds its own copy of every
// record, at about 100 octets each.
type Memory struct {
	options MemoryOptions

	mu     sync.RWMutex // guards what follows
	closed bool
	found  bool
	serial uint32
	// records maps recordKey to the rest, so that one string is all that a record costs.
	records map[string]attributes
	owners  map[string]Owner
	log     []Change
	logged  int // octets in log
}

// attributes are what does not distinguish records.
type attributes struct{ ttl, hours uint32 }

func attributesOf(r Record) attributes { return attributes{r.TTL, r.Hours} }

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory(options MemoryOptions) *Memory {
	if options.MaxChanges <= 0 {
		options.MaxChanges = 10_000
	}
	if options.MaxOctets <= 0 {
		options.MaxOctets = 16 << 20
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Memory{options: options, records: make(map[string]attributes), owners: make(map[string]Owner)}
}

// Reopen returns a store with the contents that m had when it was closed, as opening a directory
// again would. m stays closed and must not be reopened twice. It is an error if m is open.
func (m *Memory) Reopen() (*Memory, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		return nil, fmt.Errorf("store: reopen: still in use")
	}
	return &Memory{
		options: m.options, found: m.found, serial: m.serial,
		records: m.records, owners: m.owners, log: m.log, logged: m.logged,
	}, nil
}

// recordKey is what identifies a record: type (2), class (2), length of the name (2), name, data.
func recordKey(r Record) string {
	var b strings.Builder
	b.Grow(recordKeyHeader + len(r.Name) + len(r.Data))
	var fixed [recordKeyHeader]byte
	binary.BigEndian.PutUint16(fixed[0:], r.Type)
	binary.BigEndian.PutUint16(fixed[2:], r.Class)
	binary.BigEndian.PutUint16(fixed[4:], uint16(len(r.Name)))
	b.Write(fixed[:])
	b.WriteString(r.Name)
	b.Write(r.Data)
	return b.String()
}

const recordKeyHeader = 6

func recordOf(key string, a attributes) Record {
	number := func(at int) uint16 { return uint16(key[at])<<8 | uint16(key[at+1]) }
	end := recordKeyHeader + int(number(4))
	return Record{
		Name:  key[recordKeyHeader:end],
		Type:  number(0),
		Class: number(2),
		TTL:   a.ttl,
		Hours: a.hours,
		Data:  []byte(key[end:]),
	}
}

// Load implements Store.
func (m *Memory) Load(ctx context.Context, v Visitor) (uint32, bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return 0, false, ErrClosed
	}
	if !m.found {
		return 0, false, nil
	}
	for key, a := range m.records {
		if err := v.Record(recordOf(key, a)); err != nil {
			return 0, true, err
		}
	}
	for _, owner := range m.owners {
		if err := v.Owner(owner); err != nil {
			return 0, true, err
		}
	}
	return m.serial, true, ctx.Err()
}

// Init implements Store.
func (m *Memory) Init(ctx context.Context, c Contents) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return ErrClosed
	case m.found:
		return ErrNotEmpty
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("store: init: %w", err)
	}
	for r := range c.Records {
		m.records[recordKey(r)] = attributesOf(r)
	}
	if c.Owners != nil {
		for o := range c.Owners {
			m.owners[o.Name] = o
		}
	}
	m.serial, m.found = c.Serial, true
	return nil
}

// Commit implements Store.
func (m *Memory) Commit(ctx context.Context, changes []Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return ErrClosed
	case len(changes) == 0:
		return nil
	case !m.found:
		return ErrEmpty
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("store: commit: %w", err)
	}
	if err := CheckChanges(m.serial, changes); err != nil {
		return err
	}
	for _, c := range changes {
		m.apply(c)
	}
	return nil
}

func (m *Memory) apply(c Change) {
	for _, r := range c.Removed {
		delete(m.records, recordKey(r))
	}
	for _, r := range c.Added {
		m.records[recordKey(r)] = attributesOf(r)
	}
	for _, r := range c.Refreshed {
		m.records[recordKey(r)] = attributesOf(r)
	}
	for _, o := range c.Owners {
		m.owners[o.Name] = o
	}
	for _, name := range c.Disowned {
		delete(m.owners, name)
	}
	m.serial = c.To
	if c.From == c.To {
		return
	}
	m.log = append(m.log, Change{
		From: c.From, To: c.To, Author: c.Author, Rule: c.Rule, Committed: m.options.Now().UTC().Truncate(time.Second),
		Removed: c.Removed, Added: c.Added,
	})
	m.logged += octets(c)
	drop := 0
	for len(m.log)-drop > m.options.MaxChanges || (m.logged > m.options.MaxOctets && len(m.log)-drop > 1) {
		m.logged -= octets(m.log[drop])
		// The backing array must not keep the dropped change alive.
		m.log[drop] = Change{}
		drop++
	}
	m.log = m.log[drop:]
}

func octets(c Change) int {
	n := len(c.Author) + len(c.Rule)
	for _, list := range [][]Record{c.Removed, c.Added} {
		for _, r := range list {
			n += len(r.Name) + len(r.Data) + 10
		}
	}
	return n
}

// Changes implements Store.
func (m *Memory) Changes(ctx context.Context, from, to uint32) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		found, err := m.between(from, to)
		if err != nil {
			yield(Change{}, err)
			return
		}
		for _, c := range found {
			if err := ctx.Err(); err != nil {
				yield(Change{}, fmt.Errorf("store: changes: %w", err))
				return
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// between returns a copy of that part of the log, so that changes may be dropped from it meanwhile.
func (m *Memory) between(from, to uint32) ([]Change, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	if from == to {
		return nil, nil
	}
	// A serial may occur again after serials have wrapped around; the most recent occurrence
	// counts.
	end := -1
	for i := len(m.log) - 1; i >= 0; i-- {
		if end < 0 && m.log[i].To == to {
			end = i
		}
		if end >= 0 && m.log[i].From == from {
			return slices.Clone(m.log[i : end+1]), nil
		}
	}
	return nil, fmt.Errorf("%w: from %d to %d", ErrHistory, from, to)
}

// Log implements Store.
func (m *Memory) Log(ctx context.Context) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		m.mu.RLock()
		log, closed := slices.Clone(m.log), m.closed
		m.mu.RUnlock()
		if closed {
			yield(Change{}, ErrClosed)
			return
		}
		for _, c := range slices.Backward(log) {
			if err := ctx.Err(); err != nil {
				yield(Change{}, fmt.Errorf("store: log: %w", err))
				return
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// Close implements Store.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}
