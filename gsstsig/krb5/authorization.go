package krb5

import (
	"crypto/hmac"
	"errors"
	"slices"
	"strings"
	"time"
	"unique"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/internal/pac"
)

// Types of authorization data (RFC 4120, section 5.2.6, and section 7.5.4).
const (
	adIfRelevant = 1
	adPAC        = 128
	adTypes      = 129 // a client's encryption types (RFC 4537)
)

// Bounds on authorization data. The PAC of a real ticket is the first element
// of the only AD-IF-RELEVANT.
const (
	maxAuthorizationDepth    = 4
	maxAuthorizationElements = 64
)

// authorizationElement is one element of AuthorizationData.
type authorizationElement struct {
	kind int32
	data []byte
}

// readAuthorizationData takes an AuthorizationData apart, which may be empty,
// even of octets.
func readAuthorizationData(b []byte, room int) ([]authorizationElement, bool) {
	s := cryptobyte.String(b)
	if s.Empty() {
		return nil, true
	}
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !s.Empty() {
		return nil, false
	}
	var list []authorizationElement
	for !seq.Empty() {
		var element cryptobyte.String
		var e authorizationElement
		if len(list) == room || !seq.ReadASN1(&element, asn1.SEQUENCE) ||
			!readInt32(&element, 0, &e.kind) || !readOctets(&element, 1, &e.data) || !element.Empty() {
			return nil, false
		}
		list = append(list, e)
	}
	return list, true
}

// findAuthorization looks for the element of a kind in authorization data: at
// the top, or in AD-IF-RELEVANT within bounds. Other elements are passed over,
// as they are by other acceptors; kinds that restrict what a ticket is good for
// are not in use. found is nil if there is none. Data that cannot be read, or
// has two of the kind, is an error: its meaning would be ambiguous.
func findAuthorization(b []byte, kind int32) (found []byte, err error) {
	level := [][]byte{b}
	elements := 0
	for depth := 0; len(level) > 0; depth++ {
		if depth == maxAuthorizationDepth {
			return nil, errors.New("is nested too deeply")
		}
		var inner [][]byte
		for _, data := range level {
			list, ok := readAuthorizationData(data, maxAuthorizationElements-elements)
			if !ok {
				return nil, errors.New("is malformed or too much")
			}
			elements += len(list)
			for _, e := range list {
				switch {
				case e.kind == adIfRelevant:
					inner = append(inner, e.data)
				case e.kind == kind && found != nil:
					return nil, errors.New("has two elements where there may be one")
				case e.kind == kind:
					found = e.data[:len(e.data):len(e.data)]
					if found == nil {
						found = []byte{}
					}
				}
			}
		}
		level = inner
	}
	return found, nil
}

// checkPAC verifies the PAC, if the ticket has one, and takes the client's
// account and groups from it. A ticket without a PAC is one of a client without
// groups.
//
// A ticket whose PAC is not right is refused as a whole, as Windows and Samba
// do: the KDC does not make such, so something is amiss that may reach beyond
// the groups. MIT Kerberos would go on without groups; but then a rule that
// denies something to a group could be escaped.
func (h *handshake) checkPAC() *Error {
	b, err := findAuthorization(h.ticket.authorization, adPAC)
	if err != nil {
		return &Error{Code: codeModified, Reason: "the authorization data in the ticket of " + h.ticket.client.shown() + " " + err.Error(), err: ErrMalformed}
	}
	if b == nil {
		return h.checkPACRequired()
	}
	p, err := pac.Open(b, h.key.verifyPAC)
	switch {
	case errors.Is(err, pac.ErrSignature):
		return &Error{
			Code:   codeModified,
			Reason: "the PAC in the ticket of " + h.ticket.client.shown() + " is not signed with the key of " + h.service.shown(),
			Fix:    "find out who made it: a PAC was changed, or a KDC passes on PACs of another realm without signing them again",
			err:    ErrIntegrity,
		}
	case err != nil:
		return &Error{Code: codeModified, Reason: "the ticket of " + h.ticket.client.shown() + " has a " + err.Error(), err: ErrMalformed}
	case !p.AuthTime.Equal(h.ticket.authTime) || !isClientOfPAC(p.Client, h.ticket.client):
		return &Error{
			Code:   codeBadMatch,
			Reason: "the PAC in the ticket of " + h.ticket.client.shown() + " is of " + shown(p.Client) + ", authenticated at " + p.AuthTime.Format(time.RFC3339) + "; the ticket says " + h.ticket.authTime.Format(time.RFC3339),
			err:    ErrMismatch,
		}
	}
	if p.User != "" {
		h.groups = append(h.groups, unique.Make(p.User))
	}
	for _, g := range p.Groups {
		if g != p.User {
			h.groups = append(h.groups, unique.Make(g))
		}
	}
	h.account, h.hasPAC = Account{Name: p.Account, SID: p.SID}, p.Logon
	return h.checkPACRequired()
}

// checkPACRequired refuses a ticket without PAC where there must be one. A
// client of Active Directory gets such a ticket if it asks for it, and its
// account and groups are unknown then.
func (h *handshake) checkPACRequired() *Error {
	if h.hasPAC || !slices.Contains(h.acceptor.withPAC, h.ticket.client.Realm) {
		return nil
	}
	return &Error{
		Code:   codePolicy,
		Reason: "the ticket of " + h.ticket.client.shown() + " has no PAC that tells its account and groups, and its realm's tickets must have one",
		Fix:    "have the client ask for a PAC (kinit --request-pac); if the realm is none of Active Directory, do not require PACs of it",
		err:    ErrNotAccepted,
	}
}

// isClientOfPAC compares the name in a PAC with that in the ticket. Most KDCs
// write it without realm; some escape what is special in it, others do not;
// and for clients that come through S4U2Self from another realm it has one.
// Names of accounts have no case in Active Directory, and a client may write
// its own as it likes.
func isClientOfPAC(name string, client Principal) bool {
	plain := strings.Join(client.Components, "/")
	for _, want := range []string{plain, client.Name(), plain + "@" + client.Realm, client.String()} {
		if strings.EqualFold(name, want) {
			return true
		}
	}
	return false
}

// verifyPAC is the pac.Verifier with this key.
func (k *serviceKey) verifyPAC(checksumType int32, message, checksum []byte) bool {
	e := k.ticket.encryption
	return checksumType == e.checksumType && hmac.Equal(e.checksum(k.pac, usagePAC, message), checksum)
}

// Groups are the security identifiers (SIDs) of the client, for example
// "S-1-5-21-3623811015-3361044348-30300820-1103": its own, that of its primary
// group, and those of the groups that its domain controller found it to be a
// member of. They come from the PAC of the ticket, which was verified with the
// service's key. A ticket without a PAC, or one from a KDC that knows no
// groups, has none; see HasPAC.
//
// For a client of a trusted domain these are the groups that its own domain's
// controller claims, and those of our domain that our KDC added. It is our KDC
// that must drop what the other has no right to claim (SID filtering; MS-PAC,
// section 4.1.2): it signs what is left, and nothing is left to tell them
// apart by. Where a trust is set up without SID filtering, its realm can put
// its clients into any of our groups; do not list it then.
func (c *AcceptorContext) Groups() []string {
	if len(c.groups) == 0 {
		return nil
	}
	list := make([]string, len(c.groups))
	for i, g := range c.groups {
		list[i] = g.Value()
	}
	return list
}

// Account is the client's account in its domain. The KDC found it by the name
// that the client gave, which need not be the account's: in Active Directory it
// can be the user principal name, an attribute to which others than
// administrators can be allowed to write any name.
type Account struct {
	Name string // sAMAccountName; of a machine, its name and "$"
	SID  string // security identifier; it stays when the account is renamed
}

// Account returns the client's account as the ticket's PAC names it, in
// UPN_DNS_INFO (MS-PAC, section 2.10) or in the logon information. It is zero
// if there is no PAC or the PAC names no account of a domain: those of MIT
// realms do not, nor do those that FreeIPA makes for hosts and services.
func (c *AcceptorContext) Account() Account { return c.account }

// HasPAC reports whether the ticket carried a PAC with logon information, so
// that Groups is complete. Otherwise it is unknown which groups the client is in:
// a client of Active Directory can ask for a ticket without PAC.
func (c *AcceptorContext) HasPAC() bool { return c.hasPAC }
