package krb5

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unique"

	"golang.org/x/crypto/cryptobyte"
)

// DefaultClockSkew is the difference of clocks that is let pass where none is
// configured, the customary five minutes.
const DefaultClockSkew = 5 * time.Minute

// AcceptorConfig says whom an Acceptor lets in, and how.
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

	// Realms are the client realms let in, compared exactly. If empty: those of
	// Keytabs, as they are at the time of the handshake.
	Realms []string

	// Transit says through which realms clients may come; nil means those of
	// the hierarchy.
	Transit *TransitPolicy

	// RequirePAC are the client realms whose tickets must carry a PAC with logon
	// information, compared exactly: those of Active Directory, where a client can
	// ask for a ticket without one.
	RequirePAC []string

	// Enctypes are those let in for tickets, session keys and subkeys.
	// If empty: 17, 18, 19 and 20, the AES types. DES is not supported and
	// never will be.
	Enctypes []Enctype

	// AllowRC4 lets RC4 (23) in as well, for domains that know nothing better.
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

// PermittedEnctypes lists the encryption types that are let in, by
// Enctypes and AllowRC4.
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
// that this acceptor has a key of and may speak for. It decrypts nothing: the
// answer says whose token it is, not whether it is good.
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

// WouldAccept reports whether the acceptor would let in the client of a context
// that another one has established, one of another block or of before the
// configuration changed: by its realm and the way from there, by its PAC, by the
// service and whether there is a key of it, and by the encryption types. Times are
// not looked at.
func (a *Acceptor) WouldAccept(c *AcceptorContext) bool {
	if c.acceptor == a {
		return true
	}
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

// acceptsRealm reports whether clients of the realm are let in.
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
	c.way = h.ticket.way()
	// The ticket is wiped. What is longer than any list may be, as a KDC that is
	// trusted lets pass, stays too long without its end.
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

// Expires is the end of the ticket. As tickets are let in until clocks that
// differ by the allowed skew agree that they are over, it may have just
// passed.
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
// within limits, but none twice: that is ErrReplay. Once the ticket and the
// clock skew beyond its end are over there is ErrExpired, though GetMIC goes on:
// replies to what came in time are still to be signed. Other errors are
// ErrMalformed, ErrIntegrity and ErrNotEstablished.
func (c *AcceptorContext) VerifyMIC(message, mic []byte) error {
	if c.session == nil {
		return ErrNotEstablished
	}
	if c.acceptor.now().Sub(c.expires) > c.acceptor.skew {
		return ErrExpired
	}
	return c.session.verifyMIC(message, mic)
}

// Wipe overwrites the keys. What needs them fails from then on; Peer and the
// like go on answering.
func (c *AcceptorContext) Wipe() {
	if c.session != nil {
		c.session.wipe()
	}
}

// handshake is the work on one AP-REQ.
type handshake struct {
	acceptor *Acceptor
	now      time.Time
	req      apReq

	service       Principal
	key           *serviceKey // that decrypted the ticket
	readable      bool        // what it decrypted to is one
	groups        []unique.Handle[string]
	account       Account
	hasPAC        bool
	plain         [][]byte // decrypted, to be wiped
	ticket        encTicketPart
	authenticator authenticator
	flags         uint32
	session       key
	subkey        key
}

func (h *handshake) wipe() {
	for _, b := range h.plain {
		clear(b)
	}
	h.session.wipe()
	h.subkey.wipe()
}

// verify does what RFC 4120, section 3.2.3 demands of a server, and RFC 4121,
// section 4.1.1 of an acceptor.
func (h *handshake) verify() *Error {
	if h.req.options.has(optionUseSessionKey) {
		return &Error{Code: codeNoKey, Reason: "the client asks for user-to-user authentication, which a service with a keytab does not do", err: ErrNotAccepted}
	}
	for _, step := range []func() *Error{
		h.openTicket, h.openAuthenticator, h.checkTimes, h.checkClient, h.checkTransit, h.checkGSS, h.checkPAC, h.checkReplay,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// openTicket finds the key and decrypts the ticket.
func (h *handshake) openTicket() *Error {
	service, enc := h.req.ticket.service, h.req.ticket.enc
	if !h.acceptor.serves(service) {
		return &Error{
			Code:   codeNotUs,
			Reason: "the ticket is for " + service.shown() + ", which this server does not answer for",
			Fix:    "have clients ask for one of the server's DNS/ principals, or allow this one",
			err:    ErrNotAccepted,
		}
	}
	if !slices.Contains(h.acceptor.enctypes, enc.enctype) {
		return &Error{
			Code:   codeEtypeNoSupport,
			Reason: "the ticket for " + service.shown() + " is encrypted in " + enc.enctype.String() + ", which is not let in",
			Fix:    orPermit("give the service principal AES keys and export it again", enc.enctype),
			err:    ErrEnctype,
		}
	}
	set := h.acceptor.keytabs.set.Load()
	keys, try := h.tryKeys(set)
	if h.key == nil && h.acceptor.keytabs.refresh(set) {
		keys, try = h.tryKeys(h.acceptor.keytabs.set.Load())
	}
	switch {
	case h.key == nil:
		return h.noKey(keys, try)
	case !h.readable:
		return &Error{Code: codeModified, Reason: "the decrypted ticket is malformed", err: ErrMalformed}
	}
	return h.takeSessionKey()
}

// tryKeys decrypts the ticket with a key of the set, if one fits. It returns
// the service's keys, and those of them that were tried.
func (h *handshake) tryKeys(set *keySet) (keys, tried []*serviceKey) {
	enc := h.req.ticket.enc
	keys = set.services[h.req.ticket.service.folded()]
	tried = candidates(keys, enc.enctype, enc.version, h.now)
	for _, k := range tried {
		if plain, err := k.ticket.decrypt(enc.cipher); err == nil {
			h.plain = append(h.plain, plain)
			h.ticket, h.readable = parseEncTicketPart(plain)
			h.key, h.service = k, k.principal
			break
		}
	}
	return keys, tried
}

func (h *handshake) takeSessionKey() *Error {
	if !slices.Contains(h.acceptor.enctypes, h.ticket.keyType) {
		return &Error{
			Code:   codeEtypeNoSupport,
			Reason: "the session key is of type " + h.ticket.keyType.String() + ", which is not let in",
			Fix:    orPermit("let KDC and client use AES for session keys", h.ticket.keyType),
			err:    ErrEnctype,
		}
	}
	k, err := newKey(h.ticket.keyType, h.ticket.keyValue)
	if err != nil {
		return &Error{Code: codeModified, Reason: "the session key does not fit its type", err: ErrMalformed}
	}
	h.session = k
	return nil
}

// orPermit is the advice about an encryption type that is not let in. One that
// is as good as any was left out on purpose or by mistake.
func orPermit(advice string, id Enctype) string {
	switch {
	case id == RC4HMAC:
		return advice + ", or allow RC4 if the domain has nothing better"
	case slices.Contains(defaultEnctypes, id):
		return "let " + id.String() + " in again, or have the KDC use a type that is let in"
	}
	return advice
}

// noKey puts into words why no key decrypted the ticket.
func (h *handshake) noKey(keys, tried []*serviceKey) *Error {
	service, enc := h.req.ticket.service.shown(), h.req.ticket.enc
	name := enc.enctype.String()
	keys = slices.DeleteFunc(slices.Clone(keys), func(k *serviceKey) bool { return !k.usable(h.now) })
	if len(keys) == 0 {
		return &Error{
			Code:       codeNoKey,
			Reason:     "no key for " + service + " is held",
			Fix:        "add the principal to the keytab",
			TicketKVNO: enc.version,
			err:        ErrNoKey,
		}
	}
	e := &Error{TicketKVNO: enc.version}
	if len(tried) == 0 {
		var held []string
		for _, k := range keys {
			held = append(held, k.ticket.encryption.id.String())
		}
		slices.Sort(held)
		e.Code, e.err = codeNoKey, ErrNoKey
		e.Reason = fmt.Sprintf("the ticket for %s is encrypted in %s; keys held are %s", service, name, strings.Join(slices.Compact(held), ", "))
		e.Fix = "the keytab lacks the " + name + " key of " + service + ": export it again"
		return e
	}
	for _, k := range tried {
		e.KeytabKVNOs = append(e.KeytabKVNOs, k.version)
	}
	slices.Sort(e.KeytabKVNOs)
	e.KeytabKVNOs = slices.Compact(e.KeytabKVNOs)
	held := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(e.KeytabKVNOs)), ", "), "[]")
	switch {
	case enc.version == 0 || slices.Contains(e.KeytabKVNOs, enc.version):
		e.Code, e.err = codeModified, ErrIntegrity
		e.Reason = fmt.Sprintf("the ticket for %s (%s, key version %d) does not decrypt with the keys held (versions %s)", service, name, enc.version, held)
		e.Fix = "the key of " + service + " was changed without its version, or comes from another KDC: export it again"
	default:
		e.Code, e.err = codeBadKeyVersion, ErrNoKey
		e.Reason = fmt.Sprintf("the ticket for %s is encrypted in %s, key version %d; versions held are %s", service, name, enc.version, held)
		if enc.version > e.KeytabKVNOs[len(e.KeytabKVNOs)-1] {
			e.Fix = fmt.Sprintf("the keytab lacks version %d of %s: export it again", enc.version, service)
		} else {
			e.Fix = "the client's ticket is older than the keys held: it should get a new one (kdestroy, kinit)"
		}
	}
	return e
}

// openAuthenticator decrypts the authenticator and compares its client with
// the ticket's.
func (h *handshake) openAuthenticator() *Error {
	if h.req.authenticator.enctype != h.session.encryption.id {
		return &Error{Code: codeBadIntegrity, Reason: "the authenticator is not encrypted in the session key's type", err: ErrIntegrity}
	}
	keys := h.session.cipherKeys(usageAuthenticator)
	defer keys.wipe()
	plain, err := keys.decrypt(h.req.authenticator.cipher)
	if err != nil {
		return &Error{Code: codeBadIntegrity, Reason: "the authenticator does not decrypt with the ticket's session key", err: ErrIntegrity}
	}
	h.plain = append(h.plain, plain)
	a, ok := parseAuthenticator(plain)
	if !ok {
		return &Error{Code: codeModified, Reason: "the decrypted authenticator is malformed", err: ErrMalformed}
	}
	if !a.client.Equal(h.ticket.client) {
		return &Error{
			Code:   codeBadMatch,
			Reason: "the authenticator is in the name of " + a.client.shown() + ", the ticket in that of " + h.ticket.client.shown(),
			err:    ErrMismatch,
		}
	}
	h.authenticator = a
	return nil
}

// checkTimes compares the client's clock and the ticket's life with ours.
func (h *handshake) checkTimes() *Error {
	ahead := h.authenticator.at().Sub(h.now) // saturates, so it must not be negated unchecked
	if ahead > h.acceptor.skew || ahead < -h.acceptor.skew {
		where := "ahead of"
		if ahead < 0 {
			where = "behind"
		}
		return &Error{
			Code:   codeSkew,
			Reason: fmt.Sprintf("the clock of %s is %s %s this server's, more than the %s allowed", h.ticket.client.shown(), ahead.Abs().Round(time.Second), where, h.acceptor.skew),
			Fix:    "synchronise both clocks with the KDC's (NTP)",
			err:    ErrSkew,
		}
	}
	if h.ticket.flags.has(ticketInvalid) {
		return &Error{Code: codeTicketNotYet, Reason: "the ticket of " + h.ticket.client.shown() + " is postdated and was never validated", Fix: "validate it (kinit -v)", err: ErrNotYetValid}
	}
	if h.ticket.start.Sub(h.now) > h.acceptor.skew {
		return &Error{
			Code:   codeTicketNotYet,
			Reason: "the ticket of " + h.ticket.client.shown() + " is valid only from " + h.ticket.start.UTC().Format(time.RFC3339),
			Fix:    "synchronise this server's clock with the KDC's (NTP)",
			err:    ErrNotYetValid,
		}
	}
	if h.now.Sub(h.ticket.end) > h.acceptor.skew {
		return &Error{
			Code:   codeTicketExpired,
			Reason: "the ticket of " + h.ticket.client.shown() + " ended at " + h.ticket.end.UTC().Format(time.RFC3339),
			Fix:    "the client needs a new one (kinit)",
			err:    ErrExpired,
		}
	}
	return nil
}

// checkClient decides whether a client of this name and realm is let in at
// all; what it may do then is for others to say.
func (h *handshake) checkClient() *Error {
	client := h.ticket.client
	if client.isAnonymous() {
		return &Error{Code: codePolicy, Reason: "the ticket is anonymous", err: ErrNotAccepted}
	}
	if !h.acceptor.acceptsRealm(client.Realm) {
		return &Error{
			Code:   codePolicy,
			Reason: "clients of the realm " + shown(client.Realm) + " are not let in: " + client.shown(),
			Fix:    "list the realm if its clients may come",
			err:    ErrForeignRealm,
		}
	}
	return nil
}

// checkGSS reads the GSS flags and the initiator's subkey.
func (h *handshake) checkGSS() *Error {
	if h.authenticator.checksum == nil || h.authenticator.checksumType != checksumGSS {
		return &Error{Code: codeBadChecksum, Reason: "the authenticator has no GSS checksum field", err: ErrMalformed}
	}
	c, err := parseGSSChecksum(h.authenticator.checksum)
	if err != nil {
		return &Error{Code: codeBadChecksum, Reason: "the authenticator is malformed: " + err.Error(), err: ErrMalformed}
	}
	if c.flags&flagIntegrity == 0 {
		return &Error{Code: codeGeneric, Reason: "the client did not ask for integrity, without which there is no TSIG", err: ErrNoIntegrity}
	}
	if c.flags&flagDCEStyle != 0 {
		return &Error{Code: codeGeneric, Reason: "the client asks for a DCE-style handshake", err: ErrNoIntegrity}
	}
	h.flags = c.flags
	if h.authenticator.subkey == nil {
		return nil
	}
	if !slices.Contains(h.acceptor.enctypes, h.authenticator.subkeyType) {
		return &Error{Code: codeEtypeNoSupport, Reason: "the client's subkey is of type " + h.authenticator.subkeyType.String() + ", which is not let in", err: ErrEnctype}
	}
	if h.subkey, err = newKey(h.authenticator.subkeyType, h.authenticator.subkey); err != nil {
		return &Error{Code: codeModified, Reason: "the client's subkey does not fit its type", err: ErrMalformed}
	}
	return nil
}

// checkReplay comes last, so that only what would be accepted takes room.
//
// An authenticator from before the cache began may have been used before, which
// nobody remembers. It is refused if the context gets no key from this side: then
// the messages that were signed in the context of that time would be good in this
// one too. With a key of ours they are not.
func (h *handshake) checkReplay() *Error {
	at := h.authenticator.at()
	if !h.makesSubkey() && h.acceptor.replays.beganAfter(at) {
		return &Error{
			Code: codeRepeat,
			Reason: "the authenticator of " + h.ticket.client.shown() + " is from before this server's start, and the client does not ask for mutual " +
				"authentication: it may have been used already",
			Fix: "none if the client was just sending when the server restarted: it should try again; otherwise synchronise its clock (NTP), or have it ask for mutual authentication",
			err: ErrReplay,
		}
	}
	err := h.acceptor.replays.add(replayKeyOf(h.ticket.client, h.service, at, h.req.authenticator.cipher), at, h.now)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrReplayCacheFull):
		return &Error{Code: codeGeneric, Reason: "the replay cache has no room for another handshake of " + h.ticket.client.shown(), Fix: "find out what makes so many handshakes; room comes back within minutes", err: err}
	}
	return &Error{Code: codeRepeat, Reason: "the authenticator of " + h.ticket.client.shown() + " was used before", err: err}
}

// establish makes the AP-REP, if asked for, and the context's keys.
func (h *handshake) establish(mechanism []byte) (reply []byte, s *session, err error) {
	base := h.session
	if h.subkey.valid() {
		base = h.subkey
	}
	if h.flags&flagMutual == 0 {
		// Nothing tells the initiator a first number of ours, so it expects its
		// own, as MIT Kerberos does.
		return nil, h.newSession(mechanism, base, false, h.authenticator.sequence), nil
	}
	random := h.acceptor.random
	subkey, err := h.acceptorSubkey(base)
	if err != nil {
		return nil, nil, err
	}
	defer subkey.wipe()
	var own [4]byte
	if _, err := io.ReadFull(random, own[:]); err != nil {
		return nil, nil, err
	}
	part := encAPRepPart{
		time:         h.authenticator.time,
		microseconds: h.authenticator.microseconds,
		// Below 2^30: old peers read the number as signed, and later ones
		// should not wrap.
		sequence: binary.BigEndian.Uint32(own[:]) >> 2,
	}
	if subkey.valid() {
		base, part.subkeyType, part.subkey = subkey, subkey.encryption.id, subkey.value
	}
	plain, err := part.marshal()
	if err != nil {
		return nil, nil, err
	}
	defer clear(plain)
	keys := h.session.cipherKeys(usageAPRep)
	defer keys.wipe()
	cipher, err := keys.encrypt(random, plain)
	if err != nil {
		return nil, nil, err
	}
	reply, err = frame(mechanism, tokenAPRep, func(b *cryptobyte.Builder) {
		appendAPRep(b, encryptedData{enctype: h.session.encryption.id, cipher: cipher})
	})
	if err != nil {
		return nil, nil, err
	}
	return reply, h.newSession(mechanism, base, subkey.valid(), part.sequence), nil
}

func (h *handshake) newSession(mechanism []byte, k key, acceptorSubkey bool, own uint32) *session {
	s := newSession(k, true, acceptorSubkey, own, h.authenticator.sequence)
	s.mechanism = mechanism
	return s
}

// makesSubkey reports whether establish makes a key of this side.
func (h *handshake) makesSubkey() bool {
	if h.flags&flagMutual == 0 {
		return false
	}
	base := h.session
	if h.subkey.valid() {
		base = h.subkey
	}
	return h.subkeyEncryption(base) != nil
}

// acceptorSubkey is a fresh key of the best type that both sides know: the
// first of those the client offers that is let in (RFC 4537), else the type of
// the key that there is. So MICs are made with AES where the ticket is not.
// There is no subkey of type RC4: in contexts of that type it would not be
// used (RFC 4121, section 2, is for newer types).
func (h *handshake) acceptorSubkey(base key) (key, error) {
	if e := h.subkeyEncryption(base); e != nil {
		return randomKey(h.acceptor.random, e)
	}
	return key{}, nil
}

// subkeyEncryption is what acceptorSubkey makes a key for, or nil.
func (h *handshake) subkeyEncryption(base key) *encryption {
	for _, id := range h.authenticator.encryptions {
		if id != RC4HMAC && slices.Contains(h.acceptor.enctypes, id) {
			return encryptions[id]
		}
	}
	if base.encryption.rc4 {
		return nil
	}
	return base.encryption
}

// refusal is the KRB-ERROR for a failure. It tells our time, from which a
// client with a wrong clock can learn, and no words: those are for our log.
func (h *handshake) refusal(mechanism []byte, code int32) []byte {
	now := h.now.UTC()
	e := krbError{
		clientTime:         h.authenticator.time,
		clientMicroseconds: h.authenticator.microseconds,
		time:               now.Truncate(time.Second),
		microseconds:       now.Nanosecond() / 1000,
		code:               code,
		service:            h.req.ticket.service,
	}
	reply, err := frame(mechanism, tokenKRBError, func(b *cryptobyte.Builder) { appendKRBError(b, e) })
	if err != nil {
		return nil
	}
	return reply
}
