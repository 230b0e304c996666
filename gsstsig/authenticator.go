package gsstsig

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/internal/tsig"
)

// Authenticator serves one address: it verifies the TSIG records of the
// messages that come there and answers their TKEY queries. Several servers may
// share the address with each other and with static keys. It is safe for
// concurrent use.
type Authenticator struct {
	static   map[string]*staticKey
	reserved nameSet // names of static keys
	servers  []*Server
	replays  *HMACReplays
	now      func() time.Time
}

// NewAuthenticator returns an authenticator for static keys and the contexts of
// servers, which are asked in this order. Both may be empty.
//
// A context never has the name of a static key, because code that compares
// names alone would take the context's client for the holder of the static key.
// Negotiate refuses such a name, and a context with such a name from before a
// reload is not used.
func NewAuthenticator(static StaticKeys, servers ...*Server) *Authenticator {
	a := &Authenticator{static: newStaticKeys(static), reserved: newNameSet(static), servers: servers, replays: NewHMACReplays(0), now: time.Now}
	if len(servers) > 0 {
		a.now = servers[0].now
	}
	return a
}

// ShareReplays makes the authenticator record updates with static keys in
// replays, which other authenticators may share. It must be called before the
// first message.
func (a *Authenticator) ShareReplays(replays *HMACReplays) { a.replays = replays }

// Negotiates reports whether there is a server, so that Negotiate can make
// contexts.
func (a *Authenticator) Negotiates() bool { return len(a.servers) > 0 }

// Authenticate verifies a message as received, as [Message.Authenticate] does. If the key
// may be elsewhere it waits for that as [Message.FindKey] does for a client that is not
// known.
func (a *Authenticator) Authenticate(wire []byte) (*Transaction, error) {
	var r tsig.Record
	m := Message{authenticator: a, octets: tsig.Message{Octets: wire}}
	if m.parse(&r); m.octets.Signed() {
		m.findKey(&r)
		m.FindKey(context.Background(), netip.Addr{}, false)
	}
	return m.authenticate(&r)
}

// Message is a received message and what Inspect found in its octets, before
// any MAC is computed. Under a flood nearly everything can be refused by it, at
// the cost of a walk over the octets and a look into a table. It refers to the
// octets, which must not change while it is used.
type Message struct {
	authenticator *Authenticator
	octets        tsig.Message
	err           error
	keyHeld       bool
	keyElsewhere  bool
}

// Inspect walks over a message as received. It does not count as use of a
// context and does not panic.
func (a *Authenticator) Inspect(wire []byte) Message {
	var r tsig.Record
	m := Message{authenticator: a, octets: tsig.Message{Octets: wire}}
	if m.parse(&r); m.octets.Signed() {
		m.findKey(&r)
	}
	return m
}

func (m *Message) parse(r *tsig.Record) {
	defer m.recovered()
	m.octets, m.err = tsig.Parse(m.octets.Octets, r)
}

func (m *Message) findKey(r *tsig.Record) {
	defer m.recovered()
	m.keyHeld, m.keyElsewhere = m.authenticator.holdsKey(r)
}

// recovered is to be deferred. The code that it protects reads octets from any
// sender, before the server program's own recover is in place: a panic must cost
// one message, not the process.
func (m *Message) recovered() {
	if r := recover(); r != nil {
		m.octets, m.keyHeld, m.keyElsewhere, m.err = tsig.Message{Octets: m.octets.Octets}, false, false, fmt.Errorf("internal error: %s", faultText(r))
	}
}

// Malformed reports whether the records cannot be walked over, or the TSIG
// record is out of place or broken. Authenticate returns an error of that kind.
func (m *Message) Malformed() bool { return m.err != nil }

// HasOPT reports whether the message has an OPT record, whatever is in it; false
// if it is malformed.
func (m *Message) HasOPT() bool { return m.err == nil && m.octets.HasOPT }

// Signed reports whether the message has a TSIG record.
func (m *Message) Signed() bool { return m.octets.Signed() }

// KeyHeld reports whether the TSIG record names a key that the server has, for
// its algorithm. It says nothing about the MAC. For a message that is Signed
// without it, Authenticate returns an error of kind BadKey, unless FindKey finds the
// key.
func (m *Message) KeyHeld() bool { return m.keyHeld }

// KeyElsewhere reports whether the key that the TSIG record names, and that is not held,
// may be one of a context that another server has just made.
func (m *Message) KeyElsewhere() bool { return m.keyElsewhere }

// FindKey looks for the key of a message that may be elsewhere, and reports whether it
// is held now. It waits for an answer from the shared table, a quarter of a second at
// most, together with all others who wait: the work does not grow with the number of
// messages. proven says that the client's address cannot be forged, as by TCP. Where too
// many messages of the client, or in all, wait, it reports false at once.
func (m *Message) FindKey(ctx context.Context, client netip.Addr, proven bool) bool {
	var r tsig.Record
	if !m.keyElsewhere || !m.octets.Record(&r) {
		return m.keyHeld
	}
	ctx, cancel := context.WithTimeout(ctx, sharingTimeout)
	defer cancel()
	asked := make([]*sharing, 0, 2)
	for _, server := range m.authenticator.servers {
		shared := server.contexts.shared.Load()
		if shared == nil || slices.Contains(asked, shared) {
			continue
		}
		asked = append(asked, shared)
		// If the table is out of reach, the key is not found.
		_ = shared.lookups.wait(ctx, client, proven)
	}
	m.keyElsewhere = false
	m.keyHeld, _ = m.authenticator.holdsKey(&r)
	return m.keyHeld
}

// QuestionType returns the type of the first question, 0 if there is none.
func (m *Message) QuestionType() uint16 { return m.octets.QuestionType() }

// AppendKeyName appends the name of the key on the wire, in lower case; nothing
// if the message is not signed.
func (m *Message) AppendKeyName(b []byte) []byte {
	var r tsig.Record
	if !m.octets.Record(&r) {
		return b
	}
	return append(b, r.Name.Bytes()...)
}

// holdsKey reports whether there is a key that the record may have been made
// with, or whether that is for FindKey to find out.
func (a *Authenticator) holdsKey(r *tsig.Record) (held, elsewhere bool) {
	name, algorithm := r.Name.Bytes(), r.Algorithm.Bytes()
	if !isGSS(algorithm) {
		return a.static[string(name)] != nil && hmacIndex(algorithm) >= 0, false
	}
	if a.reserved.has(name) {
		return false, false
	}
	for _, server := range a.servers {
		if server.contexts.holds(name, algorithm) {
			return true, false
		}
		if shared := server.contexts.shared.Load(); shared != nil {
			if shared.find(contextID(name)) != nil {
				return true, false
			}
			elsewhere = elsewhere || !server.contexts.hasLive(name)
		}
	}
	return false, elsewhere
}

// Negotiate answers one TKEY query from client. signer is the transaction of
// the query if it was signed, else nil. The response is never nil; sign is what
// to sign it with, nil if it goes out unsigned. Negotiate does not panic.
//
// A completed context signs the answer that completes it, unless the query was
// signed: then the query's key signs, as for every signed request, and the
// client has to be content with the mechanism's own proof. BIND does the same.
//
// Where several servers share the address, the query is for the one that has
// the key of the token's service or, if the query has no token that tells, the
// one that knows the key name. A server that signer belongs to is asked before
// the others. A query that gives no clue, such as SPNEGO without an optimistic
// token, goes to the first one, and the negotiation moves to another once there
// is a token for that. Without any server the response is REFUSED.
func (a *Authenticator) Negotiate(request *dns.Msg, client netip.AddrPort, signer *Transaction) (response *dns.Msg, sign *Transaction) {
	return a.NegotiateWaiting(request, client, signer, func() {})
}

// NegotiateWaiting is Negotiate for those who bound how many handshakes are worked on at
// a time: waiting is called when the work is done, before the table of shared contexts
// is waited for, a quarter of a second at most.
func (a *Authenticator) NegotiateWaiting(request *dns.Msg, client netip.AddrPort, signer *Transaction, waiting func()) (response *dns.Msg, sign *Transaction) {
	n := &negotiation{signer: signer, reserved: a.reserved, beside: a.servers, waiting: waiting, event: Event{Client: client}}
	if len(a.servers) == 0 {
		n.begin(request)
		n.response.Rcode = dns.RcodeRefused
		return n.response, signer
	}
	return a.choose(request, signer).answer(request, n)
}
