package policy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/zone"
)

// Kind says how the client of an update is authenticated.
type Kind int

const (
	// Anonymous is the sender of an unsigned update: only its address is known, and over UDP not
	// even that.
	Anonymous Kind = iota
	// Kerberos is a principal that signed by GSS-TSIG (RFC 3645).
	Kerberos
	// Static is the holder of an HMAC key (RFC 8945).
	Static
	// Administrator is who administers the server on its own machine. Everything is permitted but
	// what a rule "deny administrator" names.
	Administrator
)

// AdministratorName is the word for the administrator, in rules and in the log.
const AdministratorName = "administrator"

// Identity is the authenticated client of an update, as established by the layer that verified the
// signature. This package does not modify it.
type Identity struct {
	// Kind says which of the other fields mean something.
	Kind Kind
	// Name is the principal with its realm as MIT's krb5_unparse_name writes it
	// (host/a.example.test@EXAMPLE.TEST), or the canonical name of the HMAC key; empty for
	// Anonymous.
	Name string
	// Components and Realm are the parts of the principal, unescaped, from the decrypted ticket.
	Components []string
	Realm      string
	// Client is the address that the message came from, and TCP whether the transport proves that
	// address.
	Client netip.Addr
	TCP    bool
	// Groups are the SIDs that the ticket's authorization data vouches for.
	Groups []string
	// HasPAC says that the ticket had a PAC with logon information, so that Groups is complete. A
	// client without is in every group that a rule denies something to.
	HasPAC bool
	// Account is the client's account (sAMAccountName) and SID its security identifier, as the PAC
	// names them; empty if it does not.
	Account, SID string
	// RealmNamesAccounts says that tickets of machines of this realm carry PACs that name their
	// accounts, as in Active Directory. One without, which a client can ask for, is no machine's.
	RealmNamesAccounts bool
}

// String names the identity for a log line, with the account if that is not what the ticket's name
// says.
func (id Identity) String() string {
	switch id.Kind {
	case Kerberos:
		if id.Account != "" && !id.vouched() {
			return id.Name + " (account " + id.Account + ")"
		}
		return id.Name
	case Static:
		return "key " + id.Name
	case Administrator:
		return AdministratorName
	}
	return "anonymous"
}

// keyOwner marks an owner that is an HMAC key. No principal is written so: a principal ends in its
// realm, a key name in a dot.
const keyOwner = "key:"

// firstComeOwner is recorded for a name that the first client which signs and changes it by the rule
// owner becomes the owner of: what a proxy has created, and what the administrator has marked so.
const firstComeOwner = FirstCome

// FirstCome is the recorded owner of a name that is open to the first client that signs.
const FirstCome = zone.FirstComeOwner

// administratorOwner is recorded for a name without records that stays the administrator's. The name
// is then decided on as if it had records and no owner, which it had before.
const administratorOwner = zone.AdministratorOwner

// signedOwner is recorded in nonsecure-and-secure mode for a name that a client created with its
// signature and may not own. It is the administrator's, and closed to unsigned updates.
const signedOwner = zone.SignedOwner

// Owner is the form in which the identity is recorded as the owner of a name, and which SplitOwner
// reads: the principal and, after a space, the SID of its account if that is known; or "key:" and the
// name of an HMAC key. It is empty for Anonymous, which owns nothing, and for Administrator, whose names
// are those without an owner.
func (id Identity) Owner() string {
	switch id.Kind {
	case Kerberos:
		if sid := id.sid(); sid != "" {
			return id.principalName() + " " + sid
		}
		return id.Name
	case Static:
		return keyOwner + canonicalText(id.Name)
	}
	return ""
}

// realmAt returns the index of the '@' before the realm of an unparsed principal, the last one that
// is not escaped, or -1.
func realmAt(principal string) int {
	for i := len(principal) - 1; i >= 0; i-- {
		if principal[i] == '@' && !escaped(principal, i) {
			return i
		}
	}
	return -1
}

// subject is an identity with everything that rules compare with, computed once.
type subject struct {
	Identity
	owner   string
	vouched bool   // the principal's name may be believed; if not, host and machine are for deny rules alone
	host    string // the name of host/NAME@REALM; else empty
	machine string // NAME.REALM of NAME$@REALM; else empty
	key     string // name of the HMAC key; else empty
	domain  string // of the realm; else empty
	local   string // the components without escapes, joined by '/'
	reverse string // name of the client's address below in-addr.arpa or ip6.arpa
	sixto4  string // name of the client's 6to4 prefix below ip6.arpa

	domains  []string // of the permitted client realms, as far as the policy knows them
	partners bool     // clients of several realms are permitted
	rules    []*rule  // those whose identity fits
}

func newSubject(id Identity, domains []string) *subject {
	s := &subject{Identity: id, owner: id.Owner(), domains: domains}
	switch id.Kind {
	case Kerberos:
		s.vouched = id.vouched()
		s.host, s.machine = machineNames(id.Components, id.Realm)
		s.local = strings.Join(id.Components, "/")
		s.domain = realmDomain(id.Realm)
	case Static:
		s.Name = canonicalText(id.Name)
		s.key, _ = parseName(id.Name)
	}
	if id.TCP {
		s.reverse = reverseName(id.Client)
		s.sixto4 = sixToFourName(id.Client)
	}
	return s
}

// machineNames returns the domain name of a machine principal: host for host/NAME@REALM, machine
// for the Windows form NAME$@REALM. "host" is compared exactly, as BIND and Kerberos do.
func machineNames(components []string, realm string) (host, machine string) {
	switch {
	case len(components) == 2 && components[0] == "host":
		host, _ = hostName(components[1])
	case len(components) == 1:
		account, found := strings.CutSuffix(components[0], "$")
		if !found || strings.IndexByte(account, '.') >= 0 {
			return "", ""
		}
		if _, ok := hostName(account); ok {
			machine, _ = hostName(account + "." + realm)
		}
	}
	return host, machine
}

// isMachine reports whether the client is the machine of that name.
func (s *subject) isMachine(name string) bool {
	return s.vouched && name != "" && (s.host == name || s.machine == name)
}

// splitPrincipal splits the name of a recorded owner into components and realm. It does not remove
// escapes, because the name of a machine has none.
func splitPrincipal(owner string) (components []string, realm string) {
	at := realmAt(owner)
	if at < 0 {
		return nil, "" // an HMAC key, a proxy, or no owner
	}
	return strings.Split(owner[:at], "/"), owner[at+1:]
}

// realmDomain returns the domain whose name a realm has, empty if it is no domain name.
func realmDomain(realm string) string {
	domain, ok := parseName(realm)
	if !ok || domain == root {
		return ""
	}
	return domain
}

// suffix returns how many octets at the end of a name are a domain: 0 if the name is neither that
// domain nor below it.
func suffix(domain, name string) int {
	if !subdomain(name, domain) {
		return 0
	}
	return len(domain)
}

// precedence returns the precedence of a machine's claim to a name: 0 if it is not the machine of
// that name, otherwise more if a longer part of the name is the domain of its own realm. The
// principal host/a.example.test of EXAMPLE.TEST precedes the principal of the same name in a
// foreign realm.
func precedence(host, machine, domain, name string) int {
	if name == "" || host != name && machine != name {
		return 0
	}
	return 1 + suffix(domain, name)
}

// mayReclaim reports whether s may take the name from owner because it is the machine of that name;
// an empty owner is the administrator. Within one realm the machine always may: two principals of
// one machine (host/a.example.test and A$) can take the name from each other. From an owner of
// another realm a machine may take only a name of which no other realm, of the permitted ones or
// the owner's, has a longer suffix. A right to create principals in one realm must give no rights in
// the domain of another. A domain that belongs to no realm is that of the only permitted one; if there
// are several, none of them reaches over what another realm or the administrator has there.
func (s *subject) mayReclaim(name, owner string) bool {
	mine := precedence(s.host, s.machine, s.domain, name)
	if mine == 0 || !s.vouched {
		return false
	}
	principal, _ := SplitOwner(owner)
	components, realm := splitPrincipal(principal)
	if realm != "" && realm == s.Realm {
		return true
	}
	host, machine := machineNames(components, realm)
	domain := realmDomain(realm)
	if mine <= precedence(host, machine, domain, name) {
		return false
	}
	own := suffix(s.domain, name)
	if own == 0 && s.partners {
		return false
	}
	return suffix(domain, name) <= own &&
		!slices.ContainsFunc(s.domains, func(other string) bool { return suffix(other, name) > own })
}
