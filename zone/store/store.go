package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
	"unicode/utf8"
)

// Sentinel errors, to be compared with [errors.Is].
var (
	// ErrClosed is returned by every method after Close.
	ErrClosed = errors.New("store: closed")
	// ErrNotEmpty is returned by Init on a store that already holds a zone.
	ErrNotEmpty = errors.New("store: already holds a zone")
	// ErrEmpty is returned by Commit on a store that Init has not filled, and where a zone is read from
	// such a store.
	ErrEmpty = errors.New("store: holds no zone yet")
	// ErrText is returned by Commit for a change with a text of more than MaxText octets. Nothing is
	// applied.
	ErrText = errors.New("store: text of a change is too long")
	// ErrOrder is returned by Commit for a change that does not start at the serial where the one
	// before it ended. Nothing is applied.
	ErrOrder = errors.New("store: change does not follow the last one")
	// ErrHistory is returned by Changes when the log does not reach back to the serial asked for,
	// or the zone never had that serial. The caller falls back to a full transfer.
	ErrHistory = errors.New("store: the log does not reach back to that serial")
)

// A Record is one resource record. Two records are the same record if the octets of Name and Data,
// and Type and Class are equal; TTL and Hours do not distinguish records. The zone spells a name in the same
// way in all its records, and removes a record in the spelling in which it was added.
type Record struct {
	// Name is the owner: a whole, uncompressed name in wire form (RFC 1035 section 3.1), with its
	// letters in the case in which they were entered.
	Name  string
	Type  uint16
	Class uint16
	TTL   uint32 // in seconds
	// Hours is when the record was last refreshed, in whole hours of Unix time. 0 is a static record,
	// which does not age.
	Hours uint32
	// Data is the uncompressed rdata. Names in it keep the case in which they were entered.
	Data []byte
}

// An Owner is the owner of a name. It outlives the records: a name whose last record was deleted
// keeps its owner as a tombstone until it is disowned.
type Owner struct {
	// Name is in the form of Record.Name, in lower case.
	Name string
	// Principal is opaque to the store.
	Principal string
	// Deleted is when the name's last record was deleted, in UTC and whole seconds; zero while the
	// name has records.
	Deleted time.Time
}

// MaxText is how many octets each text of a Change may have.
const MaxText = 1024

// CutText returns the beginning of a text that is longer than MaxText. It does not cut a UTF-8
// sequence in two.
func CutText(text string) string {
	if len(text) <= MaxText {
		return text
	}
	end := MaxText
	for end > MaxText-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// A Change is the net effect of one update. A record whose TTL changed is in both Removed and
// Added.
type Change struct {
	// From and To are the SOA serials before and after. They are equal if and only if nothing but
	// ownership and times changed; Removed and Added are then empty.
	From, To uint32
	// Author is who made the change: a principal, or a word that is no principal. Rule is the rule
	// that permitted it. Both may be empty, and have MaxText octets at most.
	Author, Rule string
	// Committed is when the change was committed, in UTC and whole seconds. The store sets it in what
	// it returns from its log; Commit ignores it.
	Committed time.Time
	// Removed and Added are in the order of an incremental transfer: the first record of each is
	// the SOA.
	Removed, Added []Record
	// Refreshed are records that the zone keeps with another time. The log does not have them, and the
	// times of other records in the log mean nothing.
	Refreshed []Record
	// Owners are set, whatever was there before.
	Owners []Owner
	// Disowned are the names, as in Owner, whose owner is removed. No name is in both lists.
	Disowned []string
}

// CheckChanges is what every store checks before it commits changes: that they are a chain that starts
// at the serial of the zone, and that their texts are within MaxText. The errors are ErrOrder and
// ErrText.
func CheckChanges(serial uint32, changes []Change) error {
	at := serial
	for _, c := range changes {
		if c.From != at {
			return fmt.Errorf("%w: at serial %d, change starts at %d", ErrOrder, at, c.From)
		}
		if len(c.Author) > MaxText || len(c.Rule) > MaxText {
			return fmt.Errorf("%w: author of %d and rule of %d octets", ErrText, len(c.Author), len(c.Rule))
		}
		at = c.To
	}
	return nil
}

// Contents are the whole of a zone, as given to Init.
type Contents struct {
	// Serial is that of the SOA among Records.
	Serial uint32
	// Records are those of the zone, in any order.
	Records iter.Seq[Record]
	// Owners may be nil.
	Owners iter.Seq[Owner]
}

// A Visitor receives the contents of a store from Load. Its arguments, including Record.Data, are
// valid only during the call. An error it returns ends Load, which returns that error.
type Visitor interface {
	// Record is called once for each record.
	Record(Record) error
	// Owner is called once for each name that has an owner, tombstones included.
	Owner(Owner) error
}

// A Store keeps one zone.
//
// Exclusive use: the holder of a Store is the only one that changes what it keeps, from opening to
// Close. Opening a store that another process or another Store has open fails at once, with an
// error that says which process has it.
//
// Concurrency: Init and Commit are called by one goroutine at a time; Changes and Log may be called
// at any time, from any number of goroutines, and never make Commit wait for longer than it takes to
// find their starting point. Load is called before the first Commit.
//
// Atomicity: Init, and each call of Commit, take effect whole or not at all, for later calls and
// for a process that opens the store after a crash at any moment. An error from Commit means not at
// all: the store answers as before the call, the changes do not appear later, and the same changes
// can be committed again after the cause of the error is removed.
//
// Order: the changes of one Commit, and those of successive ones, form one sequence in which each
// starts at the serial where the last one ended. The store keeps and returns them in that sequence;
// ErrOrder guards it.
//
// Durability: when Init or Commit returns nil, its effect survives the end of the process and, for
// a store on disk, of the machine. A store in memory keeps it only as long as the value is
// referenced.
//
// Recovery: opening finds the last state whose Commit returned nil, possibly with the last Commit
// that was under way applied whole. A store that cannot tell what that state is refuses to open; it
// never opens empty instead.
type Store interface {
	// Load hands all records and owners to v, in any order, and returns the zone's serial. found is
	// false, and v is not called, if the store was never filled.
	Load(ctx context.Context, v Visitor) (serial uint32, found bool, err error)

	// Init fills an empty store. History starts at c.Serial: Init is not a change that Changes
	// returns. ErrNotEmpty if the store holds a zone.
	Init(ctx context.Context, c Contents) error

	// Commit applies changes in their order, all of them or none. The slices in changes stay the
	// caller's but are not modified after the call, so that a store may keep them. Removing a
	// record that is not there, adding one that is (its TTL and time are replaced), and disowning a
	// name without owner are no errors. An empty list is no error and does nothing.
	Commit(ctx context.Context, changes []Change) error

	// Changes yields, oldest first, the changes that lead from one serial to another, both of which
	// the zone has had. Changes of mere ownership or times are left out. With equal serials it yields
	// nothing. The single pair with an error is the last: ErrHistory as the first pair if the log
	// does not reach back to from or does not know to, or has dropped a change while it was being
	// read. What is yielded must not be modified.
	Changes(ctx context.Context, from, to uint32) iter.Seq2[Change, error]
	// Log yields, newest first, the changes that the log has. The single pair with an error is the
	// last. Changes that the log drops meanwhile are left out. What is yielded must not be modified.
	Log(ctx context.Context) iter.Seq2[Change, error]

	// Close releases the store. It may be called again.
	Close() error
}
