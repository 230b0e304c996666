// Package zone is one authoritative DNS zone that takes dynamic updates.
//
// The story of an update (RFC 2136). A message arrives at Apply. Its form is
// checked first, without looking at the zone's data: the zone section (3.1),
// the prerequisites' shape (3.2) and the update section's prescan (3.4.1).
// Well-formed updates queue for the zone's one writer, which is an Apply that
// finds nobody at work, or else a goroutine of the zone. The writer takes all
// that wait, and for each in turn asks the caller's Authorize whether it may be
// done to the state it would apply to (3.3), only then compares the
// prerequisites with that state (3.2), so that nobody learns from their rcodes
// what they may not touch, and works out the update section (3.4.2). The net
// effects go to the store in one Commit; when that has returned, the new state
// is published and every update in the batch gets its own answer.
//
// The story of a query (RFC 1034 section 4.3.2). Snapshot is one atomic load.
// What it returns never changes, so Lookup takes no lock and sees all of an
// update or nothing of it. It finds the name in a tree kept in the canonical
// order of RFC 4034 section 6.1, and answers as the zone's authority: zone cuts
// and glue, CNAME chains, DNAME (RFC 6672), wildcards (RFC 4592), and negative
// answers with the SOA (RFC 2308).
//
// The tree is copy-on-write: a new state shares with the old one all that the
// update did not touch, and an update costs what it changes, whatever the size
// of the zone. Every name that has a name with records below it is a node
// too (an empty non-terminal), so that the closest encloser of a missing name
// is found from its neighbour alone.
//
// Who may do what is not decided here. The zone only remembers, for package
// zone/policy, to whom a name belongs, and keeps that for a while after the
// name's records went.
//
// Where what lives: name.go names and keys, rdata.go wire rdata, node.go the
// RRsets of one name, snapshot.go the immutable state, lookup.go answers,
// request.go the form of an update, evaluate.go its effect, writer.go the
// queue and the commit, zone.go opening and closing, seed.go master files.
package zone
