// Package linearizable finds out whether several servers of one zone answered updates as a single server would that does
// one after the other: RFC 2136 with its prerequisites, and the default rule of secure mode, by which a name belongs to the
// principal that created it.
//
// A [Generator] makes updates of few names, so that much of it meets. A [History] records when each was sent and how it was
// answered, and searches for an order that explains all answers and respects time: an update that was answered before
// another was sent comes before it. Porcupine does the search; where it does not end in time and the zone's changes are
// known, a search that makes use of them decides. An update without an answer, or with SERVFAIL, may come anywhere after it
// was sent, or never. Queries are no part of a history, as they may be stale, but for the contents of the zone in the end.
//
// A [Chain] is the zone's changes as a secondary server gets them. It is the same at every server, and shows whether an
// update was done twice.
package linearizable
