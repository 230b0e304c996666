package krb5

import (
	"slices"
	"strings"
)

// TransitPolicy says through which realms a ticket may have come. The KDC of
// every realm on the path could have invented the client, so each realm must be
// trusted to vouch for clients of the client's realm.
//
// For a pair of client's and service's realm that the section [capaths] of a
// krb5.conf names, the realms between them are those listed there. For all
// other pairs they are those of the hierarchy (RFC 4120, section 1.2): the
// realms above the client's and above the service's, up to the first that is
// above both. As with MIT Kerberos the list is a set: a path may leave
// realms out and have them in any order. Tickets that came directly from the
// client's realm are not checked, with one exception: if the acceptor has a key
// for tickets of the client's own realm, a ticket of another realm's KDC needs an
// entry in [capaths].
//
// The zero value knows only the hierarchy. A TransitPolicy must not be changed
// while in use.
type TransitPolicy struct {
	// TrustKDC accepts every path that the service's KDC has marked as checked
	// (TRANSITED-POLICY-CHECKED; RFC 4120, section 2.7). The paths here then
	// decide only about tickets without that mark.
	TrustKDC bool

	paths map[realmPair][]string
}

type realmPair struct{ client, service string }

// between are the realms that may lie between two, these included.
func (p *TransitPolicy) between(client, service string) []string {
	list := []string{client, service}
	if listed, ok := p.paths[realmPair{client, service}]; ok {
		return append(list, listed...)
	}
	var common string
	for r := client; r != ""; r = superior(r) {
		if r == service || isAbove(r, service) {
			common = r
			break
		}
	}
	for _, from := range []string{client, service} {
		for r := from; r != common && r != ""; r = superior(r) {
			list = append(list, r)
		}
	}
	if common != "" {
		list = append(list, common)
	}
	return list
}

// transit is what a ticket says of the realms that it came through.
type transit struct {
	checked  bool // by the KDC
	encoding int32
	realms   []byte // empty for one hop
}

// way is how the ticket came.
func (p *encTicketPart) way() transit {
	return transit{checked: p.flags.has(ticketTransitChecked), encoding: p.transitedType, realms: p.transited}
}

// checkTransit is the check of RFC 4120, section 2.7.
func (h *handshake) checkTransit() *Error {
	return h.acceptor.checkTransit(h.ticket.client, h.service.Realm, h.ticket.way())
}

// checkTransit also refuses a ticket of another realm's KDC for a client of a
// realm whose own KDC could have made it, since there is a key for that.
// Otherwise the other KDC could impersonate any client of that realm. An entry in
// [capaths] permits it; the mark of that KDC, that it has checked the way, does
// not.
func (a *Acceptor) checkTransit(client Principal, service string, way transit) *Error {
	if client.Realm != service && !a.transit.lists(client.Realm, service) && a.servesRealm(client.Realm) {
		return &Error{
			Code: codePathRefused,
			Reason: "the ticket of " + client.shown() + " was made by the KDC of " + shown(service) + ", and there is a key for tickets of " +
				shown(client.Realm) + " itself",
			Fix: "have the client ask for a ticket in its own realm; if " + shown(service) + " may issue tickets for all clients of " + shown(client.Realm) +
				", list it in [capaths] of krb5.conf: " + shown(client.Realm) + " = { " + shown(service) + " = . }",
			err: ErrNotAccepted,
		}
	}
	return a.transit.check(client, service, way)
}

// servesRealm reports whether there is a key for tickets of the realm's own KDC.
func (a *Acceptor) servesRealm(realm string) bool {
	now := a.now()
	for _, keys := range a.keytabs.set.Load().services {
		for _, k := range keys {
			if k.principal.Realm == realm && k.usable(now) && a.serves(k.principal) {
				return true
			}
		}
	}
	return false
}

// lists reports whether [capaths] has an entry for clients of one realm at
// services of another.
func (p *TransitPolicy) lists(client, service string) bool {
	_, ok := p.paths[realmPair{client, service}]
	return ok
}

// check says why a ticket of the client for a service of that realm may not
// have come that way, nil if it may.
func (p *TransitPolicy) check(of Principal, service string, way transit) *Error {
	if len(way.realms) == 0 || (p.TrustKDC && way.checked) {
		return nil
	}
	client := of.Realm
	refuse := func(reason, fix string) *Error {
		return &Error{
			Code:   codePathRefused,
			Reason: "the ticket of " + of.shown() + " came through other realms: " + reason,
			Fix:    fix,
			err:    ErrNotAccepted,
		}
	}
	if way.encoding != transitedCompressed {
		return refuse("they are listed in an encoding that is not known", "")
	}
	through, err := decodeTransited(way.realms, client, service)
	if err != nil {
		return refuse(err.Error(), "")
	}
	allowed := p.between(client, service)
	for _, hop := range through {
		if slices.Contains(allowed, hop) {
			continue
		}
		path := strings.Join(append(append([]string{client}, through...), service), " > ")
		return refuse(shown(path)+", of which "+shown(hop)+" is not trusted",
			"if it is to be trusted for clients of "+shown(client)+", list it in [capaths] of krb5.conf: "+
				shown(client)+" = { "+shown(service)+" = "+shown(hop)+" }")
	}
	return nil
}
