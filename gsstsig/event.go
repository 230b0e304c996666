package gsstsig

import (
	"errors"
	"net/netip"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/spnego"
)

// Result says how a TKEY query ended.
type Result string

// The results.
const (
	ResultEstablished Result = "established" // a context is complete
	ResultContinued   Result = "continued"   // the negotiation needs another round
	ResultDeleted     Result = "deleted"     // a context was deleted by its owner
	ResultBadKey      Result = "badkey"      // the token, or the deletion, was refused
	ResultBadName     Result = "badname"     // the key name is in use, or unknown in a deletion
	ResultBadAlg      Result = "badalg"      // neither of the two GSS algorithms
	ResultBadMode     Result = "badmode"     // neither negotiation nor deletion
	ResultFormErr     Result = "formerr"     // no usable TKEY record
	ResultServFail    Result = "servfail"    // a deletion of which other servers could not be told
)

// Event tells how a TKEY query ended, for logs and metrics. It holds no
// secrets; names in it come from the network and are escaped as DNS and
// Kerberos escape them.
type Event struct {
	Result        Result         // how it ended
	Client        netip.AddrPort // that sent the query
	Peer, Service string         // principals, as far as they are known
	KeyName       string         // of the TKEY record
	Algorithm     string         // as the TKEY record names it
	Raw           bool           // a bare Kerberos token, without SPNEGO
	Reason, Fix   string         // of a failure: Kerberos' words, and what to do about it
	Expires       time.Time      // of an established context; else zero
	Shared        bool           // other servers were given the context
	NotShared     error          // why they were not, though the table is shared; it may have come to be known all the same
	Enctype       krb5.Enctype   // of the key that makes the MICs; of a refused ticket, its own; 0 if unknown
	TicketKVNO    uint32         // version of the key that a refused ticket is encrypted in; 0 if it names none
	KeytabKVNOs   []uint32       // versions of the keys in the keytab for its service and encryption type
}

// explain fills in why a token was refused.
func (e *Event) explain(err error) {
	var kerberos *krb5.Error
	switch {
	case errors.As(err, &kerberos):
		e.Reason, e.Fix = kerberos.Reason, kerberos.Fix
		if kerberos.Service != "" {
			e.Service = kerberos.Service
		}
		e.Enctype = kerberos.Enctype
		e.TicketKVNO, e.KeytabKVNOs = kerberos.TicketKVNO, kerberos.KeytabKVNOs
		if e.Reason == "" {
			e.Reason = err.Error()
		}
	case errors.Is(err, spnego.ErrNoMechanism):
		e.Reason = err.Error()
		e.Fix = "the client offers other mechanisms than Kerberos, such as NTLM: it could get no ticket; check its KDC, its clock and the service principal it asks for"
	default:
		e.Reason = err.Error()
	}
}
