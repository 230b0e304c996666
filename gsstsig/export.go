package gsstsig

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// ErrKeyNameTaken is in the error of [Server.Import] if a live context has the
// key name.
var ErrKeyNameTaken = errors.New("a live context has this key name")

// Export takes every established context out of the table, and returns those
// that can be kept as records, about in the order of their last use:
// [Server.Import] makes contexts of them again, in another process. What is left of the table is empty:
// a message that is verified after that would not be in the record, and could be
// replayed. So the server must not be serving any more.
//
// A record is sealed by the service's key in the keytab: see
// [krb5.AcceptorContext.Export], also for place. dropped counts the contexts
// that have no record: those of RC4.
func (t *Table) Export(place string) (records [][]byte, dropped int) {
	now := t.now()
	elapsed := now.Sub(started)
	for _, c := range t.removeAll() {
		if c.over(now, elapsed) {
			c.mechanism.Wipe()
			continue
		}
		record, err := c.mechanism.Export(place, c.exported(elapsed))
		if err != nil {
			dropped++
			continue
		}
		records = append(records, record)
	}
	t.Clear()
	return records, dropped
}

// removeAll takes all contexts out of the table, those that were used last in
// their shards at the end.
func (t *Table) removeAll() []*securityContext {
	shards := make([][]*securityContext, len(t.shards))
	longest := 0
	for i := range t.shards {
		shards[i] = t.shards[i].removeAll()
		longest = max(longest, len(shards[i]))
	}
	var all []*securityContext
	for n := longest; n > 0; n-- {
		for _, s := range shards {
			if n <= len(s) {
				all = append(all, s[len(s)-n])
			}
		}
	}
	return all
}

// removeAll takes all contexts out of the shard, the longest unused first.
func (s *shard) removeAll() []*securityContext {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*securityContext
	for _, byUse := range []*list[securityContext]{&s.adopted, &s.made} {
		for c := byUse.front(); c != nil; c = byUse.front() {
			all = append(all, c)
			s.remove(c)
		}
	}
	return all
}

// Import files the context of a record that [Table.Export] made for that place,
// among the others and within the bounds of the table. A record must be imported
// once only, in any process: of two copies of a context, each would accept the
// same message.
//
// The context ends when it would have ended, and if the clock was set back
// meanwhile, after the time that it had left. Errors wrap those of
// [krb5.Acceptor.Import], or ErrKeyNameTaken. They name the principal and the key,
// but not the record's secrets.
func (s *Server) Import(place string, record []byte) error {
	mechanism, data, err := s.acceptor.Import(place, record)
	if err != nil {
		return err
	}
	c, ok := importedContext(mechanism, data)
	if !ok {
		mechanism.Wipe()
		return fmt.Errorf("context of %s: %w", mechanism.Peer(), krb5.ErrMalformed)
	}
	c.mark = c.markOf()
	now := s.now()
	elapsed := now.Sub(started)
	c.until += elapsed
	switch {
	case c.over(now, elapsed):
		err = krb5.ErrExpired
	case !s.contexts.insert(c):
		err = ErrKeyNameTaken
	default:
		return nil
	}
	mechanism.Wipe()
	return fmt.Errorf("context of %s, key %s: %w", mechanism.Peer(), c.identity.KeyName, err)
}

// exported is what a record holds beside the mechanism's state: when the context
// ends, how long that is from now by the clock that is never set, the algorithm and
// the key name on the wire.
func (c *securityContext) exported(elapsed time.Duration) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(c.expires.Unix()))
	b = binary.BigEndian.AppendUint64(b, uint64(c.until-elapsed))
	b = append(b, byte(slices.Index(gssAlgorithms, c.algorithm)))
	return append(b, c.name...)
}

// gssAlgorithms are the algorithms by their numbers in records.
var gssAlgorithms = []string{wireGSS, wireGSSMicrosoft}

// importedContext makes a context of what exported returned, with the time that is
// left in until.
func importedContext(mechanism *krb5.AcceptorContext, data []byte) (*securityContext, bool) {
	const fixed = 8 + 8 + 1
	if len(data) < fixed || int(data[fixed-1]) >= len(gssAlgorithms) {
		return nil, false
	}
	name, next, err := dnswire.UnpackName(nil, data, fixed)
	if err != nil || next != len(data) || !bytes.Equal(dnswire.AppendLower(nil, name), data[fixed:]) {
		return nil, false
	}
	return &securityContext{
		name:      string(name),
		algorithm: gssAlgorithms[data[fixed-1]],
		identity:  Identity{Principal: mechanism.Peer(), KeyName: dnswire.NameText(name)},
		mechanism: mechanism,
		expires:   time.Unix(int64(binary.BigEndian.Uint64(data)), 0),
		until:     time.Duration(binary.BigEndian.Uint64(data[8:])),
	}, true
}
