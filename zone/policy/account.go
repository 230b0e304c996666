package policy

import "strings"

// The name in a ticket is what the client asked for, and the account is what the KDC found by it.
// In Active Directory they can differ: the user principal name of a user can be set to
// host/client1.corp.test@CORP.TEST by anyone who may write that attribute. Where the ticket's PAC names
// the account, the account decides:
//
//	ticket                                account            it is
//	NAME$@REALM                           NAME$              the machine NAME
//	host/X@REALM                          X's first label, cut to 15 characters, and $
//	                                                         the machine X
//	NAME@REALM                            NAME               that principal
//	any other                             any other          the principal ACCOUNT@REALM, and no machine
//	any                                   none named         that principal, and the machine of that
//	                                                         name, unless RealmNamesAccounts
//
// Account names are compared without case, as Active Directory does.

// maxComputerName is the length to which Windows and Samba cut the name of a machine to make that of
// its account, without the final "$".
const maxComputerName = 15

// nullSID is the null SID (MS-DTYP section 2.4.2.4). It is recorded beside the owner if the ticket
// named no account although other tickets of its realm do.
const nullSID = "S-1-0-0"

// vouched reports whether the name in the ticket may be believed: it is that of the account, or no
// account is known in the whole realm.
func (id *Identity) vouched() bool {
	if id.Account == "" {
		return !id.RealmNamesAccounts
	}
	if len(id.Components) == 2 && id.Components[0] == "host" && isComputerAccount(id.Account, id.Components[1]) {
		return true
	}
	return equalFold(id.Account, strings.Join(id.Components, "/"))
}

// isComputerAccount reports whether an account is that of the machine with this host name.
func isComputerAccount(account, host string) bool {
	name, found := strings.CutSuffix(account, "$")
	if !found {
		return false
	}
	label, _, _ := strings.Cut(host, ".")
	return equalFold(name, label) || len(label) > maxComputerName && equalFold(name, label[:maxComputerName])
}

// isAccount reports whether the components of a principal name the client's account.
func (id *Identity) isAccount(components []string) bool {
	return id.Account != "" && len(components) == 1 && equalFold(components[0], id.Account)
}

// principalName is the principal that the client is taken for, with its realm: that of the ticket or,
// if the account is another one, that of the account.
func (id *Identity) principalName() string {
	if id.Account == "" || id.vouched() {
		return id.Name
	}
	return accountEscapes.Replace(id.Account) + "@" + id.Realm
}

// accountEscapes escapes what krb5_unparse_name escapes. No account of Active Directory has such
// characters in its name.
var accountEscapes = strings.NewReplacer(`/`, `\/`, `@`, `\@`, `\`, `\\`, "\n", `\n`, "\t", `\t`, "\b", `\b`, "\x00", `\0`)

// sid is the SID that is recorded beside the owner.
func (id *Identity) sid() string {
	if id.SID == "" && id.RealmNamesAccounts && id.Account == "" {
		return nullSID
	}
	return id.SID
}

// SplitOwner splits a recorded owner, as Identity.Owner returns it, into the principal, or "key:" and
// the name of an HMAC key, and the SID of the account, which is empty if it was not known.
func SplitOwner(owner string) (name, sid string) {
	// A principal ends in its realm, and a realm has no SID in it.
	if at := strings.LastIndexByte(owner, ' '); at >= 0 && strings.HasPrefix(owner[at+1:], "S-1-") {
		return owner[:at], owner[at+1:]
	}
	return owner, ""
}

// sameOwner reports whether a recorded owner is the given one. Where both have a SID, that decides:
// a renamed account keeps its names, and another account gets none by taking a name that is free
// again. A client without a SID does not own what was recorded with one, because a client can ask
// for a ticket that names no account. Without SIDs, realms compare exactly, as Kerberos does; what
// is before them without case, as host names and Active Directory's account names do.
func sameOwner(recorded, owner string) bool {
	a, sidA := SplitOwner(recorded)
	b, sidB := SplitOwner(owner)
	switch {
	case sidA == sidB && sidA != "" && sidA != nullSID:
		return true
	case sidA != sidB && (sidA != "" || sidB == nullSID):
		return false
	}
	return samePrincipal(a, b)
}

// lacksSID reports whether an owner was recorded without SID, and its SID is known now.
func lacksSID(recorded, owner string) bool {
	_, before := SplitOwner(recorded)
	_, now := SplitOwner(owner)
	return before == "" && now != ""
}

func samePrincipal(a, b string) bool {
	if a == b {
		return a != ""
	}
	if len(a) != len(b) {
		return false
	}
	at := realmAt(a) // and of b, if what follows is the same
	return at >= 0 && a[at:] == b[at:] && equalFold(a[:at], b[:at])
}

// isRecreated reports whether the client is a machine, and the owner an earlier account of that
// machine: of the same name and another SID. The account was deleted and made again, as when a
// machine is installed again.
func (s *subject) isRecreated(owner string) bool {
	name, sid := SplitOwner(owner)
	if sid == "" || sid == nullSID || s.SID == "" || s.SID == sid || !s.vouched || !strings.HasSuffix(s.Account, "$") {
		return false
	}
	components, realm := splitPrincipal(name)
	if realm != s.Realm {
		return false
	}
	switch {
	case len(components) == 1:
		return equalFold(components[0], s.Account)
	case len(components) == 2 && components[0] == "host":
		return isComputerAccount(s.Account, components[1])
	}
	return false
}

// isHostName reports whether a name, in wire form, can be the host name of the machine: in a ticket for
// host/X that is X, and else the account's name in the domain of the realm, or a longer one there that
// was cut to make the account's.
func (s *subject) isHostName(name []byte) bool {
	if s.host != "" {
		return string(name) == s.host
	}
	if len(name) == 0 || int(name[0]) >= len(name) {
		return false
	}
	label, domain := name[1:1+name[0]], name[1+name[0]:]
	return s.domain != "" && string(domain) == s.domain && isComputerAccount(s.Account, string(label))
}
