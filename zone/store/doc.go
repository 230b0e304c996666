// Package store is where the committed changes of one zone live.
//
// A zone is served from memory; the store is what makes an acknowledged update
// outlive the process, and what an incremental transfer (RFC 1995) is read
// from. It keeps three things together: the zone's records, who owns which
// name, and a bounded log of changes with the serial that each leads to.
//
// The flow is one-way and simple. A zone calls Load once when it starts. A
// store that was never filled says so, and the zone calls Init with its seed.
// From then on the zone's single writer calls Commit with one or more changes,
// and publishes them to readers only when Commit has returned nil. Changes may
// be called beside that by whoever serves transfers.
//
// Records are kept in wire form, as the zone itself holds them: the store
// neither parses nor checks DNS data. It knows nothing of package zone.
package store
