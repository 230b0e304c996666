// Package policy decides whether a sender may do an update to a zone.
//
// The story. By the time an update gets here its signature has been verified:
// what is left of it is an Identity. Authorizer turns that into the function
// which the zone calls with the very state that the update would apply to,
// before it compares a single prerequisite (RFC 2136 section 3.3), so that
// who may not change a zone learns nothing from it. The answer is about the
// update as a whole: one record that may not change refuses all of them.
//
// First the Mode decides, as in Active Directory: none, secure (signed updates
// only), nonsecure-and-secure. What it alone refuses, Update has refused
// without a wait for the zone's state. Then the rules, in the words and the meaning of
// BIND's update-policy, in their order: the first rule whose identity, name
// and type fit a record grants or denies its change, and no rule is a refusal.
// The deletion of everything at a name asks for each type that is there.
//
// In nonsecure-and-secure mode unsigned updates have the identity anonymous,
// which no other identity includes, and may do what grant anonymous owner .
// lets them. Where any rule names anonymous, or has the type tcp-self or
// 6to4-self, the rules alone decide on them.
//
// The rule owner is this server's own, and without rules the default. It is
// what Active Directory does with an access list on each name:
//
//   - Any principal may change a name that has no records, and becomes its
//     owner. From then on only the owner may change it.
//   - When the last record goes, the name still belongs to its owner for a
//     while, so that a delete and a later add by the same client work and
//     nobody gets in between.
//   - The machine whose own name it is, in the sense of krb5-self and ms-self,
//     may take it back from whoever came first. Active Directory would lock it
//     out. What another realm's principal or the administrator has in the
//     domain of a realm is for the machines of that realm only.
//   - What a proxy makes for others, such as a DHCP server in the group
//     DnsUpdateProxy, is open to whoever signs, and belongs to the first of
//     them that is no proxy.
//   - Names with records but without an owner were entered by the
//     administrator and are closed to all but the machine of that name. In
//     nonsecure-and-secure mode they are open, since an unsigned update might
//     change them too.
//   - An update that changes nothing is fine from anybody. Clients register
//     again and again what is there already; a TTL alone is a change.
//   - The apex, delegations and the glue below them, DNAME, wildcards, wpad,
//     isatap and the server's own names are out of its reach for everybody.
//     An administrator's rule, such as grant admin@REALM zonesub ANY, reaches
//     them.
//
// Whatever rule grants it, a signed change of a name without an owner makes the
// signer its owner, in every mode: a zone can be switched to secure later
// without locking anybody out.
//
// Where it differs from BIND 9.18, and why:
//
//   - Realms compare exactly, wildcards for realms included; BIND compares
//     principals in identity fields without case. What is before the realm
//     compares without case, as in BIND and Active Directory.
//   - More records than TYPE(MAX) allows refuse the update. BIND leaves the
//     surplus out and answers NOERROR, which is neither atomic nor honest. A
//     record that is there already, or takes the place of another, is no
//     surplus.
//   - deny * means those who did not sign as well.
//   - 6to4-self takes IPv6 addresses from 2002::/16 only, as BIND's manual
//     says; BIND takes the first 48 bits of any.
//   - self, selfsub and selfwild are for HMAC keys only: a principal is no
//     domain name.
//   - Unsigned updates in secure mode are refused even where a tcp-self rule
//     would fit: that is what the mode says.
//   - The identities anonymous and sid:S-1-... are additions, external is
//     missing.
//
// Where it differs from Active Directory: what is not permitted is REFUSED
// (there SERVFAIL), a squatter does not lock a machine out, the protected names
// above, and an owner that is recorded in nonsecure mode too.
//
// What lives where: mode.go, identity.go (senders and owners), pattern.go (who
// a rule means), rule.go (what a rule covers), parse.go (its text), name.go and
// address.go (domain names), policy.go (New, Update, Authorizer), trial.go (one
// update before the rules), owner.go (the rule owner), effect.go (what an
// update would change).
package policy
