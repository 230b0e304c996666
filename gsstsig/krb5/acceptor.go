package krb5

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unique"
)

// DefaultClockSkew is the permitted difference of clocks if none is configured,
// the customary five minutes.
const DefaultClockSkew = 5 * time.Minute

// AcceptorConfig says which tickets an Acceptor accepts.
type AcceptorConfig struct {
	// Keytabs holds the services' keys. Required.
	Keytabs *Keytabs

	// Replays remembers authenticators. Required; share one between all
	// acceptors of a process, and keep it over reloads. Authenticators from before
	// its first acceptor was made are refused where a replay would do harm: in
	// handshakes without mutual authentication, and in those of RC4 without
	// another type. Clients make a new one when they try again.
	Replays *ReplayCache

	// Services are the service principals that tickets may be for, compared
	// without regard to ASCII case except in the realm; one without a realm
	// stands for that of every realm. If empty: every principal in Keytabs with
	// two components of which the first is "DNS" in any case.
	Services []Principal

	// Realms are the client realms accepted, compared exactly. If empty: those of
	// Keytabs, as they are at the time of the handshake.
	Realms []string

	// Transit says through which realms clients may come; nil means those of
	// the hierarchy.
	Transit *TransitPolicy

	// RequirePAC are the client realms whose tickets must carry a PAC with logon
	// information, compared exactly: those of Active Directory, where a client can
	// ask for a ticket without one.
	RequirePAC []string

	// Enctypes are those permitted for tickets, session keys and subkeys.
	// If empty: 17, 18, 19 and 20, the AES types. DES is not supported and
	// never will be.
	Enctypes []Enctype

	// AllowRC4 permits RC4 (23) as well, for domains without AES keys.
	// Its keys can be guessed from a ticket where passwords are weak, and its
	// MICs do not protect the order of messages. With a client that knows AES
	// the context's MICs are made with AES even then.
	AllowRC4 bool

	// ClockSkew is how far a client's clock may be off; 0 means
	// DefaultClockSkew.
	ClockSkew time.Duration

	// Now is the clock; nil means time.Now.
	Now func() time.Time

	// Random is where the server's subkeys, sequence numbers and confounders
	// come from; nil means crypto/rand, and everything else gives the keys
	// away. It is there to make again, in a test, what a server once said.
	Random io.Reader
}

// PermittedEnctypes lists the encryption types that Enctypes and
// AllowRC4 permit.
func (c *AcceptorConfig) PermittedEnctypes() []Enctype {
	types := slices.Clone(c.Enctypes)
	if len(types) == 0 {
		types = slices.Clone(defaultEnctypes)
	}
	if c.AllowRC4 && !slices.Contains(types, RC4HMAC) {
		types = append(types, RC4HMAC)
	}
	return types
}

// Acceptor is the service's side of the mechanism: keys and rules, from which
// each handshake gets its context. It does not change and is safe for
// concurrent use.
type Acceptor struct {
	keytabs  *Keytabs
	replays  *ReplayCache
	services []Principal
	realms   []string
	transit  *TransitPolicy
	withPAC  []string
	enctypes []Enctype
	skew     time.Duration
	now      func() time.Time
	random   io.Reader
}

// NewAcceptor checks the configuration. It does not demand that a key fits it:
// keytabs change while the server runs.
func NewAcceptor(c AcceptorConfig) (*Acceptor, error) {
	if c.Keytabs == nil || c.Replays == nil {
		return nil, errors.New("kerberos: an acceptor needs keytabs and a replay cache")
	}
	if c.ClockSkew < 0 {
		return nil, errors.New("kerberos: a clock skew cannot be negative")
	}
	a := &Acceptor{
		keytabs:  c.Keytabs,
		replays:  c.Replays,
		services: slices.Clone(c.Services),
		realms:   slices.Clone(c.Realms),
		transit:  c.Transit,
		withPAC:  slices.Clone(c.RequirePAC),
		enctypes: c.PermittedEnctypes(),
		skew:     c.ClockSkew,
		now:      c.Now,
		random:   c.Random,
	}
	if a.skew == 0 {
		a.skew = DefaultClockSkew
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.random == nil {
		a.random = rand.Reader
	}
	if a.transit == nil {
		a.transit = new(TransitPolicy)
	}
	for _, id := range a.enctypes {
		if id == RC4HMAC && !c.AllowRC4 {
			return nil, errors.New("kerberos: " + id.String() + " must be allowed explicitly")
		}
		if encryptions[id] == nil {
			return nil, fmt.Errorf("kerberos: %s is not supported", id)
		}
	}
	a.replays.keepFor(a.skew)
	a.replays.begin(a.now())
	return a, nil
}

// HasKeyFor reports whether token, an AP-REQ in GSS-API framing, is for a service
// that this acceptor has a key of and accepts. It decrypts nothing: the answer
// says which service the token is for, not whether it is valid.
func (a *Acceptor) HasKeyFor(token []byte) bool {
	t, ok := parseToken(token)
	if !ok || t.id != tokenAPReq {
		return false
	}
	service, ok := peekService(t.body)
	if !ok || !a.serves(service) {
		return false
	}
	return a.holdsKeyOf(service)
}

// NewContext begins a handshake.
func (a *Acceptor) NewContext() *AcceptorContext { return &AcceptorContext{acceptor: a} }

// WouldAccept reports whether the acceptor would accept the client of a context
// that another one has established, one of another block or from before the
// configuration changed: by its realm and the way from there, by its PAC, by the
// service and whether there is a key of it, and by the encryption types. Times are
// not looked at.
func (a *Acceptor) WouldAccept(c *AcceptorContext) bool {
	return c.acceptor == a || a.accepts(c)
}

// accepts is WouldAccept for a context that this acceptor has not decided on.
func (a *Acceptor) accepts(c *AcceptorContext) bool {
	for _, id := range append(c.types[:], c.SessionEnctype()) {
		if !slices.Contains(a.enctypes, id) {
			return false
		}
	}
	return a.acceptsRealm(c.peer.Realm) && a.serves(c.service) && a.holdsKeyOf(c.service) &&
		(c.hasPAC || !slices.Contains(a.withPAC, c.peer.Realm)) &&
		a.checkTransit(c.peer, c.service.Realm, c.way) == nil
}

// holdsKeyOf reports whether there is a key of the service.
func (a *Acceptor) holdsKeyOf(service Principal) bool {
	now := a.now()
	return slices.ContainsFunc(a.keytabs.set.Load().services[service.folded()], func(k *serviceKey) bool { return k.usable(now) })
}

// acceptsRealm reports whether clients of the realm are accepted.
func (a *Acceptor) acceptsRealm(realm string) bool {
	realms := a.realms
	if len(realms) == 0 {
		realms = a.keytabs.set.Load().realms
	}
	return slices.Contains(realms, realm)
}

func (a *Acceptor) serves(p Principal) bool {
	if len(a.services) == 0 {
		return p.isDNS()
	}
	return slices.ContainsFunc(a.services, func(q Principal) bool {
		if q.Realm == "" {
			q.Realm = p.Realm
		}
		return q.folded() == p.folded()
	})
}

// AcceptorContext is one handshake and, once that is done, the context it
// established. Accept must not be called concurrently with anything else;
// after it has returned, all methods are safe for concurrent use.
type AcceptorContext struct {
	acceptor *Acceptor
	used     bool
	peer     Principal
	service  Principal
	expires  time.Time
	groups   []unique.Handle[string] // shared by all contexts: clients have groups in common
	account  Account
	hasPAC   bool
	types    [2]Enctype // of the ticket's encryption and of its session key
	way      transit
	session  *session

	// For Export.
	key           *serviceKey // that decrypted the ticket
	authenticator authenticatorID
}

// Accept takes the client's token, one AP-REQ in the framing of RFC 2743,
// section 3.1. If the client asked for mutual authentication reply is an
// AP-REP in the same framing, else nil: a context needs one token only.
//
// Errors are of type *Error. With an error reply may be a KRB-ERROR in the
// same framing that tells the client what is wrong. A context takes one token;
// after a failure begin a new one.
func (c *AcceptorContext) Accept(token []byte) (reply []byte, err error) {
	if c.used {
		return nil, malformed("a token came after the handshake was over")
	}
	c.used = true
	t, ok := parseToken(token)
	if !ok {
		return nil, malformed("the token has no Kerberos framing")
	}
	if t.id != tokenAPReq {
		return nil, malformed("the token is not an AP-REQ")
	}
	req, ok := parseAPReq(t.body)
	if !ok {
		return nil, malformed("the AP-REQ is malformed")
	}
	h := handshake{acceptor: c.acceptor, now: c.acceptor.now(), req: req}
	defer h.wipe()
	if failure := h.verify(); failure != nil {
		failure.Service = req.ticket.service.shown()
		failure.Enctype = req.ticket.enc.enctype
		return h.refusal(t.mechanism, failure.Code), failure
	}
	reply, session, err := h.establish(t.mechanism)
	if err != nil {
		return nil, &Error{Code: codeGeneric, Reason: "the AP-REP cannot be made", Service: req.ticket.service.shown(), err: err}
	}
	c.peer, c.service, c.expires, c.session = h.ticket.client, h.service, h.ticket.end, session
	c.groups, c.account, c.hasPAC = h.groups, h.account, h.hasPAC
	c.types = [2]Enctype{req.ticket.enc.enctype, h.session.encryption.id}
	c.key, c.authenticator = h.key, h.seen
	c.way = h.ticket.way()
	// The ticket is wiped, so the list is copied. A list that is too long, which
	// a KDC that is trusted may permit, is cut but stays too long.
	c.way.realms = bytes.Clone(c.way.realms[:min(len(c.way.realms), maxTransitedOctets+1)])
	return reply, nil
}

// Established reports whether the context has keys: Accept succeeded, and Wipe
// was not called.
func (c *AcceptorContext) Established() bool { return c.session != nil && c.session.alive() }

// Peer is the client's name and realm, as the KDC wrote them into the ticket.
func (c *AcceptorContext) Peer() Principal { return c.peer }

// Service is the principal, in the keytab's spelling, whose key decrypted the
// ticket.
func (c *AcceptorContext) Service() Principal { return c.service }

// Expires is the end of the ticket. It may have just passed: tickets are
// accepted until the allowed clock skew after it.
func (c *AcceptorContext) Expires() time.Time { return c.expires }

// SessionEnctype is the type of the key that makes the MICs, 0 before
// the context is established.
func (c *AcceptorContext) SessionEnctype() Enctype {
	if c.session == nil {
		return 0
	}
	return c.session.encryption.id
}

// GetMIC makes a MIC over message (RFC 4121, section 4.2.6.1). Each call takes
// the next sequence number. The error is ErrNotEstablished.
func (c *AcceptorContext) GetMIC(message []byte) ([]byte, error) {
	if c.session == nil {
		return nil, ErrNotEstablished
	}
	return c.session.getMIC(message)
}

// VerifyMIC checks the client's MIC over message. MICs may come out of order,
// within limits, but none twice: that is ErrReplay. From the end of
// the ticket plus the clock skew on, it returns ErrExpired. GetMIC still works
// then, to sign replies to requests that came in time. Other errors are
// ErrMalformed, ErrIntegrity and ErrNotEstablished.
func (c *AcceptorContext) VerifyMIC(message, mic []byte) error {
	_, err := c.VerifyRequest(message, mic)
	return err
}

// VerifyRequest is VerifyMIC, and returns the number of the message for AnswerMIC.
// No other message of the client has it in this context, at any server that the
// context is shared with. It is the MIC's sequence number or, with RC4, whose
// sequence numbers are not protected, the MIC's checksum.
func (c *AcceptorContext) VerifyRequest(message, mic []byte) (number uint64, err error) {
	if c.session == nil {
		return 0, ErrNotEstablished
	}
	if c.acceptor.now().Sub(c.expires) > c.acceptor.skew {
		return 0, ErrExpired
	}
	return c.session.verifyNumbered(message, mic)
}

// AnswerMIC makes a MIC over the first message of the answer to the request with
// that number, in a context that other servers may have too; see
// [AcceptorContext.Share]. Its sequence number is that of the request, counted from
// the first numbers of both sides, plus one. So servers need not tell each other
// which numbers they have used, and the client gets them in the order of its
// requests. After Count, and with RC4, it is GetMIC.
func (c *AcceptorContext) AnswerMIC(message []byte, request uint64) ([]byte, error) {
	if c.session == nil {
		return nil, ErrNotEstablished
	}
	return c.session.answerMIC(message, request)
}

// Count has AnswerMIC take the next sequence number each time from now on. An
// answer of several messages needs numbers that no request stands for: then the
// context must not be shared any more.
func (c *AcceptorContext) Count() {
	if c.session != nil {
		c.session.count()
	}
}

// Authenticator returns a digest of the authenticator that the context was made
// with, and of nothing else. It is the same at every server that the context is
// shared with, and where an authenticator is accepted twice.
func (c *AcceptorContext) Authenticator() []byte { return bytes.Clone(c.authenticator.digest[:]) }

// Wipe overwrites the keys. What needs them fails from then on; Peer and the
// like go on answering.
func (c *AcceptorContext) Wipe() {
	if c.session != nil {
		c.session.wipe()
	}
}
