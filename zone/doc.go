// Package zone is one authoritative DNS zone that takes dynamic updates.
//
// # Updates (RFC 2136)
//
// [Zone.Apply] does one update. It first checks the form of the message, without looking at the
// zone's data: the zone section (3.1), the prerequisites' form (3.2) and the prescan of the update
// section (3.4.1). Well-formed updates wait in a queue for the zone's single writer. The writer
// takes everything that waits as one batch. For each update it asks the caller's Authorize whether
// the update is permitted on the state that it would apply to (3.3). Only then does it compare the
// prerequisites with that state (3.2): the rcode of a prerequisite would tell a client about data
// that it may not change. It then works out the update section (3.4.2). The changes of a batch go
// to the store in one commit. When that is durable, the new state is published, and each update gets
// its own [Result].
//
// # Several servers
//
// A zone in a store.Shared is changed by several servers, each of which takes updates. A writer
// proposes the changes of a batch for the position in the store at which it has evaluated them. If the
// zone is at another position, because another server was faster, the writer applies what that one has
// committed, and evaluates all of the batch again: Authorize is asked again, and prerequisites are
// compared again. An answer that changes nothing rests on the state as well, so it is given only after
// the store has confirmed the position. That makes updates linearizable: every outcome is one that a
// single server could have had. Nothing rests on clocks or on who is the leader of something.
//
// Another goroutine follows the store, and applies what other servers commit. The state is then the
// same as theirs, to the octet. Queries never wait: they are answered from the published state, which
// may be behind for some milliseconds, or for as long as the store is out of reach: [Zone.Confirmed].
//
// The outcome of a commit can be unknown. The update is then answered with SERVFAIL and never proposed
// again by the server itself; whether it was done is learned from the store. [Update.Mark] keeps a
// message from being done by two servers.
//
// # Queries (RFC 1034 section 4.3.2)
//
// [Zone.Snapshot] is one atomic load. A [Snapshot] never changes, so [Snapshot.Lookup] takes no
// lock and sees either all of an update or nothing of it. Names are in a tree in the canonical
// order of RFC 4034 section 6.1. Answers are those of the zone's authority: delegations and glue,
// CNAME chains, DNAME (RFC 6672), wildcards (RFC 4592), and negative answers with the SOA (RFC
// 2308).
//
// The tree is copy-on-write. A new state shares with the previous one everything that the update
// did not change, so that the cost of an update does not depend on the size of the zone. Empty
// non-terminals are nodes of the tree, so that the closest encloser of a missing name is found from
// the name before it alone.
//
// # Octets
//
// Names and rdata are octets in wire form. An update is parsed from the octets of its message; what
// is valid is stored, compared and transferred as it came, decompressed. The structs of miekg/dns
// are made for answers and transfers alone, and pack to the same octets. Names compare without case
// and keep the spelling in which they were entered while they have records (RFC 1034 section 3.1).
//
// # Authority
//
// This package does not decide who may do what. It records for each name its owner, which package
// [github.com/gsstsig/coredns-gsstsig/zone/policy] decides by, and keeps that record for some time
// after the last resource record of the name was deleted.
package zone
