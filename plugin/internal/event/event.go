// Package event describes what happens at a server: an [Update] for each UPDATE message, a [Failure] for each handshake that
// failed and each signature that does not verify. The log writes them, and [Recent] keeps the last ones for the administrator
// to look at.
//
// Names and texts in events may come from the network. They are cut to a bounded length, and not escaped otherwise.
package event

import (
	"net/netip"
	"time"
)

// An Update is the outcome of an UPDATE message. It does not change once it was made.
type Update struct {
	Time time.Time
	// Zone is the zone that the message names. No server block may have it.
	Zone   string
	Client netip.AddrPort
	// Transport is udp, tcp, tls, https, quic and so on, and control for an update by the administrator. It is empty for a
	// change that no message asked for, or that another server made.
	Transport string
	// Identity is who signed, as the log writes it: a principal, "key NAME" or "anonymous".
	Identity string
	Signed   bool
	// Rcode is the response code in the words of RFC 2136.
	Rcode string
	// Before and After are the serials around the update.
	Before, After uint32
	// Asked is the update section.
	Asked Records
	// Removed and Added are the records that the zone lost and got, without the SOA record. Both are empty if nothing changed.
	Removed, Added Records
	// Rule is the rule that decided, Reason why the update was refused, and Cause the kind of that in a word.
	Rule, Reason, Cause string
	// Name is the name that a refusal is about, if it is about one.
	Name string
	// Error is why a permitted update failed.
	Error string
	// Fix is what to do about a refusal. It may be empty.
	Fix string
	// Notes are further facts about the decision, such as a name that was taken over.
	Notes []string
}

// Changed reports whether records changed.
func (u *Update) Changed() bool { return u.Before != u.After }

// Records are the first records of an update, and how many more there are.
type Records struct {
	List []Record
	More int
}

// A Record is one record of an update as text. Long texts are cut.
type Record struct {
	// Sign is + for a record that is to be added, or was, and - for one that is to be removed, or was.
	Sign byte
	Name string
	// TTL is that of an added record, and of one that a zone lost.
	TTL  uint32
	Type string
	// Data is empty where all records of the name or type are to be removed.
	Data string
}

// A Kind says what failed.
type Kind string

const (
	Handshake Kind = "handshake"
	Signature Kind = "signature"
)

// A Failure is a handshake that failed, or a message whose signature does not verify. It does not change once it was made.
type Failure struct {
	Time   time.Time
	Kind   Kind
	Result string // badkey, badtime, ...
	Client netip.AddrPort
	// Key is the name of the key, in a handshake the one that the client proposed. Algorithm is that of a signature.
	Key, Algorithm string
	// Peer and Service are the principals of a handshake, as far as they are known.
	Peer, Service string
	// Enctype and TicketKVNO are those of a refused ticket, KeytabKVNOs the versions that the keytab has for its service.
	Enctype     string
	TicketKVNO  uint32
	KeytabKVNOs []uint32
	Reason, Fix string
}
