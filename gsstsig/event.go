package gsstsig

import (
	"errors"
	"net/netip"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/spnego"
)

// What an Event's Result may be.
const (
	ResultEstablished = "established" // a context is complete
	ResultContinued   = "continued"   // the client has to come again
	ResultDeleted     = "deleted"     // a context was deleted by its owner
	ResultBadKey      = "badkey"      // the token, or the deletion, was refused
	ResultBadName     = "badname"     // the key name is taken, or unknown in a deletion
	ResultBadAlg      = "badalg"      // neither of the two GSS algorithms
	ResultBadMode     = "badmode"     // neither negotiation nor deletion
	ResultFormErr     = "formerr"     // no usable TKEY record
)

// Event tells how a TKEY query ended, for logs and metrics. It holds no
// secrets; names in it come from the network and are escaped as DNS and
// Kerberos escape them.
type Event struct {
	Result         string
	Client         netip.AddrPort
	Peer, Service  string // principals, as far as they are known
	KeyName        string
	Algorithm      string
	Raw            bool   // a bare Kerberos token, without SPNEGO
	Reason, Advice string // of a failure: Kerberos' words, and what to do about it
	Expires        time.Time
	EncryptionType string // of the key that MICs are made with; of a refused ticket, that of the ticket
	TicketKVNO  int    // of the key that a refused ticket was made with, 0 if it does not say
	KeytabKVNOs   []int  // of the keys held for its service and encryption type
}

// explain fills in why a token was refused.
func (e *Event) explain(err error) {
	var kerberos *krb5.Error
	switch {
	case errors.As(err, &kerberos):
		e.Reason, e.Advice = kerberos.Reason, kerberos.Advice
		if kerberos.Service != "" {
			e.Service = kerberos.Service
		}
		if kerberos.EncryptionType != 0 {
			e.EncryptionType = krb5.EncryptionTypeName(kerberos.EncryptionType)
		}
		e.TicketKVNO, e.KeytabKVNOs = kerberos.TicketKVNO, kerberos.KeytabKVNOs
		if e.Reason == "" {
			e.Reason = err.Error()
		}
	case errors.Is(err, spnego.ErrNoMechanism):
		e.Reason = err.Error()
		e.Advice = "the client offers other mechanisms than Kerberos, such as NTLM: it could get no ticket; check its KDC, its clock and the service principal it asks for"
	default:
		e.Reason = err.Error()
	}
}
