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
// what Active Directory does with an access control list for each name, with the differences that are
// named here:
//
//   - Any principal may create a name that has no records, and becomes its owner. From then on only
//     the owner may change it.
//   - When the last record of a name is deleted, the name keeps its owner for the tombstone
//     lifetime. A client can delete its records and add them again later without losing the name to
//     another client in between.
//   - Owners are recorded with the SID of the account, if the ticket tells it, and compared by it. A
//     machine whose account was made again takes over its host name, and names whose PTR records
//     point to it, from the earlier account.
//   - Names that have records but no owner are the administrator's, and closed. In
//     nonsecure-and-secure mode clients that sign may change them as far as unsigned updates may.
//   - Names below another name are created by the owner of that one. Service labels below a name are
//     changed by its owner, even if another client created them.
//   - A machine may take its own name, in the sense of krb5-self and ms-self, from a client that
//     registered it first and from the administrator, as far as [Reclaim] permits it. What a
//     principal of another realm or the administrator has entered in the domain of a realm can be
//     reclaimed only by machines of that realm, and elsewhere only if one realm alone is permitted.
//   - The reverse name of an address goes to the client that sends from that address by TCP, if its PTR
//     records lead to names of that client.
//   - Names created by a proxy, such as a DHCP server in the group DnsUpdateProxy, may be changed
//     by any client that signs, and belong to the first one that is not itself a proxy.
//   - An update that changes nothing is permitted for every client, because clients register the
//     same records again and again. Another TTL is a change.
//   - The apex, service labels directly below it, name servers of the zone, delegations and the glue
//     below them, DNAME, wildcards, wpad, isatap and the server's own names cannot be changed by this
//     rule. Names that the zone's MX and SRV records lead to are changed by their owners only. A rule
//     of the administrator, such as grant admin@REALM zonesub ANY, can permit it.
//
// Only what the rule owner grants makes the signer the owner of a name: a right does not grow by being
// used. What other rules create is the administrator's.
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
// An update that is not permitted gets REFUSED (Active Directory: SERVFAIL). Names are protected,
// reclaimed and moved as said above. Owners are recorded in nonsecure mode too.
package policy
