package gsstsig

import (
	"bytes"
	"sync"
)

// Elsewhere lists, in the order of [Table.Contexts], the contexts that other servers share
// with this one, and of which it has seen no message yet. It opens each record once, with
// the keys of the keytab, and remembers what was in it.
func (s *Server) Elsewhere() []ContextInfo {
	var list []ContextInfo
	s.visitElsewhere(func(_ *sharing, c *remoteContext) { list = append(list, c.info) })
	sortInfo(list)
	return list
}

// DropElsewhere is [Table.Drop] for the contexts that Elsewhere lists.
func (s *Server) DropElsewhere(match func(ContextInfo) bool) (dropped []ContextInfo, err error) {
	var matching []*securityContext
	var shared *sharing
	s.visitElsewhere(func(in *sharing, c *remoteContext) {
		if match(c.info) {
			matching, dropped, shared = append(matching, c.context()), append(dropped, c.info), in
		}
	})
	if len(matching) == 0 {
		return nil, nil
	}
	return dropped, shared.remove(matching...)
}

// remoteContext is what is known of a context of the shared table, without its keys.
type remoteContext struct {
	id     [32]byte
	record []byte
	name   string // on the wire
	info   ContextInfo
}

// context is enough of the context to remove it from the shared table.
func (c *remoteContext) context() *securityContext {
	return &securityContext{id: c.id, record: c.record, expires: c.info.Expires}
}

// remoteContexts are those that were opened to be listed. The zero value is ready for use,
// and safe for concurrent use.
type remoteContexts struct {
	mu sync.Mutex
	of map[[32]byte]*remoteContext
}

// maxRemote bounds remoteContexts. What there is beyond it is opened each time.
const maxRemote = 1 << 16

// visitElsewhere calls f with each context that is in the shared table alone.
func (s *Server) visitElsewhere(f func(*sharing, *remoteContext)) {
	shared := s.contexts.shared.Load()
	if shared == nil {
		return
	}
	s.remote.mu.Lock()
	defer s.remote.mu.Unlock()
	now := s.now()
	known := make(map[[32]byte]*remoteContext)
	for id, record := range shared.Contexts.All() {
		c := s.remote.of[id]
		if c == nil || !bytes.Equal(c.record, record) {
			opened, err := s.adopt(shared, id, record)
			if err != nil {
				continue
			}
			c = &remoteContext{id: id, record: record, name: opened.name, info: opened.info()}
			opened.mechanism.Wipe()
		}
		if len(known) < maxRemote {
			known[id] = c
		}
		if now.Before(c.info.Expires) && !s.contexts.hasLive([]byte(c.name)) && shared.find(id) != nil {
			f(shared, c)
		}
	}
	s.remote.of = known
}
