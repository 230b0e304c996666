package gsstsig

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// SharedContexts is a table through which servers give each other the contexts
// that they make, so that a client may negotiate with one of them and send its
// update to another. It holds sealed records, see
// [krb5.AcceptorContext.Share], by the SHA-256 digest of the key name on the wire
// in lower case. Implementations must be safe for concurrent use.
type SharedContexts interface {
	// Add files a record until expires, unless there is one with this id whose time
	// is not over: then taken is reported as false for added. Of concurrent callers
	// with one id, at any servers, one succeeds. After an error the record may be
	// there, or may come to be. Once added, Find at this server has it. Where the
	// table is known to be out of reach, or is full, Add fails at once.
	Add(ctx context.Context, id [32]byte, record []byte, expires time.Time) (added bool, err error)

	// Remove takes out those of the records that are there as they are given. Once
	// it returns nil, Find at this server does not have them.
	Remove(ctx context.Context, records map[[32]byte][]byte) error

	// Find returns the record with the id that this server knows, nil if there is
	// none, without waiting for anything. What other servers did may be missing for a
	// moment; see Sync. known is false until the table was read for the first time.
	// The caller does not modify the record.
	Find(id [32]byte) (record []byte, known bool)

	// Sync returns nil when Find knows all that was done before the call.
	Sync(ctx context.Context) error

	// All yields what Find would find, in any order.
	All() iter.Seq2[[32]byte, []byte]
}

// Sharing says with which servers a Table shares its contexts.
type Sharing struct {
	// Contexts is their table, of a type that can be compared, such as a pointer; nil
	// stands for none.
	Contexts SharedContexts
	// Place names the table. It is the same at all its servers. A record is good in
	// the table only that it was made for.
	Place string
	// Server is the name by which other servers tell whose context one is: at most
	// 255 printable characters of ASCII without spaces.
	Server string
}

// How long a server waits for others.
const (
	sharingTimeout = 250 * time.Millisecond
	removalTimeout = time.Second // of records that nobody waits for
)

// sharing is a Sharing at work. It is safe for concurrent use.
type sharing struct {
	Sharing
	lookups lookups

	mu      sync.Mutex
	leaving map[[32]byte]leaver // to be removed; they are not found any more
	pending bool                // a goroutine removes them
}

// leaver is a record that is to be removed before it goes by itself.
type leaver struct {
	record []byte
	until  time.Time
}

// maxLeaving bounds the records of contexts that had to make room and are to be removed.
const maxLeaving = 1 << 14

// Share has the table share its contexts from now on, or no more. Earlier contexts
// stay good at this server alone, or where they were shared. It may be called while
// the table is in use. The error tells that Server is no such name.
func (t *Table) Share(with Sharing) error {
	if len(with.Server) > 255 || !printable(with.Server) {
		return fmt.Errorf("gsstsig: the server name %q is longer than 255 octets, or has other characters than printable ASCII", with.Server)
	}
	if with.Contexts == nil {
		t.shared.Store(nil)
		return nil
	}
	if s := t.shared.Load(); s != nil && s.Sharing == with {
		return nil // it goes on, with what it has yet to remove
	}
	s := &sharing{Sharing: with, leaving: make(map[[32]byte]leaver)}
	s.lookups.sync = with.Contexts.Sync
	t.shared.Store(s)
	return nil
}

// contextID is the id of a context in a shared table.
func contextID(name []byte) [32]byte { return sha256.Sum256(name) }

// find returns the record of a key name, nil if this server knows of none.
func (s *sharing) find(id [32]byte) []byte {
	record, _ := s.Contexts.Find(id)
	if record == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l, ok := s.leaving[id]; ok && bytes.Equal(l.record, record) {
		return nil
	}
	return record
}

// holds reports whether a context that was filed is still in the shared table, as
// far as this server knows.
func (s *sharing) holds(c *securityContext) bool {
	record, known := s.Contexts.Find(c.id)
	switch {
	case bytes.Equal(record, c.record):
		if !c.filed.Load() {
			c.filed.Store(true) // only now, after Add has failed
		}
		return true
	case !c.filed.Load(), !known:
		return true
	}
	return false
}

// add files a context that was made here. It reports false if the name is taken.
func (s *sharing) add(c *securityContext) (added bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), sharingTimeout)
	defer cancel()
	added, err = s.Contexts.Add(ctx, c.id, c.record, c.expires)
	if added {
		c.filed.Store(true)
	}
	return added || err != nil, err
}

// remove takes contexts out for all servers. If that fails they are not found here any
// more, and others learn it when the table is in reach again.
func (s *sharing) remove(contexts ...*securityContext) error {
	records := make(map[[32]byte][]byte, len(contexts))
	for _, c := range contexts {
		s.leave(c)
		records[c.id] = c.record
	}
	ctx, cancel := context.WithTimeout(context.Background(), sharingTimeout)
	defer cancel()
	if err := s.Contexts.Remove(ctx, records); err != nil {
		s.removeLeaving()
		return err
	}
	s.left(records)
	return nil
}

// forget has contexts removed that had to make room here. Nobody waits for it. If there are
// too many they go when their time is over.
func (s *sharing) forget(contexts []*securityContext) {
	s.mu.Lock()
	room := maxLeaving - len(s.leaving)
	s.mu.Unlock()
	for _, c := range contexts[:min(len(contexts), max(room, 0))] {
		s.leave(c)
	}
	s.removeLeaving()
}

// leave has a record not be found here any more.
func (s *sharing) leave(c *securityContext) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving[c.id] = leaver{record: c.record, until: c.expires}
}

// left forgets records that were removed.
func (s *sharing) left(records map[[32]byte][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, record := range records {
		if l, ok := s.leaving[id]; ok && bytes.Equal(l.record, record) {
			delete(s.leaving, id)
		}
	}
}

// removeLeaving removes what is leaving, by a goroutine that ends when nothing is.
func (s *sharing) removeLeaving() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.pending && len(s.leaving) > 0 {
		s.pending = true
		go s.removeAll()
	}
}

func (s *sharing) removeAll() {
	for records := s.departing(); records != nil; records = s.departing() {
		ctx, cancel := context.WithTimeout(context.Background(), removalTimeout)
		err := s.Contexts.Remove(ctx, records)
		if err == nil {
			s.left(records)
		} else {
			<-ctx.Done() // once a second while it fails
		}
		cancel()
	}
}

// departing returns what is leaving, or nil if nothing is: then the goroutine that
// asks ends.
func (s *sharing) departing() map[[32]byte][]byte {
	const atOnce = 64
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(s.leaving, func(_ [32]byte, l leaver) bool { return !now.Before(l.until) })
	if len(s.leaving) == 0 {
		s.pending = false
		return nil
	}
	records := make(map[[32]byte][]byte, atOnce)
	for id, l := range s.leaving {
		if records[id] = l.record; len(records) == atOnce {
			break
		}
	}
	return records
}

var (
	errSharedData = errors.New("the record of a shared context is malformed")
	errSharedName = errors.New("the record of a shared context is of another key name")
)

// share makes the record of a context for the other servers. A context that has none,
// one of RC4, is good here alone.
func (c *securityContext) share(s *sharing, elapsed time.Duration) error {
	data := origin{maker: s.Server, created: c.created, client: c.client}.append(nil)
	record, err := c.mechanism.Share(s.Place, append(data, c.exported(elapsed)...))
	if err != nil {
		return err
	}
	c.record, c.maker = record, s.Server
	return nil
}

// adopt makes the context of a shared record. It is not in the table.
func (s *Server) adopt(shared *sharing, id [32]byte, record []byte) (*securityContext, error) {
	mechanism, data, err := s.acceptor.Import(shared.Place, record)
	if err != nil {
		return nil, err
	}
	from, rest, ok := cutOrigin(data)
	var c *securityContext
	if ok {
		c, ok = importedContext(mechanism, rest)
	}
	if !ok {
		mechanism.Wipe()
		return nil, errSharedData
	}
	if contextID([]byte(c.name)) != id {
		mechanism.Wipe()
		return nil, errSharedName
	}
	now := s.now()
	elapsed := now.Sub(started)
	// What was left when the record was made is more than is left now.
	c.until = elapsed + min(c.until, c.expires.Sub(now))
	if c.over(now, elapsed) {
		mechanism.Wipe()
		return nil, errNoKey
	}
	c.id, c.record, c.adopted, c.mark = id, record, true, c.markOf()
	c.maker, c.created, c.client = from.maker, from.created, from.client
	c.filed.Store(true)
	return c, nil
}

// openedRecords are contexts of shared records that no message has been verified in yet.
// To open a record takes longer than to find that a MAC is wrong, so that it is not to
// be done for each message that somebody sends with the name of a context
// (BenchmarkForged). The zero value is ready for use, and safe for concurrent use.
type openedRecords struct {
	mu       sync.Mutex
	contexts map[[32]byte]*securityContext
}

// maxOpened bounds openedRecords.
const maxOpened = 256

func (o *openedRecords) of(id [32]byte) *securityContext {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.contexts[id]
}

func (o *openedRecords) add(c *securityContext) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.contexts == nil {
		o.contexts = make(map[[32]byte]*securityContext)
	}
	for id := range o.contexts { // any one makes room
		if len(o.contexts) < maxOpened {
			break
		}
		delete(o.contexts, id)
	}
	o.contexts[c.id] = c
}

func (o *openedRecords) remove(c *securityContext) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.contexts[c.id] == c {
		delete(o.contexts, c.id)
	}
}

// origin is where a shared context comes from, for those who administer the servers.
type origin struct {
	maker   string // a server
	created time.Time
	client  netip.AddrPort
}

// append appends what cutOrigin reads.
func (o origin) append(b []byte) []byte {
	b = append(append(b, byte(len(o.maker))), o.maker...)
	b = binary.BigEndian.AppendUint64(b, uint64(o.created.Unix()))
	client, err := netip.AddrPortFrom(o.client.Addr().WithZone(""), o.client.Port()).MarshalBinary()
	if err != nil {
		client = nil // it has no errors
	}
	return append(append(b, byte(len(client))), client...)
}

// cutOrigin returns the origin in front of the data of a shared record, and the rest.
func cutOrigin(data []byte) (o origin, rest []byte, ok bool) {
	s := cryptobyte.String(data)
	var maker, client cryptobyte.String
	var created uint64
	if !s.ReadUint8LengthPrefixed(&maker) || !s.ReadUint64(&created) || !s.ReadUint8LengthPrefixed(&client) ||
		!printable(string(maker)) || o.client.UnmarshalBinary(client) != nil || o.client.Addr().Zone() != "" {
		return origin{}, nil, false
	}
	o.maker, o.created = string(maker), time.Unix(int64(created), 0)
	return o, s, true
}

// printable reports whether a server's name can be shown as it is.
func printable(name string) bool {
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' {
			return false
		}
	}
	return true
}
