package gsstsig

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/internal/tsig"
)

// Authenticate checks the TSIG record of the message (RFC 8945 section 5.2).
// The error is ErrUnsigned if there is none, and otherwise a *VerifyError.
// Authenticate keeps no reference to the message and does not panic.
func (m *Message) Authenticate() (*Transaction, error) {
	var r tsig.Record
	m.octets.Record(&r)
	return m.authenticate(&r)
}

// authenticate is Authenticate with the record of the message, if it has one.
func (m *Message) authenticate(record *tsig.Record) (t *Transaction, err error) {
	// As in recovered: a fault costs one message.
	defer func() {
		if r := recover(); r != nil {
			t, err = nil, newVerifyError(Malformed, &m.octets, fmt.Errorf("internal error: %s", faultText(r)))
		}
	}()
	if m.err != nil {
		return nil, newVerifyError(Malformed, &m.octets, m.err)
	}
	if !m.octets.Signed() {
		return nil, ErrUnsigned
	}
	t, failure := m.authenticator.verify(&m.octets, record)
	if failure != nil {
		return nil, failure
	}
	return t, nil
}

// verify goes through the checks in RFC 8945's order: key, MAC, time,
// truncation. The order matters: a sender whose MAC was wrong learns nothing
// about time (CVE-2017-3142).
func (a *Authenticator) verify(m *tsig.Message, r *tsig.Record) (*Transaction, *VerifyError) {
	now := a.now()
	t, failure := a.checkMAC(m, r, now)
	if failure != nil {
		return nil, failure
	}
	t.now = a.now

	at, fudge := unixTime(now), uint64(r.Fudge)
	if fudge > maxSharedFudge && a.shares() {
		fudge = maxSharedFudge
	}
	if at > r.TimeSigned+fudge || r.TimeSigned > at+fudge {
		off := difference(r.TimeSigned, at)
		failure = refuse(BadTime, m, r, now, fmt.Errorf("time signed is %s off, %d s are allowed", off, fudge))
		failure.transaction = t
		return nil, failure
	}
	// RFC 8945 section 5.2.4 leaves to local policy how short a MAC may be. Here
	// none may be shortened: no client needs it.
	if _, static := t.key.(*hmacKey); static && len(r.MAC) < t.key.size() {
		failure = refuse(BadTrunc, m, r, now, fmt.Errorf("MAC has %d of %d octets", len(r.MAC), t.key.size()))
		failure.transaction = t
		return nil, failure
	}
	if failure := a.checkReplay(t, m, r, now); failure != nil {
		return nil, failure
	}
	return t, nil
}

// maxSharedFudge is the largest fudge, in seconds, of messages to servers that share
// contexts. They remember in common what was done for as long as a message may be sent
// again. Samba's clients allow an hour; a client whose clock is further off than five
// minutes gets no ticket.
const maxSharedFudge = tsig.DefaultFudge

// shares reports whether a server shares its contexts.
func (a *Authenticator) shares() bool { return slices.ContainsFunc(a.servers, (*Server).Shares) }

// checkReplay refuses an update that was signed with a static key and seen before.
// The MICs of contexts are counted, and were checked with the MAC.
func (a *Authenticator) checkReplay(t *Transaction, m *tsig.Message, r *tsig.Record, now time.Time) *VerifyError {
	header := m.Header()
	if _, static := t.key.(*hmacKey); !static || header[2]>>3&0xF != dns.OpcodeUpdate {
		return nil
	}
	switch err := a.replays.add(t.name, r.TimeSigned, uint64(r.Fudge), unixTime(now), r.MAC); err {
	case nil:
		return nil
	case errHMACTime:
		failure := refuse(BadTime, m, r, now, err)
		failure.transaction = t
		return failure
	default:
		return refuse(BadSig, m, r, now, err)
	}
}

// checkMAC finds the key and checks the MAC. A key is looked for among those of
// the algorithm that the message names, so that a context cannot take the place
// of a static key or the other way round.
func (a *Authenticator) checkMAC(m *tsig.Message, r *tsig.Record, now time.Time) (*Transaction, *VerifyError) {
	digest := tsig.Buffer()
	defer tsig.Release(digest)
	if isGSS(r.Algorithm.Bytes()) {
		return a.checkMIC(m, r, now, digest)
	}
	key, i := a.static[string(r.Name.Bytes())], hmacIndex(r.Algorithm.Bytes())
	switch {
	case key == nil:
		return nil, refuse(BadKey, m, r, now, errNoKey)
	case i < 0:
		return nil, refuse(BadKey, m, r, now, errHMAC)
	}
	mac := &key.macs[i]
	// RFC 8945 section 5.2.2.1.
	if len(r.MAC) > mac.length || len(r.MAC) < max(10, mac.length/2) {
		return nil, newVerifyError(Malformed, m, fmt.Errorf("MAC of %d octets, %d are due", len(r.MAC), mac.length))
	}
	*digest = m.AppendRequestDigest(*digest, r)
	if err := mac.verify(*digest, r.MAC); err != nil {
		return nil, refuse(BadSig, m, r, now, err)
	}
	t := newTransaction(nil, mac, &key.identity, key.name, hmacs[i].name, r.MAC)
	t.mark = markOfOne(key.name, r.MAC) // the MAC covers all of the message
	return t, nil
}

// checkMIC asks each server for a context of the name. Names are chosen by
// clients, so that two servers may know the same one; the MAC decides.
func (a *Authenticator) checkMIC(m *tsig.Message, r *tsig.Record, now time.Time, digest *[]byte) (*Transaction, *VerifyError) {
	if a.reserved.has(r.Name.Bytes()) {
		return nil, refuse(BadKey, m, r, now, errReserved)
	}
	cause, kind := errNoKey, BadKey
	for _, server := range a.servers {
		c, err := server.find(r.Name.Bytes())
		if err != nil && kind == BadKey {
			cause = fmt.Errorf("a server that shares its contexts has the key, but it is not good here: %w", err)
		}
		// The table may have contexts from before the configuration changed.
		if c == nil || !server.acceptor.WouldAccept(c.mechanism) {
			continue
		}
		if c.algorithm != string(r.Algorithm.Bytes()) {
			if kind == BadKey {
				cause = errAlgorithm
			}
			continue
		}
		if kind == BadKey {
			*digest = m.AppendRequestDigest(*digest, r)
		}
		c, number, err := server.verify(c, *digest, r.MAC)
		if err == nil {
			c.verified(now)
			t := newTransaction(server, c, &c.identity, c.name, c.algorithm, r.MAC)
			t.number, t.mark = number, c.markFor(number)
			return t, nil
		}
		cause, kind = err, BadSig
	}
	return nil, refuse(kind, m, r, now, cause)
}

// verify checks a MIC that was made in the context c. One that is not in the table gets
// there by the first MIC that is right: what others send displaces nothing. If another
// message came first, the context is the one that it brought there, since one alone may
// say what was seen before.
func (s *Server) verify(c *securityContext, message, mic []byte) (*securityContext, uint64, error) {
	number, err := c.mechanism.VerifyRequest(message, mic)
	if err != nil || !c.adopted || c.inTable.Load() {
		return c, number, err
	}
	there := s.contexts.insertOr(c)
	s.opened.remove(c)
	if there == c {
		return c, number, nil
	}
	if !s.acceptor.WouldAccept(there.mechanism) {
		return there, 0, errNoKey
	}
	number, err = there.mechanism.VerifyRequest(message, mic)
	return there, number, err
}

// Causes of BADKEY.
var (
	errNoKey     = errors.New("no such key; it may have expired or been deleted")
	errHMAC      = errors.New("the key is known, but not this algorithm; the server verifies hmac-sha1, -sha224, -sha256, -sha384 and -sha512")
	errAlgorithm = errors.New("the key was negotiated for another algorithm")
	errReserved  = errors.New("a static key has this name, so no negotiated key can")
)

// difference is how far the first time is ahead of the second, at most the 292 years
// that a Duration has.
func difference(a, b uint64) time.Duration {
	const most = int64(math.MaxInt64 / time.Second)
	return time.Duration(min(max(int64(a)-int64(b), -most), most)) * time.Second
}

// unixTime is t as TSIG counts it. Times before 1970 are 1970.
func unixTime(t time.Time) uint64 { return uint64(max(0, t.Unix())) }
