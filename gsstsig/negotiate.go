package gsstsig

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/internal/tsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/spnego"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/internal/ratelimit"
)

// Bounds on the work that an unauthenticated client can cause. Active Directory
// limits tickets to 48,000 octets (MaxTokenSize). SPNEGO takes three rounds (RFC
// 3645 section 4.1.3 allows up to 10).
const (
	maxToken  = 48 << 10
	maxRounds = 5
)

// negotiation is one query on its way through Negotiate.
type negotiation struct {
	server   *Server
	now      time.Time
	signer   *Transaction
	reserved nameSet   // names that no context gets
	beside   []*Server // those on the address, this one among them
	waiting  func()    // is called before other servers are waited for
	query    *tkeyQuery
	answer   *dns.TKEY // in the response, once there is one
	response *dns.Msg
	sign     *Transaction
	event    Event
}

// begin makes the response that the rest fills in.
func (n *negotiation) begin(request *dns.Msg) {
	n.response = new(dns.Msg)
	n.response.Compress = true
	if request == nil {
		n.response.Response = true
		return
	}
	n.response.SetReply(request)
	if request.IsEdns0() != nil {
		n.response.SetEdns0(dns.DefaultMsgSize, false)
	}
}

// answer is Negotiate once the server is chosen, with what there is to know of
// the query in n.
func (s *Server) answer(request *dns.Msg, n *negotiation) (response *dns.Msg, sign *Transaction) {
	n.server, n.now, n.sign = s, s.now(), n.signer
	n.begin(request)
	func() {
		// Tokens are parsed and decrypted in here. A fault must cost this query
		// and nothing else.
		defer func() {
			if r := recover(); r != nil {
				n.sign = n.signer
				n.event.Reason = "internal error: " + faultText(r)
				n.fail(dns.RcodeBadKey, ResultBadKey)
			}
		}()
		n.handle(request)
	}()
	s.observe(n.event)
	return n.response, n.sign
}

func (n *negotiation) handle(request *dns.Msg) {
	query, err := readTKEY(request)
	if err != nil {
		n.response.Rcode = dns.RcodeFormatError
		n.event.Result, n.event.Reason = ResultFormErr, err.Error()
		return
	}
	n.query = query
	n.event.KeyName = dnswire.NameText([]byte(query.name))
	algorithm, known := tsig.NameFromText(query.record.Algorithm)
	n.event.Algorithm = query.record.Algorithm
	// The owner's spelling is given back as it came: some compare octets.
	n.answer = &dns.TKEY{
		Hdr:       dns.RR_Header{Name: query.record.Hdr.Name, Rrtype: dns.TypeTKEY, Class: query.record.Hdr.Class},
		Algorithm: query.record.Algorithm,
		Mode:      query.record.Mode,
	}
	n.response.Answer = []dns.RR{n.answer}

	switch query.record.Mode {
	case modeGSS:
		if !known || (algorithm != wireGSS && algorithm != wireGSSMicrosoft) {
			n.refuse(dns.RcodeBadAlg, ResultBadAlg, "the algorithm is neither gss-tsig nor gss.microsoft.com", "")
			return
		}
		n.event.Algorithm = dnswire.NameText([]byte(algorithm))
		n.negotiate(algorithm)
	case modeDelete:
		n.remove(algorithm)
	default:
		n.refuse(dns.RcodeBadMode, ResultBadMode, fmt.Sprintf("TKEY mode %d is not offered here", query.record.Mode), "")
	}
}

// negotiate is RFC 3645 section 4.1.
func (n *negotiation) negotiate(algorithm string) {
	s, name := n.server, n.query.name
	token, ok := n.query.token()
	if !ok {
		n.refuse(dns.RcodeBadKey, ResultBadKey, fmt.Sprintf("no token, or one of more than %d octets", maxToken), "")
		return
	}
	if name == "\x00" {
		var err error
		if name, err = s.chooseName(); err != nil {
			n.refuse(dns.RcodeBadName, ResultBadName, err.Error(), "")
			return
		}
		n.event.KeyName = dnswire.NameText([]byte(name))
		n.answer.Hdr.Name = n.event.KeyName
	}
	if n.reserved.has([]byte(name)) {
		n.refuse(dns.RcodeBadName, ResultBadName, "a static key has this key name", "the client should invent a new name for each negotiation")
		return
	}
	if s.contexts.taken(name) {
		n.nameTaken()
		return
	}

	h := n.takeHalfOpen(name)
	if h != nil && (spnego.IsToken(token) || spnego.IsKerberosToken(token)) {
		// A first token again: the client has started over.
		h.drop()
		h = nil
	}
	if h == nil {
		h = &halfOpen{name: name, algorithm: algorithm}
	} else if h.algorithm != algorithm {
		h.drop()
		n.refuse(dns.RcodeBadAlg, ResultBadAlg, "the algorithm changed during the negotiation", "")
		return
	}
	h.server, h.source = s, ratelimit.Of(n.event.Client.Addr())
	done := false
	defer func() {
		if !done {
			h.drop()
		}
	}()

	reply, established, err := n.accept(h, token)
	if h.kerberos != nil && h.kerberos.Established() {
		n.event.Peer = h.kerberos.Peer().String()
		n.event.Service = h.kerberos.Service().String()
		n.event.Enctype = h.kerberos.SessionEnctype()
	}
	switch {
	case err != nil:
		n.event.explain(err)
		n.fail(dns.RcodeBadKey, ResultBadKey)
		n.tellWhy(reply, token)
	case established:
		done = n.establish(h, token, reply)
	default:
		h.rounds++
		if h.rounds >= maxRounds {
			n.refuse(dns.RcodeBadKey, ResultBadKey, fmt.Sprintf("the negotiation did not end within %d rounds", maxRounds), "")
			return
		}
		s.contexts.keepHalfOpen(h)
		done = true
		n.respond(reply, n.now, h.deadline)
		n.event.Result, n.event.Expires = ResultContinued, h.deadline
	}
}

// takeHalfOpen returns the negotiation of that name that is under way, nil if
// there is none. One that began with another server of the address comes over
// if no mechanism has begun there, and ends otherwise: what that server's key
// has proven is nothing to this one.
func (n *negotiation) takeHalfOpen(name string) *halfOpen {
	h := n.server.contexts.takeHalfOpen(name)
	for _, other := range n.beside {
		if other == n.server {
			continue
		}
		moved := other.contexts.takeHalfOpen(name)
		switch {
		case moved == nil:
		case h == nil && moved.kerberos == nil:
			h = moved
		default:
			moved.drop()
		}
	}
	return h
}

// accept gives the token to SPNEGO or, when it is bare, to Kerberos.
func (n *negotiation) accept(h *halfOpen, token []byte) (reply []byte, established bool, err error) {
	if h.spnego == nil && spnego.IsKerberosToken(token) {
		n.event.Raw = true
		h.kerberos = h.server.acceptor.NewContext()
		reply, err = h.kerberos.Accept(token)
		return reply, h.kerberos.Established(), err
	}
	if h.spnego == nil {
		h.spnego = spnego.NewAcceptor(func() spnego.Mechanism {
			h.kerberos = h.server.acceptor.NewContext()
			return h.kerberos
		})
	}
	reply, err = h.spnego.Accept(token)
	return reply, h.spnego.Established(), err
}

// establish files the finished context and prepares the answer that it signs.
func (n *negotiation) establish(h *halfOpen, token, reply []byte) bool {
	s := n.server
	expires := n.now.Add(s.lifetime)
	if end := h.kerberos.Expires(); end.Before(expires) {
		expires = end
	}
	// TKEY counts in whole seconds, and says nothing that is not true.
	expires = expires.Truncate(time.Second)
	if !n.now.Before(expires) {
		n.refuse(dns.RcodeBadKey, ResultBadKey, "the ticket has expired", "check the clocks of client, server and KDC")
		return false
	}
	c := &securityContext{
		name:      h.name,
		algorithm: h.algorithm,
		identity:  Identity{Principal: h.kerberos.Peer(), KeyName: n.event.KeyName},
		mechanism: h.kerberos,
		expires:   expires,
		until:     n.now.Sub(started) + expires.Sub(n.now),
		client:    n.event.Client,
		created:   n.now,
	}
	c.mark = c.markOf()
	if !n.file(c) {
		n.nameTaken()
		return false
	}
	if reply == nil {
		// RFC 3645 section 4.1.3: with nothing to say, the server returns what
		// it was sent.
		reply = bytes.Clone(token)
	}
	n.respond(reply, n.now, expires)
	if n.signer == nil {
		n.sign = newTransaction(s, c, &c.identity, c.name, c.algorithm, nil)
		n.sign.now, n.sign.completes = s.now, true
	}
	n.event.Result, n.event.Expires = ResultEstablished, expires
	return true
}

// file files a context that is complete, here and, where the table is shared, for the
// other servers. It reports false if the name is taken. Where the shared table is out of
// reach the context is good here alone.
func (n *negotiation) file(c *securityContext) bool {
	table := n.server.contexts
	shared := table.shared.Load()
	if shared != nil {
		c.id = contextID([]byte(c.name))
		n.event.NotShared = c.share(shared, n.now.Sub(started))
	}
	if !table.insert(c) {
		return false
	}
	if c.record == nil {
		return true
	}
	n.waiting()
	added, err := shared.add(c)
	if !added {
		table.delete(c)
		return false
	}
	n.event.Shared, n.event.NotShared = err == nil, err
	return true
}

// remove is RFC 2930 section 4.2. The owner of a key is its principal, so that
// a client may clean up after itself with any of its keys.
func (n *negotiation) remove(algorithm string) {
	s, signer := n.server, n.signer
	switch {
	case signer == nil:
		n.response.Rcode = dns.RcodeNotAuth
		n.refuse(dns.RcodeBadKey, ResultBadKey, "deletion of a key in an unsigned query", "")
		return
	case signer.identity.Static:
		n.response.Rcode = dns.RcodeNotAuth
		n.refuse(dns.RcodeBadKey, ResultBadKey, "deletion of a key by the holder of a static key", "")
		return
	}
	n.event.Peer = signer.identity.Principal.String()
	c, _ := s.find([]byte(n.query.name)) // counts as use, so only after the checks above
	if c == nil {
		if signer.name != n.query.name {
			n.refuse(dns.RcodeBadName, ResultBadName, "deletion of a key that does not exist", "")
			return
		}
		// The key signed this very query and was deleted since by another
		// request. The result is what was asked for.
		n.event.Result = ResultDeleted
		return
	}
	if !c.identity.Principal.Equal(signer.identity.Principal) {
		n.response.Rcode = dns.RcodeNotAuth
		n.refuse(dns.RcodeBadKey, ResultBadKey, "deletion of another principal's key", "")
		return
	}
	if c.algorithm != algorithm {
		n.refuse(dns.RcodeBadName, ResultBadName, "deletion of a key under another algorithm", "")
		return
	}
	s.contexts.delete(c) // concurrent deletions all succeed
	if err := n.removeShared(c); err != nil {
		n.response.Rcode = dns.RcodeServerFailure
		n.refuse(dns.RcodeBadKey, ResultServFail, "the key is deleted here, but other servers could not be told yet: "+err.Error(), "check the connection to the shared table")
		return
	}
	n.event.Result = ResultDeleted
}

// removeShared takes a context out of the table that it is shared in.
func (n *negotiation) removeShared(c *securityContext) error {
	shared := n.server.contexts.shared.Load()
	if shared == nil || c.record == nil || c.kept.Load() {
		return nil
	}
	n.waiting()
	return shared.remove(c)
}

func (s *Server) chooseName() (string, error) {
	var random [16]byte
	rand.Read(random[:]) // never fails, as its documentation promises
	name, ok := tsig.NameFromText(hex.EncodeToString(random[:]) + "." + s.suffix)
	if !ok {
		return "", errors.New("cannot make a key name below the server name")
	}
	return name, nil
}

func (n *negotiation) nameTaken() {
	n.refuse(dns.RcodeBadName, ResultBadName, "a live context has this key name", "the client should invent a new name for each negotiation")
}

func (n *negotiation) refuse(tkeyError uint16, result Result, reason, fix string) {
	n.event.Reason, n.event.Fix = reason, fix
	n.fail(tkeyError, result)
}

// fail sets the TKEY error. The rcode stays NOERROR, as RFC 3645 section 4.1.3
// says and BIND does: the query was understood.
func (n *negotiation) fail(tkeyError uint16, result Result) {
	n.event.Result = result
	if n.answer == nil {
		n.response.Rcode = dns.RcodeServerFailure
		return
	}
	n.answer.Error = tkeyError
	n.answer.Key, n.answer.KeySize = "", 0
	n.answer.Inception, n.answer.Expiration = 0, 0
}

// tellWhy adds the mechanism's own error token to a refusal: Kerberos'
// KRB-ERROR (RFC 4121 section 4.1), in SPNEGO a NegTokenResp around it. GSS-API
// means the client's library to have it (RFC 2743 section 2.2.2). One that has
// a wrong clock learns the server's from it; Heimdal's then tries again by that
// one. Clients that look no further than the TKEY error ignore it. It is never
// larger than what the client sent.
func (n *negotiation) tellWhy(reply, token []byte) {
	if len(reply) > len(token) {
		return
	}
	n.answer.Key = hex.EncodeToString(reply)
	n.answer.KeySize = uint16(len(reply))
}

func (n *negotiation) respond(token []byte, inception, expiration time.Time) {
	n.answer.Key = hex.EncodeToString(token)
	n.answer.KeySize = uint16(len(token))
	n.answer.Inception = uint32(inception.Unix())
	n.answer.Expiration = uint32(expiration.Unix())
}
