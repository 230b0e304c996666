// Package etcd is a [store.Shared] in an etcd cluster: several servers serve one zone, and each takes updates.
//
// # Commit
//
// A zone has a head, which has its SOA record, a log with one entry per batch, and one key per name. A server evaluates a batch on the zone
// as it is at the head's revision m, and then asks etcd for one transaction: if the head's revision is still m,
// put the head, the entry and the names that the batch changes; else return the entries that were missed. So all
// servers together commit as one would (strict serializability). A batch that changes nothing makes the same
// comparison, because a decision on an outdated zone would not be valid either.
//
// An attempt without answer may have been done, or may be later. The same transaction is then asked for again, at
// another member. The first one to be done changes the head's revision, so that the other is not done, and its
// answer has the entry, with the id of the batch.
//
// Servers that lose commits to others take turns for a while. Nothing but fairness depends on that, nor on clocks
// or leases.
//
// # Following
//
// The other servers watch the log and apply its entries, which have serials, authors and times. So all have the
// same history, and a secondary server may ask any of them for an incremental transfer. Each entry has the id of
// the one before: a server notices that etcd holds another history than its own, as after a backup was restored,
// and refuses it with [store.ErrDiverged]. [Zone.NewEpoch] is how an administrator decides for what etcd holds.
//
// # Members
//
// One member is used at a time, and the next one takes over when a request is not answered in 600 ms. The servers
// need a majority of etcd's members for everything but [Zone.Changes] and [Zone.Log] of what is in memory.
//
// # What is trusted
//
// Whoever can write below the prefix can change the zones. What is read is decoded within bounds all the same, and
// a value that is not valid is an error that names its key. Sealed contexts are opaque here.
//
// etcd has to be of [MinVersion] or later, and has to compact its history.
package etcd
