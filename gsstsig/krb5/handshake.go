package krb5

import (
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
	seen          authenticatorID // of the authenticator
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
			Reason: "the ticket for " + service.shown() + " is encrypted in " + enc.enctype.String() + ", which is not permitted",
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
			Reason: "the session key is of type " + h.ticket.keyType.String() + ", which is not permitted",
			Fix:    orPermit("have KDC and client use AES for session keys", h.ticket.keyType),
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

// orPermit is the fix for an encryption type that is not permitted. A strong one
// was left out on purpose or by mistake.
func orPermit(advice string, id Enctype) string {
	switch {
	case id == RC4HMAC:
		return advice + ", or allow RC4 if the domain has nothing better"
	case slices.Contains(defaultEnctypes, id):
		return "permit " + id.String() + " again, or have the KDC use a permitted type"
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
			Reason:     "the keytab has no key for " + service,
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
		e.Reason = fmt.Sprintf("the ticket for %s is encrypted in %s; types in the keytab: %s", service, name, strings.Join(slices.Compact(held), ", "))
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
		e.Reason = fmt.Sprintf("the ticket for %s (%s, key version %d) does not decrypt with the keys of the keytab (versions %s)", service, name, enc.version, held)
		e.Fix = "the key of " + service + " was changed without its version, or comes from another KDC: export it again"
	default:
		e.Code, e.err = codeBadKeyVersion, ErrNoKey
		e.Reason = fmt.Sprintf("the ticket for %s is encrypted in %s, key version %d; versions in the keytab: %s", service, name, enc.version, held)
		if enc.version > e.KeytabKVNOs[len(e.KeytabKVNOs)-1] {
			e.Fix = fmt.Sprintf("the keytab lacks version %d of %s: export it again", enc.version, service)
		} else {
			e.Fix = "the client's ticket is older than the keys in the keytab: it should get a new one (kdestroy, kinit)"
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

// checkClient decides whether a client of this name and realm is accepted.
// It does not decide what the client may do.
func (h *handshake) checkClient() *Error {
	client := h.ticket.client
	if client.isAnonymous() {
		return &Error{Code: codePolicy, Reason: "the ticket is anonymous", err: ErrNotAccepted}
	}
	if !h.acceptor.acceptsRealm(client.Realm) {
		return &Error{
			Code:   codePolicy,
			Reason: "clients of the realm " + shown(client.Realm) + " are not accepted: " + client.shown(),
			Fix:    "add the realm to those accepted, if its clients may update",
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
		return &Error{Code: codeEtypeNoSupport, Reason: "the client's subkey is of type " + h.authenticator.subkeyType.String() + ", which is not permitted", err: ErrEnctype}
	}
	if h.subkey, err = newKey(h.authenticator.subkeyType, h.authenticator.subkey); err != nil {
		return &Error{Code: codeModified, Reason: "the client's subkey does not fit its type", err: ErrMalformed}
	}
	return nil
}

// checkReplay comes last, so that only what would be accepted takes room.
//
// An authenticator from before the cache began may have been used before, which
// the cache cannot know. It is refused if the context gets no key from this
// side: then the messages that were signed in the context of that time would be
// good in this one too. With a key of ours they are not.
func (h *handshake) checkReplay() *Error {
	at := h.authenticator.at()
	if !h.makesSubkey() && h.acceptor.replays.beganAfter(at) {
		return &Error{
			Code: codeRepeat,
			Reason: "the authenticator of " + h.ticket.client.shown() + " is from before this server's start, and the client does not ask for mutual " +
				"authentication: it may have been used already",
			Fix: "try again if the server has just restarted; otherwise synchronise the client's clock (NTP), or have the client ask for mutual authentication",
			err: ErrReplay,
		}
	}
	key := replayKeyOf(h.ticket.client, h.service, at, h.req.authenticator.cipher)
	h.seen = authenticatorID{digest: key.digest, at: at}
	err := h.acceptor.replays.add(key, at, h.now)
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
// first of those the client offers that is permitted (RFC 4537), else the type of
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
	if code == codeSkew {
		e.data = skewRecovery
	}
	reply, err := frame(mechanism, tokenKRBError, func(b *cryptobyte.Builder) { appendKRBError(b, e) })
	if err != nil {
		return nil
	}
	return reply
}
