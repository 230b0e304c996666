package policy

import (
	"net/netip"
	"slices"
	"strings"
)

// Kind says how the sender of an update is known.
type Kind int

const (
	// Anonymous is the sender of an unsigned update: only its address is
	// known, and over UDP not even that.
	Anonymous Kind = iota
	// Kerberos is a principal that signed by GSS-TSIG (RFC 3645).
	Kerberos
	// Static is the holder of an HMAC key (RFC 8945).
	Static
)

// Identity is who sent an update, as the layer that verified the signature
// says. It is read, never written, by this package.
type Identity struct {
	Kind Kind
	// Name is the principal with its realm as MIT's krb5_unparse_name writes
	// it (host/a.example.test@EXAMPLE.TEST), or the canonical name of the
	// HMAC key; empty for Anonymous.
	Name string
	// Components and Realm are the parts of the principal, unescaped, from
	// the decrypted ticket.
	Components []string
	Realm      string
	// Client is the address that the message came from, and TCP whether the
	// transport proves that address.
	Client netip.Addr
	TCP    bool
	// Groups are the SIDs that the ticket's authorization data vouches for.
	Groups []string
}

// String names the identity for a log line.
func (id Identity) String() string {
	switch id.Kind {
	case Kerberos:
		return id.Name
	case Static:
		return "key " + id.Name
	}
	return "anonymous"
}

// keyOwner marks an owner that is an HMAC key. No principal is written so:
// a principal ends in its realm, a key name in a dot.
const keyOwner = "key:"

// proxyOwner is recorded for a name that a proxy has made: it is open to
// whoever signs.
const proxyOwner = "proxy:"

// Owner is the form in which the identity is recorded as the owner of a name:
// the principal, or "key:" and the name of an HMAC key. It is empty for
// Anonymous, who owns nothing.
func (id Identity) Owner() string {
	switch id.Kind {
	case Kerberos:
		return id.Name
	case Static:
		return keyOwner + canonical(id.Name)
	}
	return ""
}

// sameOwner reports whether two recorded owners are the same one. Realms
// compare exactly, as Kerberos does; what is before them without case, as
// host names and Active Directory's account names do.
func sameOwner(a, b string) bool {
	if a == b {
		return a != ""
	}
	if len(a) != len(b) {
		return false
	}
	at := realmAt(a) // and of b, if what follows is the same
	return at >= 0 && a[at:] == b[at:] && equalFold(a[:at], b[:at])
}

// realmAt returns the index of the '@' before the realm of an unparsed
// principal, the last one that is not escaped, or -1.
func realmAt(principal string) int {
	for i := len(principal) - 1; i >= 0; i-- {
		if principal[i] == '@' && !escaped(principal, i) {
			return i
		}
	}
	return -1
}

// subject is an identity with what the rules ask of it worked out once.
type subject struct {
	Identity
	owner   string
	host    string // the name of host/NAME@REALM, canonical; else empty
	machine string // NAME.REALM of NAME$@REALM, canonical; else empty
	local   string // the components without escapes, joined by '/'
	reverse string // name of the client's address below in-addr.arpa or ip6.arpa
	sixto4  string // name of the client's 6to4 prefix below ip6.arpa

	realms []string // those let in, as far as the policy knows them
}

func newSubject(id Identity, realms []string) *subject {
	s := &subject{Identity: id, owner: id.Owner(), realms: realms}
	switch id.Kind {
	case Kerberos:
		s.host, s.machine = machineNames(id.Components, id.Realm)
		s.local = strings.Join(id.Components, "/")
	case Static:
		s.Name = canonical(id.Name)
	}
	if id.TCP {
		s.reverse = reverseName(id.Client)
		s.sixto4 = sixToFourName(id.Client)
	}
	return s
}

// machineNames returns the domain name of a machine principal: host for
// host/NAME@REALM, machine for the Windows form NAME$@REALM. "host" is
// compared exactly, as BIND and Kerberos do.
func machineNames(components []string, realm string) (host, machine string) {
	switch {
	case len(components) == 2 && components[0] == "host":
		host, _ = hostText(components[1])
	case len(components) == 1:
		account, found := strings.CutSuffix(components[0], "$")
		if !found || strings.IndexByte(account, '.') >= 0 {
			return "", ""
		}
		if _, ok := hostText(account); ok {
			machine, _ = hostText(account + "." + realm)
		}
	}
	return host, machine
}

// splitOwner takes a recorded owner apart far enough to recognize a machine,
// and the realm of any principal. Escapes stay: no machine's name has any.
func splitOwner(owner string) (components []string, realm string) {
	at := realmAt(owner)
	if at < 0 {
		return nil, "" // an HMAC key, a proxy, or nobody
	}
	return strings.Split(owner[:at], "/"), owner[at+1:]
}

// held says how many octets of a canonical name are the domain of a realm: 0
// when the name is neither that domain nor below it.
func held(realm, name string) int {
	start := len(name) - 1 - len(realm)
	if start < 0 || start > 0 && name[start-1] != '.' || !equalFold(name[start:len(name)-1], realm) {
		return 0
	}
	return len(realm)
}

// claim says how good a machine's claim to a name is: 0 when it is not the
// machine of that name; otherwise the better, the more of the name is the
// domain of its own realm. So host/a.example.test of EXAMPLE.TEST outdoes the
// principal of the same name that a foreign realm has made up.
func claim(host, machine, realm, name string) int {
	if name == "" || host != name && machine != name {
		return 0
	}
	return 1 + held(realm, name)
}

// mayTakeBack reports whether s, by its own name, goes before owner at name;
// an empty owner is the administrator. Principals of one realm vouch for each
// other: two of the same machine (host/a.example.test and A$) pass a name
// between them freely. What is not its own realm's a machine takes only where
// no other realm, of those let in or the owner's, holds more of the name: who
// can make principals up in one realm is not to reach into the domain of
// another. In a domain that is no realm's the name alone counts.
func (s *subject) mayTakeBack(name, owner string) bool {
	mine := claim(s.host, s.machine, s.Realm, name)
	if mine == 0 {
		return false
	}
	components, realm := splitOwner(owner)
	if realm != "" && realm == s.Realm {
		return true
	}
	host, machine := machineNames(components, realm)
	if mine <= claim(host, machine, realm, name) {
		return false
	}
	own := held(s.Realm, name)
	return held(realm, name) <= own &&
		!slices.ContainsFunc(s.realms, func(other string) bool { return held(other, name) > own })
}
