package client

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// What can be wrong with a reply, or with asking for one. Test with errors.Is.
var (
	// ErrUnsigned: the reply has no TSIG record, or one without a MAC where
	// only BADKEY and BADSIG may lack it (RFC 8945 section 5.3.2).
	ErrUnsigned = errors.New("the reply is not signed")
	// ErrSignature: the MAC is not the server's over this reply to this request.
	ErrSignature = errors.New("the reply's signature is wrong")
	// ErrOtherKey: the reply is signed with another key or algorithm.
	ErrOtherKey = errors.New("the reply is signed with another key or algorithm")
	// ErrTime: the reply was signed outside its fudge, by the client's clock.
	ErrTime = errors.New("the reply was signed at another time")
	// ErrMalformed: the reply cannot be read, answers something else, or has
	// its TSIG record in the wrong place.
	ErrMalformed = errors.New("the reply is malformed")
	// ErrClosed: the Client or the Context was closed.
	ErrClosed = errors.New("closed")
	// ErrTicketExpired: the credentials hold only tickets that have ended and
	// nothing to get new ones with, as a credential cache does after a while.
	ErrTicketExpired = errors.New("the ticket has expired")
	// ErrNegotiation: the TKEY exchange did not end as the protocol
	// says. Failures that the server reports are a *TKEYError.
	ErrNegotiation = errors.New("the TKEY negotiation failed")
)

// A TSIGError is the server's refusal of a request's signature: RCODE NOTAUTH
// and a TSIG error (RFC 8945 section 5.2).
type TSIGError struct {
	Code  uint16   // dns.RcodeBadSig, dns.RcodeBadKey, dns.RcodeBadTime or dns.RcodeBadTrunc
	Reply *dns.Msg // the refusal, TSIG record included
	// Verified tells whether the refusal was itself signed with the key. BADKEY
	// and BADSIG are not, so any host could have sent them.
	Verified bool
	// ServerTime is the server's clock; zero unless Code is BADTIME.
	ServerTime time.Time
}

func (e *TSIGError) Error() string {
	text := "the server refused the signature: " + codeName(e.Code)
	if !e.ServerTime.IsZero() {
		text += " (its clock says " + e.ServerTime.UTC().Format(time.RFC3339) + ")"
	}
	return text
}

// A TKEYError is the server's refusal to make, continue or delete a key: a
// TKEY error (RFC 2930 section 2.6) or, where Code is zero, an RCODE.
type TKEYError struct {
	Code  uint16   // dns.RcodeBadKey, dns.RcodeBadName and so on; 0 if there is an RCODE only
	Rcode int      // of the reply
	Reply *dns.Msg // the refusal, TKEY record included
	// Reason is what the server's Kerberos says, a *krb5.Error that wraps
	// krb5.ErrRefused; nil where it says nothing. It is not authenticated.
	Reason error
}

func (e *TKEYError) Error() string {
	text := "the server refused the key: "
	if e.Code != 0 {
		text += codeName(e.Code)
	} else {
		text += codeName(uint16(e.Rcode))
	}
	if e.Reason != nil {
		text += ": " + e.Reason.Error()
	}
	return text
}

// Unwrap returns Reason.
func (e *TKEYError) Unwrap() error { return e.Reason }

// An RcodeError is a verified reply whose RCODE is not NOERROR.
type RcodeError struct {
	Rcode int      // dns.RcodeRefused and so on
	Reply *dns.Msg // with its TSIG record
}

func (e *RcodeError) Error() string {
	return "the server answered " + codeName(uint16(e.Rcode))
}

func codeName(code uint16) string {
	if name, ok := dns.RcodeToString[int(code)]; ok {
		return strings.ToUpper(name)
	}
	return fmt.Sprintf("RCODE%d", code)
}
