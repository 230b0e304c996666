// Package store defines where the committed changes of one zone are kept.
//
// A zone is served from memory. The store makes an acknowledged update outlive the process, and is
// what incremental transfers (RFC 1995) are read from. It keeps three things: the zone's records,
// the owner of each name, and a bounded log of changes with the serial that each one leads to, its
// author and its time.
//
// A zone calls Load once, at start. If the store was never filled, the zone calls Init with its
// initial contents. From then on the zone's single writer calls Commit with one or more changes,
// and publishes them to readers when Commit has returned nil. Changes may be called at any time by
// zone transfers.
//
// Records are in wire form, as the zone itself holds them. A store neither parses nor validates DNS
// data, and does not know package zone.
//
// That is a [Store], of one process. A [Shared] store keeps a zone that several servers change. Each
// evaluates updates on the state that it has, and proposes the changes: they are committed only if
// nobody else has committed any since. Otherwise the server is told what it has missed. [Exclusive]
// makes a Shared of a Store, so that a zone has one way to commit.
//
// [Memory] keeps everything in memory. Package disk keeps it in a directory. Package storetest
// tests any implementation against the contracts of Store and Shared.
package store
