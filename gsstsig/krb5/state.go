package krb5

import (
	"bytes"
	"errors"
	"time"
	"unique"

	"golang.org/x/crypto/cryptobyte"
)

// contextState is all of an established context but for its service, which is
// told by the key of the record.
type contextState struct {
	peer          Principal
	expires       int64 // seconds of Unix time
	groups        []string
	account       Account
	hasPAC        bool
	types         [2]Enctype
	way           transit
	authenticator authenticatorID
	session       sessionState
	data          []byte // of the caller of Export
}

// sessionState is what a session goes on with.
type sessionState struct {
	enctype      Enctype
	flags        uint8
	peerFlags    uint8
	sequence     uint64
	first, next  uint64
	seen         [windowSize / 64]uint64
	sign, verify []byte
}

func (s *sessionState) wipe() {
	clear(s.sign)
	clear(s.verify)
}

// take returns the session's state and wipes the session, in one step: no MIC is
// made or accepted after it. It reports false if the session was wiped before.
func (s *session) take() (sessionState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sign == nil && s.rc4 == nil {
		return sessionState{}, false
	}
	state := s.state()
	if s.rc4 != nil {
		s.rc4.wipe()
	}
	s.sign, s.verify, s.rc4 = nil, nil, nil
	return state, true
}

// state returns the session's state, whose keys are those of the session. The
// caller holds mu.
func (s *session) state() sessionState {
	s.window.mu.Lock()
	defer s.window.mu.Unlock()
	return sessionState{
		enctype: s.encryption.id, flags: s.flags, peerFlags: s.peerFlags, sequence: s.sequence.Load(),
		first: s.window.first, next: s.window.next, seen: s.window.seen,
		sign: s.sign, verify: s.verify,
	}
}

// copy returns a state for sessions beside this one, which number their answers by
// the first number of this side. It reports false if the session was wiped.
func (s *session) copy() (sessionState, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.sign == nil && s.rc4 == nil {
		return sessionState{}, false
	}
	state := s.state()
	state.sequence, state.sign, state.verify = s.own, bytes.Clone(s.sign), bytes.Clone(s.verify)
	return state, true
}

// resume makes the session that goes on with the state.
func (s *sessionState) resume() *session {
	made := &session{
		encryption: encryptions[s.enctype], flags: s.flags, peerFlags: s.peerFlags, mechanism: mechanismKRB5,
		sign: s.sign, verify: s.verify, own: s.sequence,
	}
	made.sequence.Store(s.sequence)
	made.window.first, made.window.next, made.window.seen = s.first, s.next, s.seen
	return made
}

// state returns the context's state with the session's, which was taken.
func (c *AcceptorContext) state(session sessionState, data []byte) *contextState {
	return &contextState{
		peer: c.peer, expires: c.expires.Unix(), groups: c.Groups(), account: c.account, hasPAC: c.hasPAC,
		types: c.types, way: c.way, authenticator: c.authenticator, session: session, data: data,
	}
}

// context makes the context of the state.
func (s *contextState) context(a *Acceptor, k *serviceKey) *AcceptorContext {
	c := &AcceptorContext{
		acceptor: a, used: true, key: k, service: k.principal,
		peer: s.peer, expires: time.Unix(s.expires, 0), account: s.account, hasPAC: s.hasPAC,
		types: s.types, way: s.way, authenticator: s.authenticator, session: s.session.resume(),
	}
	for _, g := range s.groups {
		c.groups = append(c.groups, unique.Make(g))
	}
	return c
}

// maxStateGroups is above what a token of the largest size can name.
const maxStateGroups = 1 << 15

var errStateTooLarge = errors.New("the context has more groups, or longer names, than a record holds")

func (s *contextState) marshal() ([]byte, error) {
	f := fields{writer: new(cryptobyte.Builder)}
	s.visit(&f)
	b, err := f.writer.Bytes()
	if f.failed || err != nil {
		return nil, errStateTooLarge
	}
	return b, nil
}

// unmarshal reads what marshal made. It copies all that it keeps.
func (s *contextState) unmarshal(b []byte) bool {
	f := fields{reader: b}
	s.visit(&f)
	e := encryptions[s.session.enctype]
	return !f.failed && f.reader.Empty() && e != nil && !e.rc4 &&
		len(s.session.sign) == e.subSize && len(s.session.verify) == e.subSize
}

// visit is the order of the fields, for reading and for writing.
func (s *contextState) visit(f *fields) {
	f.principal(&s.peer)
	visitUint(f, &s.expires)
	count := uint16(min(len(s.groups), maxStateGroups+1))
	visitUint(f, &count)
	if count > maxStateGroups {
		f.failed = true
	}
	if f.writer == nil && !f.failed {
		s.groups = make([]string, 0, min(int(count), len(f.reader)/2)) // each takes two octets at least
	}
	for i := range int(count) {
		if f.failed {
			return
		}
		if f.writer == nil {
			s.groups = append(s.groups, "")
		}
		f.text(&s.groups[i])
	}
	f.text(&s.account.Name)
	f.text(&s.account.SID)
	f.bool(&s.hasPAC)
	visitUint(f, &s.types[0])
	visitUint(f, &s.types[1])
	f.bool(&s.way.checked)
	visitUint(f, &s.way.encoding)
	f.octets(&s.way.realms)
	for i := range s.authenticator.digest {
		visitUint(f, &s.authenticator.digest[i])
	}
	at := s.authenticator.at.UnixMicro()
	visitUint(f, &at)
	s.authenticator.at = time.UnixMicro(at)

	visitUint(f, &s.session.enctype)
	visitUint(f, &s.session.flags)
	visitUint(f, &s.session.peerFlags)
	visitUint(f, &s.session.sequence)
	visitUint(f, &s.session.first)
	visitUint(f, &s.session.next)
	for i := range s.session.seen {
		visitUint(f, &s.session.seen[i])
	}
	f.octets(&s.session.sign)
	f.octets(&s.session.verify)
	f.octets(&s.data)
}

// fields reads from reader or, if there is one, writes to writer.
type fields struct {
	writer *cryptobyte.Builder
	reader cryptobyte.String
	failed bool
}

// visitUint visits an integer of that size.
func visitUint[T uint8 | uint16 | uint64 | int32 | int64 | Enctype](f *fields, v *T) {
	size := 8
	switch any(*v).(type) {
	case uint8:
		size = 1
	case uint16:
		size = 2
	case int32, Enctype:
		size = 4
	}
	var octets [8]byte
	if f.writer != nil {
		for i := range size {
			octets[i] = byte(uint64(*v) >> (8 * (size - 1 - i)))
		}
		f.writer.AddBytes(octets[:size])
		return
	}
	if !f.reader.CopyBytes(octets[:size]) {
		f.failed = true
		return
	}
	var n uint64
	for _, o := range octets[:size] {
		n = n<<8 | uint64(o)
	}
	*v = T(n)
}

func (f *fields) bool(v *bool) {
	n := uint8(0)
	if *v {
		n = 1
	}
	visitUint(f, &n)
	f.failed = f.failed || n > 1
	*v = n == 1
}

// octets visits octets behind their number, in two octets.
func (f *fields) octets(v *[]byte) {
	if f.writer != nil {
		f.writer.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(*v) })
		return
	}
	var s cryptobyte.String
	if f.failed || !f.reader.ReadUint16LengthPrefixed(&s) {
		f.failed = true
		return
	}
	*v = bytes.Clone(s)
}

func (f *fields) text(v *string) {
	b := []byte(*v)
	f.octets(&b)
	*v = string(b)
}

func (f *fields) principal(p *Principal) {
	if f.writer != nil {
		f.writer.AddBytes(appendPrincipal(nil, *p))
		return
	}
	f.failed = f.failed || !readPrincipal(&f.reader, p)
}

// readPrincipal reads what appendPrincipal appended.
func readPrincipal(s *cryptobyte.String, p *Principal) bool {
	f := fields{reader: *s}
	var components uint16
	f.text(&p.Realm)
	visitUint(&f, &components)
	if f.failed || components > maxComponents {
		return false
	}
	p.Components = make([]string, components)
	for i := range p.Components {
		f.text(&p.Components[i])
	}
	*s = f.reader
	return !f.failed && p.bounded()
}
