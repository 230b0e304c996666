package store

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Sentinel errors of a Shared store, to be compared with [errors.Is].
var (
	// ErrConflict is returned by Propose and Confirm if the zone is not at that position any more.
	// Nothing was committed.
	ErrConflict = errors.New("store: another server has changed the zone meanwhile")
	// ErrUnknown is returned by Propose and Confirm if the store did not tell the outcome in time.
	// The batch may have been committed, or may be later; Follow, or a later ErrConflict, tells.
	ErrUnknown = errors.New("store: the outcome of a commit is not known")
	// ErrTooLarge is returned by Propose for a batch that the store cannot commit in one piece.
	// Nothing was committed.
	ErrTooLarge = errors.New("store: batch is too large")
	// ErrDiverged is returned if the store holds a state that does not descend from the one at the
	// position given, for instance an older one from a backup. An administrator has to decide.
	ErrDiverged = errors.New("store: holds another history of the zone")
	// ErrUnreadable is returned if the store holds a value that no server of this version writes.
	ErrUnreadable = errors.New("store: holds a value that cannot be read")
)

// A Position is a state of the zone in a Shared store.
type Position struct {
	// Sequence counts the batches that were committed. It is what orders positions.
	Sequence uint64
	// Serial is the zone's serial there.
	Serial uint32
	// Epoch is higher in a state after an administrator has declared what the store holds to be the zone,
	// as after a backup was restored.
	Epoch uint32
	// Revision and Batch are for the store's own use.
	Revision int64
	Batch    [16]byte
}

// A Mark identifies a signed message, so that an update is done at most once although every server
// would accept it. The zero value is no mark.
type Mark struct {
	// Context identifies the security context in all servers.
	Context [16]byte
	// Number is the message's number in that context.
	Number uint64
}

// A Freeze says that servers refuse updates. The zero value says that they take them.
type Freeze struct {
	// Since is when that began.
	Since time.Time
	// Sealed says that those of the administrator are refused as well.
	Sealed bool
}

// A Batch is what one server commits in one piece.
type Batch struct {
	Changes []Change
	// Marks are those of the updates that are not to be done again: also of some that changed nothing. A
	// batch may have marks alone.
	Marks []Mark
	// Frozen, unless nil, freezes the zone for all servers; the zero value thaws it. An exclusive store does
	// not keep it.
	Frozen *Freeze
	// At returns what a name holds after the batch: all of its records, and its owner, if it has one. A
	// store that lists whole names calls it during Propose, for names, in lower case, that Changes touch.
	// It is nil in what a store returns, and an exclusive store does not call it.
	At func(name string) (records []Record, owner *Owner)
}

// A Committed is a batch in the store's log.
type Committed struct {
	// Batch may be shared with other callers, and is not to be modified. What it has of the log of
	// changes is complete: Refreshed, Owners and Disowned too.
	Batch
	// Position is that after the batch.
	Position Position
	// Server is the one that committed it, and Time when, by its clock.
	Server string
	Time   time.Time
}

// A SharedVisitor receives what is in a Shared store.
type SharedVisitor interface {
	Visitor
	// Mark is called with the marks of the batches that the log has, and at least with those of the last
	// 15 minutes. In that time a server whose clock is right accepts a message again.
	Mark(Mark) error
	// Frozen is called if the zone is frozen.
	Frozen(Freeze) error
}

// A Shared store keeps one zone that several servers change. Each evaluates updates on the state that
// it knows and proposes the outcome; the proposal is committed only if nobody else has changed the
// zone since.
//
// Concurrency: Init, Propose and Confirm are called by one goroutine at a time, Follow by another;
// Load, Changes and Log may be called at any time.
//
// Atomicity, order and durability are those of [Store], for all servers together. A Load that starts
// after a Propose returned nil, at any server, finds its batch.
type Shared interface {
	// Load hands all of one state of the zone to v and returns its position. found is false, and v is
	// not called, if the store was never filled.
	Load(ctx context.Context, v SharedVisitor) (at Position, found bool, err error)

	// Init fills an empty store. ErrNotEmpty if it holds a zone, perhaps since a moment ago: the
	// caller loads that.
	Init(ctx context.Context, c Contents) (Position, error)

	// Propose commits a batch if the zone is at that position, and returns the one after it. With
	// ErrConflict come the batches that the caller has missed, oldest first; ErrHistory in place of
	// it says that the log does not have them any more, and the caller loads the zone again. With any
	// other error but ErrUnknown nothing is committed, then or later.
	Propose(ctx context.Context, at Position, b Batch) (Position, []Committed, error)

	// Confirm returns nil if the zone was at that position at some moment during the call, and the
	// errors of Propose, with the batches that were missed, if not. It is what makes a decision valid
	// that changes nothing.
	Confirm(ctx context.Context, at Position) ([]Committed, error)

	// Follow yields the batches after a position, as they are committed, by this server too. Now and
	// then, after all batches up to it, it yields a value without a batch, which has neither Changes nor
	// Marks nor Frozen: its Position was the newest at its Time, by this machine's clock. The single
	// pair with an error is the last: ErrHistory, ErrDiverged, or that of ctx. While the store is out
	// of reach it yields nothing. The sequence of an exclusive store is empty.
	Follow(ctx context.Context, from Position) iter.Seq2[Committed, error]

	// Changes and Log are those of Store.
	Changes(ctx context.Context, from, to uint32) iter.Seq2[Change, error]
	Log(ctx context.Context) iter.Seq2[Change, error]

	// Close releases the store. It may be called again.
	Close() error
}
