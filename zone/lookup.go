package zone

import (
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// An Answer is the zone's answer to a query. The caller may modify the records.
type Answer struct {
	Rcode int
	// Authoritative is the AA bit. It applies to the name in the question: a chain that leaves the
	// zone's authority does not clear it.
	Authoritative bool
	Answer        []dns.RR
	// Authority holds the SOA of a negative answer, its TTL as RFC 2308 section 5 wants it, or the
	// NS of a referral. It is empty otherwise.
	Authority []dns.RR
	// Additional holds the zone's own addresses for the names in NS, MX and SRV records, or a
	// referral's glue.
	Additional []dns.RR
}

// maxChain bounds the names that one answer passes through by CNAME and DNAME. It is what BIND
// allows.
const maxChain = 12

// Lookup answers a query of class IN as the zone's authority (RFC 1034 section 4.3.2, RFC 2308, 4592,
// 6672). Owners are in the spelling in which they were entered; those of records that a wildcard or a
// DNAME makes are as in the query. A name outside the zone, or that is not a name, is REFUSED. A
// chain with a loop, or one that is too long, is SERVFAIL with the records up to that point.
func (s *Snapshot) Lookup(name string, qtype uint16) Answer {
	q := query{snapshot: s, name: name, qtype: qtype}
	for range maxChain {
		if !q.locate() {
			if len(q.answer.Answer) == 0 {
				return Answer{Rcode: dns.RcodeRefused}
			}
			return q.answer // the chain left the zone
		}
		target := q.step()
		if target == "" {
			return q.answer
		}
		if q.visited(target) {
			break
		}
		q.name = target
	}
	q.answer.Rcode = dns.RcodeServerFailure
	return q.answer
}

// query is the state of one Lookup.
type query struct {
	snapshot *Snapshot
	name     string // the name the chain has come to
	qtype    uint16
	wireBuf  [dnswire.MaxName]byte
	wireLen  int // of name's wire form
	keyBuf   [maxKey]byte
	key      string
	answer   Answer
}

// locate prepares the name the chain has come to, and reports whether it is in the zone.
func (q *query) locate() bool {
	var ok bool
	if q.wireLen, ok = packWire(&q.wireBuf, q.name); !ok {
		return false
	}
	key, ok := q.snapshot.origin.appendKey(q.keyBuf[:0], q.wire())
	q.key = string(key)
	return ok
}

// wire returns the wire form of name.
func (q *query) wire() []byte { return q.wireBuf[:q.wireLen] }

// visited reports whether target is in the chain already.
func (q *query) visited(target string) bool {
	for _, rr := range q.answer.Answer {
		if rr.Header().Rrtype == dns.TypeCNAME && strings.EqualFold(rr.Header().Name, target) {
			return true
		}
	}
	return false
}

// step answers for one name of the chain. It returns the next, or "".
func (q *query) step() (target string) {
	s := q.snapshot
	if cut, n, found := s.above(q.key, q.qtype); found {
		if !n.set(dns.TypeNS).empty() && cut != "" {
			q.refer(cut, n)
			return ""
		}
		q.authoritative()
		return q.redirect(cut, n)
	}
	q.authoritative()
	n, ok := s.node(q.key)
	if ok {
		return q.answerFrom(n, q.owner(n))
	}
	if n, ok = s.node(s.closestEncloser(q.key) + wildcardKey); ok {
		return q.answerFrom(n, q.name)
	}
	q.answer.Rcode = dns.RcodeNameError
	q.negative()
	return ""
}

// owner returns the name of the node that was asked for, in the spelling in which it was entered.
func (q *query) owner(n *node) string {
	if n.spelling() == nil && !hasUpper(q.wire()) {
		return q.name
	}
	return q.snapshot.ownerText(q.key, n)
}

// authoritative sets AA unless the chain began without: it is the first name's.
func (q *query) authoritative() {
	if len(q.answer.Answer) == 0 {
		q.answer.Authoritative = true
	}
}

// above finds the highest name at or above key whose NS or DNAME governs it. At the name itself an
// NS does, except for DS, which is the parent's (RFC 4035 section 3.1.4.1), but a DNAME does not
// (RFC 6672 section 2.3).
func (s *Snapshot) above(key string, qtype uint16) (cut string, n *node, found bool) {
	if key == "" {
		return "", nil, false
	}
	if apex := s.apex(); !apex.set(dns.TypeDNAME).empty() {
		return "", apex, true
	}
	if s.zonecuts.Len() == 0 {
		return "", nil, false
	}
	for i := range len(key) {
		if key[i] != endOfLabel {
			continue
		}
		cut = key[:i+1]
		if _, ok := s.zonecuts.Get(cut); !ok {
			continue
		}
		n, _ = s.node(cut)
		if len(cut) < len(key) {
			return cut, n, true
		}
		return cut, n, !n.set(dns.TypeNS).empty() && qtype != dns.TypeDS
	}
	return "", nil, false
}

// closestEncloser returns the longest existing name above key, which does not exist itself (RFC
// 4592 section 3.3.1). As every ancestor of a name in the tree is in it too, the name before key in
// canonical order shares it.
func (s *Snapshot) closestEncloser(key string) string {
	encloser := ""
	s.names.Descend(key, func(before string, _ *node) bool {
		encloser = key[:commonAncestor(key, before)]
		return false
	})
	return encloser
}

// answerFrom answers from the node of the name, or that of a wildcard that matches it.
func (q *query) answerFrom(n *node, owner string) (target string) {
	if q.qtype == dns.TypeANY {
		for set := range n.sets {
			q.answer.Answer = set.appendTo(q.answer.Answer, owner)
		}
		if n.empty() {
			q.negative()
		}
		return ""
	}
	if set := n.set(q.qtype); !set.empty() {
		q.answer.Answer = set.appendTo(q.answer.Answer, owner)
		q.addresses(set, false)
		return ""
	}
	if set := n.set(dns.TypeCNAME); !set.empty() && !besideCNAME(q.qtype) {
		q.answer.Answer = set.appendTo(q.answer.Answer, owner)
		return dnswire.NameText(set.first())
	}
	q.negative()
	return ""
}

// refer points to the servers of a delegated zone (RFC 1034 section 4.2.1).
func (q *query) refer(cut string, n *node) {
	set := n.set(dns.TypeNS)
	q.answer.Authority = set.appendTo(q.answer.Authority, q.snapshot.ownerText(cut, n))
	q.addresses(set, true)
}

// redirect answers for a name below a DNAME (RFC 6672 section 3.1).
func (q *query) redirect(cut string, n *node) (target string) {
	set := n.set(dns.TypeDNAME)
	q.answer.Answer = set.appendTo(q.answer.Answer, q.snapshot.ownerText(cut, n))
	// The labels in front of the DNAME's owner, then its target.
	to := set.first()
	front := q.wireLen - q.ancestorLen(cut)
	if front+len(to) > dnswire.MaxName {
		q.answer.Rcode = dns.RcodeYXDomain
		return ""
	}
	wire := make([]byte, 0, dnswire.MaxName)
	wire = append(wire, q.wireBuf[:front]...)
	wire = append(wire, to...)
	target = dnswire.NameText(wire)
	q.answer.Answer = append(q.answer.Answer, &dns.CNAME{
		Hdr:    dns.RR_Header{Name: q.name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: set.ttl, Rdlength: uint16(len(wire))},
		Target: target,
	})
	if q.qtype == dns.TypeCNAME || q.qtype == dns.TypeANY {
		return "" // the synthesized record is the answer
	}
	return target
}

// ancestorLen returns the length in wire form of the name at or above the query's that has key cut.
func (q *query) ancestorLen(cut string) int {
	skip := strings.Count(q.key[len(cut):], "\x00")
	at := 0
	for range skip {
		at += 1 + int(q.wireBuf[at])
	}
	return q.wireLen - at
}

// negativeTTL is how long a denial may be cached (RFC 2308 section 5), given the SOA's own TTL and
// its MINIMUM. A client that asks for the SOA of a name is looking for the zone to add it to, so
// this denial must not be cached at all; BIND does the same.
func negativeTTL(ttl, minimum uint32, qtype uint16, rcode int) uint32 {
	if qtype == dns.TypeSOA && rcode == dns.RcodeNameError {
		return 0
	}
	return min(ttl, minimum)
}

// negative adds the SOA with the time that the denial may be cached.
func (q *query) negative() {
	soa := q.snapshot.SOA()
	soa.Hdr.Ttl = negativeTTL(soa.Hdr.Ttl, soa.Minttl, q.qtype, q.answer.Rcode)
	q.answer.Authority = append(q.answer.Authority, soa)
}

// addresses adds the addresses that the zone has for the names in set. A referral gets glue alone,
// which is what lies below a zone cut (RFC 9471 section 2): the client can query for the rest. An
// answer gets none of these, because the zone is not authoritative for them.
func (q *query) addresses(set rrset, glue bool) {
	at := 0
	switch set.rrtype {
	case dns.TypeNS:
	case dns.TypeMX:
		at = 2
	case dns.TypeSRV:
		at = 6
	default:
		return
	}
	s := q.snapshot
	var buf [maxKey]byte
	for data := range set.records {
		target := data[at:]
		k, ok := s.origin.appendKey(buf[:0], target)
		if !ok {
			continue
		}
		key := string(k)
		n, exact := s.node(key)
		ok = exact
		if !ok && !glue {
			// A wildcard applies as it would to a query for the target.
			n, ok = s.node(s.closestEncloser(key) + wildcardKey)
		}
		if !ok {
			continue
		}
		v4, v6 := n.set(dns.TypeA), n.set(dns.TypeAAAA)
		if v4.empty() && v6.empty() {
			continue
		}
		if _, _, below := s.above(key, dns.TypeA); below != glue {
			continue
		}
		owner := dnswire.NameText(target)
		if exact {
			owner = s.ownerText(key, n)
		}
		if contains(q.answer.Additional, owner) {
			continue
		}
		q.answer.Additional = v4.appendTo(q.answer.Additional, owner)
		q.answer.Additional = v6.appendTo(q.answer.Additional, owner)
	}
}

// contains reports whether rrs has a record with that owner: SRV records often name one host
// several times.
func contains(rrs []dns.RR, owner string) bool {
	for _, rr := range rrs {
		if strings.EqualFold(rr.Header().Name, owner) {
			return true
		}
	}
	return false
}
