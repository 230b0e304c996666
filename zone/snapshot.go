package zone

import (
	"iter"

	"github.com/miekg/dns"
)

// A Snapshot is the zone at one moment. It never changes.
type Snapshot struct{}

// Origin returns the zone's name, in lower case and absolute.
func (s *Snapshot) Origin() string { return "" }

// Serial returns the SOA's serial.
func (s *Snapshot) Serial() uint32 { return 0 }

// SOA returns the zone's SOA record. It is the caller's.
func (s *Snapshot) SOA() *dns.SOA { return nil }

// Len returns the number of records.
func (s *Snapshot) Len() int { return 0 }

// Records yields every record: the SOA first, the rest by name in canonical
// order, then by type, then by rdata. The records are the caller's.
func (s *Snapshot) Records() iter.Seq[dns.RR] { return nil }

// InZone reports whether name is the origin or below it.
func (s *Snapshot) InZone(name string) bool { return false }

// Exists reports whether name is in use, which is to have at least one record
// (RFC 2136 section 2.4.4). An empty non-terminal is not, nor is a name that
// only a wildcard or a tombstone stands for. Names below a zone cut are.
func (s *Snapshot) Exists(name string) bool { return false }

// Types returns the types of name's RRsets in ascending order.
func (s *Snapshot) Types(name string) []uint16 { return nil }

// RRset returns the records of that name and type exactly: no wildcard, no
// CNAME, no zone cut applies. The owner is name as given.
func (s *Snapshot) RRset(name string, rrtype uint16) []dns.RR { return nil }

// Owner returns to whom name belongs. It knows tombstones too.
func (s *Snapshot) Owner(name string) (Ownership, bool) { return Ownership{}, false }

// Lookup answers a query of class IN as the zone's authority (RFC 1034 section
// 4.3.2, RFC 2308, 4592, 6672). A name outside the zone is REFUSED.
func (s *Snapshot) Lookup(name string, qtype uint16) Answer { return Answer{} }

// An Answer is what the zone says to a query. The records are the caller's.
type Answer struct {
	Rcode         int
	Authoritative bool
	Answer        []dns.RR
	Authority     []dns.RR
	Additional    []dns.RR
}
