// Package disk is a store.Store in a directory, on the Pebble engine.
//
// The story of a commit. Commit puts the whole batch into one write to the
// engine, which is in its log and synced when the write returns: one sync a
// commit, however many changes. Then the number of that commit goes into a
// small file beside the engine, without a sync. That file never runs ahead of
// the engine, because it is written after the sync, so an engine found behind
// it has lost something that was acknowledged: a cut or flipped log, which
// engines take for the torn end that a crash leaves. Such a directory is
// refused.
//
// The story of a failure. Pebble ends the process when its log or its manifest
// cannot be written. Here it never learns of that. All it does to files goes
// through a fence, which at the first failure closes: from then on nothing
// reaches the disk any more, writes appear to succeed, and what is created
// lives in memory. So the files are as a crash at that moment would have left
// them, which is what the engine recovers from, and the old handle still
// answers Changes. Commit then opens the directory again beside it, and
// compares: if the failed commit reached the disk after all, a batch that
// restores what was there before is applied first. Until that has worked every
// Commit fails, and tries again, at most once in Options.Retry.
//
// The story of a start. Open locks the directory, checks whose zone it is, has
// the engine recover, checks the number of the last commit, and reads the log
// of changes, whose serials must form a chain up to the zone's own. Load then
// reads every record and so every block's checksum. A directory that fails any
// of this is refused with words on what to do, and left as it is.
//
// Layout of the directory: LOCK is locked while a Disk is open; ZONE says in
// text what this is, which format, and which zone; ACKNOWLEDGED holds the
// number of the last acknowledged commit; data is the engine's.
//
// Where what lives: disk.go opening, loading and closing, commit.go commits and
// their failures, init.go the first contents, history.go the log of changes,
// snapshot.go reading beside a running server, keys.go how things are encoded,
// engine.go and fence.go the engine and its fence, dir.go the directory.
package disk
