package listener

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

// An AnswerFunc completes the response to a plain query for a name in one zone. response is a header and the question, with
// nothing set but the ID, QR and what the query's flags ask for; the records are appended to it, and the counts, AA and
// the rcode set. It reports false, with nothing appended, if the query has to take the usual way, or if the whole would be
// longer than limit octets. It is called by many goroutines at once.
type AnswerFunc func(response []byte, limit int) (whole []byte, ok bool)

// A shortcut answers a zone's plain queries from their octets, if no plugin in front of the one that answers has
// to see them. Unpacking and packing messages, and CoreDNS's way through its plugins, are otherwise most of the cost of
// such a query (BenchmarkUDPQuery).
type shortcut struct {
	answer  AnswerFunc
	metrics *queryMetrics // nil unless the prometheus plugin counts queries of the zone
}

// transparent are the plugins that a plain query may pass unseen: errors and transfer have nothing to do with it, any
// answers questions for ANY, and for prometheus the shortcut does the counting. So is cache for zones that it bypasses.
var transparent = map[string]bool{"any": true, "errors": true, "prometheus": true, "transfer": true}

// bypasser is what the cache plugin asks handlers for.
type bypasser interface{ CacheBypassZones() []string }

// openShortcuts finds the zones of the server that have one. The map has every zone of the address, in wire form, so that
// the longest match is found; those without shortcut are nil. It is nil itself if there is none at all.
func (s *server) openShortcuts(in *instance, group []site) {
	if s.makeDecorate != nil {
		return // wants to see what is sent
	}
	found := make(map[string]*shortcut)
	some := false
	for _, member := range group {
		key, ok := wireKey(member.config.Zone)
		if !ok {
			return
		}
		_, twice := found[key] // views
		found[key] = nil
		if b := in.registered(member.block); b != nil && b.Answerer != nil && !twice && len(member.config.FilterFuncs) == 0 {
			found[key] = b.shortcut(member.config, s.Addr)
		}
		some = some || found[key] != nil
	}
	if some {
		s.shortcuts = found
	}
}

// shortcut returns that of one of the block's zones at a server's address, nil if there is none.
func (b *Block) shortcut(config *dnsserver.Config, server string) *shortcut {
	made := &shortcut{answer: b.Answerer(config.Zone)}
	if made.answer == nil || screened(config, b.Plugin) {
		return nil
	}
	if config.Handler("prometheus") != nil {
		made.metrics = &queryMetrics{server: server, zone: config.Zone, plugin: b.Plugin}
	}
	return made
}

// screened reports whether queries of a site's zone must be seen by plugins in front of the one of
// that directive.
func screened(config *dnsserver.Config, directive string) bool {
	own := slices.Index(dnsserver.Directives, directive)
	handler := config.Handler(directive)
	if own < 0 || handler == nil {
		return true
	}
	by, ok := handler.(bypasser)
	uncached := ok && slices.Contains(by.CacheBypassZones(), config.Zone)
	return slices.ContainsFunc(config.Handlers(), func(h plugin.Handler) bool {
		name := h.Name()
		at := slices.Index(dnsserver.Directives, name)
		return at < 0 || at < own && !transparent[name] && !(name == "cache" && uncached)
	})
}

// wireKey is a zone's name in wire form and lower case.
func wireKey(zone string) (string, bool) {
	var wire [maxName]byte
	n, err := dns.PackDomainName(dns.CanonicalName(zone), wire[:], 0, nil, false)
	return string(wire[:n]), err == nil
}

// plainQuery is what there is to know of a query with a question of class IN and nothing else, but for an OPT record
// without options.
type plainQuery struct {
	name  [maxName]byte // in wire form and lower case
	end   int           // of the question in the message
	qtype uint16
	edns  bool
	size  uint16 // that the client can take, as it says itself
	flags byte   // of EDNS: DO, and seven that mean nothing yet
}

const (
	maxName = 255
	optSize = 11 // without options

	flagsOfQuery = 0xFA // in the third octet of a plain query these are not set: QR, opcode, TC
	wantRD       = 0x01
	clearOfQuery = 0xCF // nor these in the fourth: RA, Z, rcode
	wantCD       = 0x10
	dnssecOK     = 0x80 // of EDNS
)

// parse reads a message, and reports false if it is anything else.
func (q *plainQuery) parse(wire []byte) bool {
	if len(wire) < headerSize || wire[2]&flagsOfQuery != 0 || wire[3]&clearOfQuery != 0 ||
		binary.BigEndian.Uint16(wire[4:]) != 1 || binary.BigEndian.Uint32(wire[6:]) != 0 {
		return false
	}
	additional := binary.BigEndian.Uint16(wire[10:])
	at := headerSize
	for {
		if at >= len(wire) {
			return false
		}
		label := int(wire[at])
		next := at + 1 + label
		if label > 63 || next-headerSize > maxName || next > len(wire) {
			return false
		}
		q.name[at-headerSize] = wire[at]
		for i := at + 1; i < next; i++ {
			b := wire[i]
			if 'A' <= b && b <= 'Z' {
				b += 'a' - 'A'
			}
			q.name[i-headerSize] = b
		}
		at = next
		if label == 0 {
			break
		}
	}
	if len(wire) < at+4 || binary.BigEndian.Uint16(wire[at+2:]) != dns.ClassINET {
		return false
	}
	q.qtype = binary.BigEndian.Uint16(wire[at:])
	q.end = at + 4
	rest := wire[q.end:]
	switch {
	case additional == 0:
		q.edns = false
		return len(rest) == 0
	case additional != 1 || len(rest) != optSize || rest[0] != 0 || binary.BigEndian.Uint16(rest[1:]) != dns.TypeOPT:
		return false
	}
	q.edns = true
	q.size = binary.BigEndian.Uint16(rest[3:])
	q.flags = rest[7]
	rcode, version, options := rest[5], rest[6], binary.BigEndian.Uint16(rest[9:])
	return rcode == 0 && version == 0 && options == 0
}

// limit is the size of the largest reply: that of replyLimit, and of limitUDP.
func (q *plainQuery) limit() int {
	if !q.edns {
		return dns.MinMsgSize
	}
	return min(max(int(q.size), dns.MinMsgSize), maxUDPReply)
}

// scratch is what a shortcut works with. It stays with the batch: exchanges, which leave it with the requests that take
// longer, are smaller without it (BenchmarkUDPQuery).
type scratch struct {
	query    plainQuery
	response []byte
}

// shortcut returns the answer to a message that is a plain query of a zone with a shortcut, and nil if it is not, or the
// answer is not simple. Nothing has happened then. The answer is good until the scratch is used again.
func (s *server) shortcut(x *packetExchange, work *scratch, wire []byte) (response []byte) {
	if s.shortcuts == nil || x.path.endpoint.udp == nil {
		return nil
	}
	// After a panic without an answer the query goes the usual way, which has guards of its own.
	defer s.recovered(func() {})
	q := &work.query
	if !q.parse(wire) || q.qtype == dns.TypeDS { // CoreDNS may ask the parent zone for DS
		return nil
	}
	by := s.shortcutFor(q)
	if by == nil {
		return nil
	}
	var began time.Time
	if by.metrics != nil {
		began = time.Now()
	}
	room := append(work.response[:0], wire[:q.end]...)
	room[2] = 0x80 | wire[2]&wantRD
	room[3] = wire[3] & wantCD
	clear(room[4:headerSize])
	limit := q.limit()
	if q.edns {
		limit -= optSize
	}
	whole, ok := by.answer(room, limit)
	work.response = whole[:0]
	if !ok {
		return nil
	}
	if q.edns {
		// As CoreDNS does: what the client has said of itself is said back to it.
		whole = append(whole, 0, 0, byte(dns.TypeOPT), byte(q.size>>8), byte(q.size), 0, 0, q.flags, 0, 0, 0)
		whole[11] = 1
	}
	response = whole // whatever happens from here on, this is sent
	if by.metrics != nil {
		by.metrics.count(q, x.path.peer.Addr().Unmap().Is6(), len(wire), response, time.Since(began))
	}
	return response
}

// shortcutFor finds the longest of the server's zones that the question's name is in.
func (s *server) shortcutFor(q *plainQuery) *shortcut {
	name := q.name[:q.end-4-headerSize]
	for at := 0; at < len(name); at += 1 + int(name[at]) {
		if found, ok := s.shortcuts[string(name[at:])]; ok {
			return found
		}
	}
	return nil
}
