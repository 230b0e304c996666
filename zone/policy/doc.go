// Package policy decides whether a client may make an update to a zone.
//
// The signature of an update has been verified before it gets here; [Identity] is the result.
// [Policy.Authorizer] returns, for one identity, the function that the zone calls with the state
// that the update would apply to. The zone calls it before it compares any prerequisite (RFC 2136
// section 3.3), so that a client which may not change the zone learns nothing from their rcodes.
// The decision is about the update as a whole: if one record may not be changed, the whole update
// is refused.
//
// The [Mode] is checked first. The modes are those of Active Directory: none, secure (signed
// updates only), and nonsecure-and-secure. An update that the mode alone refuses does not wait for
// the zone's state. Then come the rules, with the words and the meaning of BIND's update-policy.
// They are compared in their order: the first rule whose identity, name and type match a record
// grants or denies its change. A record that no rule matches is refused. Deleting all RRsets of a
// name needs a grant for each type that exists there.
//
// In nonsecure-and-secure mode unsigned updates have the identity anonymous, which no other
// identity includes. They may do what grant anonymous owner . permits. If any rule names anonymous,
// or has the type tcp-self or 6to4-self, then the rules alone decide on unsigned updates.
//
// # The rule owner
//
// The rule type owner is an addition of this server, and the default if there are no rules. It does
// what Active Directory does with an access control list for each name:
//
//   - Any principal may change a name that has no records, and becomes its owner. From then on only
//     the owner may change it.
//   - When the last record of a name is deleted, the name keeps its owner for the tombstone
//     lifetime. A client can delete its records and add them again later without losing the name to
//     another client in between.
//   - Owners are recorded with the SID of the account, if the ticket tells it, and compared by it. A
//     machine whose account was made again takes over its host name, and names whose PTR records
//     point to it, from the earlier account.
//   - A machine may reclaim its own name, in the sense of krb5-self and ms-self, from a client that
//     registered it first. Active Directory would refuse the machine. What a principal of another
//     realm or the administrator has entered in the domain of a realm can be reclaimed only by
//     machines of that realm.
//   - Names created by a proxy, such as a DHCP server in the group DnsUpdateProxy, may be changed
//     by any client that signs, and belong to the first one that is not itself a proxy.
//   - Names that have records but no owner were entered by the administrator. Only the machine of
//     that name may change them. In nonsecure-and-secure mode any client may, because an unsigned
//     update could change them as well.
//   - An update that changes nothing is permitted for every client, because clients register the
//     same records again and again. Another TTL is a change.
//   - The apex, delegations and the glue below them, DNAME, wildcards, wpad, isatap and the
//     server's own names cannot be changed by this rule. A rule of the administrator, such as grant
//     admin@REALM zonesub ANY, can permit it.
//
// Whatever rule grants it, a signed change of a name without an owner makes the signer its owner,
// in every mode. A zone can therefore be switched to secure mode later without locking out its
// clients.
//
// # Differences from BIND 9.18
//
//   - Realms are compared exactly, including realms of wildcards; BIND compares principals in
//     identity fields without case. The part before the realm is compared without case, as in BIND
//     and Active Directory.
//   - More records than TYPE(MAX) permits refuse the update. BIND ignores the surplus and answers
//     NOERROR, which is neither atomic nor honest. A record that exists already, or replaces
//     another one, is no surplus.
//   - deny * includes clients that did not sign.
//   - 6to4-self takes IPv6 addresses from 2002::/16 only, as BIND's manual says; BIND takes the
//     first 48 bits of any address.
//   - self, selfsub and selfwild are for HMAC keys only, because a principal is not a domain name.
//   - Unsigned updates in secure mode are refused even if a tcp-self rule matches, as the mode
//     says.
//   - The identities anonymous and sid:S-1-... are additions; external is not supported.
//
// # Differences from Active Directory
//
// An update that is not permitted gets REFUSED (Active Directory: SERVFAIL). A machine can reclaim
// its own name. Some names are protected, see above. Owners are recorded in nonsecure mode too.
package policy
