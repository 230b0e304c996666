package zone

import (
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// An Answer is the answer of one or several zones to a query. The caller may modify the records.
type Answer struct {
	// Rcode is NOERROR, NXDOMAIN, REFUSED for a name outside the zone, or SERVFAIL for a chain without end.
	Rcode int
	// Authoritative is the AA bit. It applies to the name in the question: a chain that leaves the
	// zone's authority does not clear it.
	Authoritative bool
	// Answer has the chain of CNAME and DNAME records to the name that was found, and its records.
	Answer []dns.RR
	// Authority holds the SOA of a negative answer, its TTL as RFC 2308 section 5 wants it, or the
	// NS of a referral. It is empty otherwise.
	Authority []dns.RR
	// Additional holds the zone's own addresses for the names in NS, MX, SRV, SVCB and similar
	// records, or a referral's glue.
	Additional []dns.RR
	// Target is the name that the last record of Answer, a CNAME, points to, if it is in none of the
	// zones that were searched. It is empty otherwise.
	Target string
}

// maxChain bounds the names that one answer passes through by CNAME and DNAME. It is what BIND
// allows.
const maxChain = 12

// Lookup answers a query of class IN as the zone's authority (RFC 1034 section 4.3.2, RFC 2308, 4592,
// 6672). Owners are in the spelling in which they were entered; those of records that a wildcard or a
// DNAME makes are as in the query. A name outside the zone, or that is not a name, is REFUSED. A
// chain with a loop, or one that is too long, is SERVFAIL with the records up to that point.
func (s *Snapshot) Lookup(name string, qtype uint16) Answer {
	return s.Follow(name, qtype, nil, func(string) *Snapshot { return s })
}

// Follow answers a query as Lookup does, and continues in other zones where a chain leads there (RFC
// 1034 section 4.3.2, step 3a). nearest returns the zone in which to look up the name that a CNAME or
// DNAME points to, nil if the chain ends there. chain has the names that a chain has passed before it
// came to name: they count for its length, and coming back to one of them is a loop.
func (s *Snapshot) Follow(name string, qtype uint16, chain []string, nearest func(name string) *Snapshot) Answer {
	q := query{qtype: qtype, chain: chain}
	if !q.enter(s, name) {
		return Answer{Rcode: dns.RcodeRefused}
	}
	// A chain through other servers' zones may come back without a CNAME of these zones in between.
	looped := q.visited(name)
	for passed := len(chain) + 1; passed <= maxChain && !looped; passed++ {
		target := q.step()
		if target == "" {
			return q.answer
		}
		if q.visited(target) {
			break
		}
		if !q.enter(nearest(target), target) && passed < maxChain {
			q.answer.Target = target
			return q.answer
		}
	}
	q.answer.Rcode = dns.RcodeServerFailure
	return q.answer
}

// query is the state of one lookup.
type query struct {
	snapshot *Snapshot
	name     string // the name the chain has come to
	qtype    uint16
	chain    []string // the names before the first one
	wireBuf  [dnswire.MaxName]byte
	wireLen  int // of name's wire form
	keyBuf   [maxKey]byte
	key      string
	answer   Answer
}

// enter prepares the lookup of a name in a zone, and reports whether it is in the zone.
func (q *query) enter(s *Snapshot, name string) bool {
	if s == nil {
		return false
	}
	q.snapshot, q.name = s, name
	var ok bool
	if q.wireLen, ok = packWire(&q.wireBuf, name); !ok {
		return false
	}
	key, ok := s.origin.appendKey(q.keyBuf[:0], q.wire())
	q.key = string(key)
	return ok
}

// wire returns the wire form of name.
func (q *query) wire() []byte { return q.wireBuf[:q.wireLen] }

// visited reports whether target is in the chain already.
func (q *query) visited(target string) bool {
	for _, name := range q.chain {
		if strings.EqualFold(name, target) {
			return true
		}
	}
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
		q.addresses(owner, set, false)
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
	q.addresses("", set, true)
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

// maxAdditional is the most records that an answer brings addresses for. Without it, a client that may
// add records could make a query for a large set cost as much as one for each of its names
// (CVE-2024-11187). BIND has the same bound.
const maxAdditional = 13

// addresses adds the addresses that the zone has for the names in set, a set of owner.
func (q *query) addresses(owner string, set rrset, glue bool) {
	if !glue && (set.count > maxAdditional || !dnswire.HasAdditional(set.rrtype)) {
		return
	}
	for data := range set.records {
		for name := range dnswire.Names(set.rrtype, data) {
			if name.Additional {
				q.addressesOf(data[name.Start:name.End], glue)
			}
		}
		if set.rrtype == dns.TypeSVCB || set.rrtype == dns.TypeHTTPS {
			q.addService(owner, set.rrtype, data)
		}
	}
}

// addService adds what RFC 9460 section 4.1 asks for in addition to the addresses of the target:
// those of the owner where "." stands for it, and the records that the target of an alias has.
func (q *query) addService(owner string, rrtype uint16, data []byte) {
	const priority = 2 // octets
	target := data[priority:]
	target = target[:dnswire.NameLen(target)]
	alias := data[0] == 0 && data[1] == 0
	switch {
	case len(target) == 1 && !alias:
		var wire [dnswire.MaxName]byte
		if n, ok := packWire(&wire, owner); ok {
			q.addressesOf(wire[:n], false)
		}
	case len(target) > 1 && alias:
		n, name, ok := q.additional(target, false)
		if !ok {
			return
		}
		set := n.set(rrtype)
		if set.empty() || set.count > maxAdditional || contains(q.answer.Answer, name, rrtype) || contains(q.answer.Additional, name, rrtype) {
			return
		}
		q.answer.Additional = set.appendTo(q.answer.Additional, name)
		for data := range set.records {
			for host := range dnswire.Names(rrtype, data) {
				q.addressesOf(data[host.Start:host.End], false)
			}
		}
	}
}

// addressesOf adds the addresses of one name.
func (q *query) addressesOf(target []byte, glue bool) {
	n, owner, ok := q.additional(target, glue)
	if !ok {
		return
	}
	for _, rrtype := range [...]uint16{dns.TypeA, dns.TypeAAAA} {
		// A referral's names are different ones, as they are the whole rdata.
		if glue || !contains(q.answer.Additional, owner, rrtype) {
			q.answer.Additional = n.set(rrtype).appendTo(q.answer.Additional, owner)
		}
	}
}

// additional finds the node that has, or stands for, a name whose records go into the additional
// section, and the owner of these. A referral gets glue alone, which is what lies below a zone cut (RFC
// 9471 section 2): the client can query for the rest. An answer gets none of these, because the zone is
// not authoritative for them.
func (q *query) additional(target []byte, glue bool) (n *node, owner string, ok bool) {
	s := q.snapshot
	var buf [maxKey]byte
	k, in := s.origin.appendKey(buf[:0], target)
	if !in {
		return nil, "", false
	}
	key := string(k)
	n, exact := s.node(key)
	if !exact {
		if glue {
			return nil, "", false
		}
		// A wildcard applies as it would to a query for the target.
		if n, ok = s.node(s.closestEncloser(key) + wildcardKey); !ok {
			return nil, "", false
		}
	}
	if _, _, below := s.above(key, dns.TypeA); below != glue {
		return nil, "", false
	}
	if exact {
		return n, s.ownerText(key, n), true
	}
	return n, dnswire.NameText(target), true
}

// contains reports whether rrs has a record of that owner and type: SRV records often name one host
// several times.
func contains(rrs []dns.RR, owner string, rrtype uint16) bool {
	for _, rr := range rrs {
		if rr.Header().Rrtype == rrtype && strings.EqualFold(rr.Header().Name, owner) {
			return true
		}
	}
	return false
}
