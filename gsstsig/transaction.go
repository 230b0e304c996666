package gsstsig

import (
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/internal/tsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// Transaction is one request that was verified, or one negotiation that was
// completed, and what it takes to sign the answer. It is not safe for
// concurrent use.
type Transaction struct {
	server    *Server
	key       macKey
	identity  *Identity
	name      string // of the key, on the wire
	algorithm string // on the wire
	now       func() time.Time
	octets    tsig.ServerTransaction
	mark      Mark
	number    uint64 // of the request's MIC
	completes bool   // a negotiation, so that there is no such number
	begun     bool   // the first message of the answer was signed
}

func newTransaction(server *Server, key macKey, identity *Identity, name, algorithm string, requestMAC []byte) *Transaction {
	t := &Transaction{server: server, key: key, identity: identity, name: name, algorithm: algorithm}
	t.octets.Begin(requestMAC)
	return t
}

// restart returns a transaction of the same request that has signed nothing.
// t has signed nothing either; it is kept so that an answer can be made again.
func (t *Transaction) restart() *Transaction {
	again := newTransaction(t.server, t.key, t.identity, t.name, t.algorithm, t.octets.Prior())
	again.number, again.completes = t.number, t.completes
	return again
}

// Identity returns who signed the request.
func (t *Transaction) Identity() Identity { return *t.identity }

// Groups returns the SIDs of the signer's groups, from the PAC of its ticket; see
// krb5.AcceptorContext.Groups. A static key has none.
func (t *Transaction) Groups() []string {
	if c, ok := t.key.(*securityContext); ok {
		return c.mechanism.Groups()
	}
	return nil
}

// Account returns the signer's account in its domain, and whether its ticket
// had a PAC that tells account and groups; see krb5.AcceptorContext.Account and
// HasPAC. Both are zero for a static key.
func (t *Transaction) Account() (account krb5.Account, hasPAC bool) {
	if c, ok := t.key.(*securityContext); ok {
		return c.mechanism.Account(), c.mechanism.HasPAC()
	}
	return krb5.Account{}, false
}

// Server returns the server whose context signed the request, nil for a static
// key.
func (t *Transaction) Server() *Server { return t.server }

// Overhead returns how many octets the TSIG record adds to a message, at most,
// so that an answer can be cut to size before it is signed.
func (t *Transaction) Overhead() int {
	fields := tsig.Fields{Name: t.name, Algorithm: t.algorithm}
	return fields.Size(t.key.size())
}

// Sign packs response and adds the TSIG record, as the last there is; one that
// is in the additional section already is left out. response itself is not
// changed. The first call covers the request's MAC (RFC 8945 section 5.3);
// each further call signs the next message of the same answer, as in a zone
// transfer, and covers the MAC before it and the timers only (section 5.3.1).
//
// The result is a message for the wire that the caller owns. Signing fails
// when response does not pack or when the key is gone.
func (t *Transaction) Sign(response *dns.Msg) (wire []byte, err error) {
	message := *response
	message.Extra = withoutTSIG(response.Extra)
	digest := tsig.Buffer()
	defer tsig.Release(digest)
	*digest = t.octets.AppendPrior(*digest)
	start := len(*digest)
	packed, err := message.PackBuffer((*digest)[start:cap(*digest)])
	if err != nil {
		return nil, fmt.Errorf("gsstsig: pack a message to sign: %w", err)
	}
	// PackBuffer takes a buffer of its own when this one is too small.
	*digest = append((*digest)[:start], packed...)
	return t.sign(digest, start, tsig.Fields{TimeSigned: unixTime(t.now()), Fudge: tsig.DefaultFudge})
}

// signOctets is Sign for a message that is packed already, with fields of choice
// but for the names.
func (t *Transaction) signOctets(message []byte, fields tsig.Fields) ([]byte, error) {
	digest := tsig.Buffer()
	defer tsig.Release(digest)
	*digest = t.octets.AppendPrior(*digest)
	start := len(*digest)
	*digest = append(*digest, message...)
	return t.sign(digest, start, fields)
}

func (t *Transaction) sign(digest *[]byte, start int, fields tsig.Fields) ([]byte, error) {
	fields.Name, fields.Algorithm = t.name, t.algorithm
	wire, err := t.octets.Sign(digest, start, fields, t.mac)
	if err != nil {
		return nil, fmt.Errorf("gsstsig: sign with key %s: %w", t.identity.KeyName, err)
	}
	return wire, nil
}

// mac makes the MAC of the next message of the answer. In a shared context its number
// follows from that of the request. Further messages of the answer have numbers that
// follow from nothing. So the context is shared no more: at another server, which cannot
// know the numbers, the client gets BADKEY, before anything is done for it there.
func (t *Transaction) mac(message []byte) ([]byte, error) {
	c, ok := t.key.(*securityContext)
	if !ok || c.record == nil || t.completes {
		return t.key.sign(message)
	}
	if !t.begun {
		t.begun = true
		return c.mechanism.AnswerMIC(message, t.number)
	}
	t.server.contexts.keep(c)
	return c.mechanism.GetMIC(message)
}

// keep takes a context out of the shared table, and goes on with it here. If the shared
// table is out of reach, others learn of it later.
func (t *Table) keep(c *securityContext) {
	if c.kept.Swap(true) {
		return
	}
	c.mechanism.Count()
	if shared := t.shared.Load(); shared != nil {
		_ = shared.remove(c)
	}
}

// withoutTSIG returns extra itself when there is nothing to leave out.
func withoutTSIG(extra []dns.RR) []dns.RR {
	for i, rr := range extra {
		if rr.Header().Rrtype != dns.TypeTSIG {
			continue
		}
		kept := append([]dns.RR(nil), extra[:i]...)
		for _, rr := range extra[i+1:] {
			if rr.Header().Rrtype != dns.TypeTSIG {
				kept = append(kept, rr)
			}
		}
		return kept
	}
	return extra
}
