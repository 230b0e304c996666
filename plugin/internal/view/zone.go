package view

import "time"

// Name is a name of a zone, with its records or as a tombstone.
type Name struct {
	Zone    string     `json:"zone"`
	Name    string     `json:"name"`
	Owner   string     `json:"owner,omitempty"`
	Deleted *time.Time `json:"deleted,omitempty"` // when the last record of an owned name was deleted
	Records []Record   `json:"records"`
}

// Record is a resource record.
type Record struct {
	TTL  uint32 `json:"ttl"`
	Type string `json:"type"`
	Data string `json:"data"`
	// Static says that aging never takes the record. Refreshed is the hour in which another was added or last refreshed. Records
	// of changes and refusals have neither.
	Static    bool       `json:"static,omitempty"`
	Refreshed *time.Time `json:"refreshed,omitempty"`
}

// Stale is a record that aging takes.
type Stale struct {
	Name   string    `json:"name"`
	Owner  string    `json:"owner,omitempty"`
	Record Record    `json:"record"`
	Due    time.Time `json:"due"` // when it is taken, or could have been already
}

// StaleList is what aging takes from a zone.
type StaleList struct {
	Zone      string `json:"zone"`
	NoRefresh uint32 `json:"no_refresh"` // interval in seconds
	Refresh   uint32 `json:"refresh"`    // interval in seconds
	// Preview says that the intervals are those of the request, and not those that the zone has.
	Preview bool       `json:"preview"`
	From    *time.Time `json:"from,omitempty"` // nothing is taken before; empty in a preview
	// Frozen says that nothing is taken until the zone is thawed, and the interval Refresh has passed then.
	Frozen bool    `json:"frozen,omitempty"`
	Stale  []Stale `json:"stale"`
}

// Scavenged is what a scavenging has done.
type Scavenged struct {
	Zone    string     `json:"zone"`
	Removed int        `json:"removed"` // records
	Waiting int        `json:"waiting"` // records that are stale and stay until From
	From    *time.Time `json:"from,omitempty"`
}

// Change is one transaction of a zone's log.
type Change struct {
	Time   time.Time `json:"time"`
	Zone   string    `json:"zone"`
	From   uint32    `json:"from"` // serials
	To     uint32    `json:"to"`
	Author string    `json:"author,omitempty"` // principal, key, or anonymous
	Client string    `json:"client,omitempty"` // address and port, where it is known
	Rule   string    `json:"rule,omitempty"`
	// Removed and Added are without the SOA record whose serial every change raises.
	Removed []NamedRecord `json:"removed"`
	Added   []NamedRecord `json:"added"`
	More    int           `json:"more,omitempty"`   // records that are not listed
	Owners  []Name        `json:"owners,omitempty"` // that were set, without records; an empty owner was removed
}

// NamedRecord is a record with its name.
type NamedRecord struct {
	Name string `json:"name"`
	Record
}

// Refusal is an update that was refused or failed.
type Refusal struct {
	Time     time.Time `json:"time"`
	Zone     string    `json:"zone"`
	Client   string    `json:"client,omitempty"` // address and port, where it is known
	Identity string    `json:"identity"`
	Rcode    string    `json:"rcode"`
	Rule     string    `json:"rule,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Cause    string    `json:"cause,omitempty"` // of a refusal, in a word
	Fix      string    `json:"fix,omitempty"`
	// What the update asked for.
	Removed []NamedRecord `json:"removed"`
	Added   []NamedRecord `json:"added"`
}

// HandshakeFailure is a TKEY negotiation that failed, or a message whose signature does not verify.
type HandshakeFailure struct {
	Time       time.Time `json:"time"`
	Key        string    `json:"key,omitempty"` // name of the key
	Client     string    `json:"client"`        // address and port
	Result     string    `json:"result"`
	Peer       string    `json:"peer,omitempty"` // principal, if the ticket could be read
	Service    string    `json:"service,omitempty"`
	Enctype    string    `json:"enctype,omitempty"`
	TicketKVNO uint32    `json:"ticket_kvno,omitempty"`
	KeytabKVNO []uint32  `json:"keytab_kvno,omitempty"` // versions that the keytab has for the service
	Reason     string    `json:"reason"`
	Fix        string    `json:"fix,omitempty"`
}

// Instruction is a record of the prerequisite or update section of an UPDATE message (RFC 2136 sections 2.4 and 2.5).
type Instruction struct {
	Name  string `json:"name"`
	Class string `json:"class"` // IN, ANY or NONE
	Type  string `json:"type"`
	TTL   uint32 `json:"ttl"`
	Data  string `json:"data,omitempty"`
	Line  int    `json:"line,omitempty"` // of what it was read from
}

// Ignored is an instruction that had no effect, since RFC 2136 section 3.4.2 has servers ignore it.
type Ignored struct {
	Instruction
	Reason string `json:"reason"`
}

// Update is an update of the administrator.
type Update struct {
	Zone          string        `json:"zone"`
	Prerequisites []Instruction `json:"prerequisites"`
	Updates       []Instruction `json:"updates"`
}

// Applied is what a transaction of the administrator changed.
type Applied struct {
	Zone    string        `json:"zone"`
	From    uint32        `json:"from"` // serials
	To      uint32        `json:"to"`
	Changed bool          `json:"changed"` // records or owners
	Removed []NamedRecord `json:"removed"`
	Added   []NamedRecord `json:"added"`
	Owners  []Ownership   `json:"owners,omitempty"`  // that an edit has changed
	Ignored []Ignored     `json:"ignored,omitempty"` // instructions of an update
	Notes   []string      `json:"notes,omitempty"`
}

// Set is an RRset.
type Set struct {
	TTL  uint32   `json:"ttl"`
	Data []string `json:"data"`
}

// SetChange is an RRset before and after an edit. A Set that is nil does not exist.
type SetChange struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Before *Set   `json:"before,omitempty"`
	After  *Set   `json:"after,omitempty"`
}

// OwnerChange is the owner of a name before and after an edit, empty if it has none.
type OwnerChange struct {
	Name   string `json:"name"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Edit is the difference between a zone as it was read and as it is to be. It is applied only if everything in it is still as it
// was read.
type Edit struct {
	Zone   string        `json:"zone"`
	Sets   []SetChange   `json:"sets"`
	Owners []OwnerChange `json:"owners"`
}

// Conflict is a part of an edit that was changed by another one since it was read.
type Conflict struct {
	Name   string `json:"name"`
	Type   string `json:"type,omitempty"`   // of an RRset
	Read   *Set   `json:"read,omitempty"`   // the RRset as it was read
	Found  *Set   `json:"found,omitempty"`  // the RRset as it is
	Edited *Set   `json:"edited,omitempty"` // the RRset as it was to be
	Owner  string `json:"owner,omitempty"`  // as it is, if it is the owner that has changed
	Wanted string `json:"wanted,omitempty"`
}

// Edited is the outcome of an edit: what was applied, or why nothing was.
type Edited struct {
	Applied
	Conflicts []Conflict `json:"conflicts,omitempty"`
	// File has the edited text if it was not applied. It is with the command, not with the server.
	File string `json:"file,omitempty"`
}

// Ownership is the change of a name's owner.
type Ownership struct {
	Zone      string `json:"zone"`
	Name      string `json:"name"`
	Before    string `json:"before,omitempty"` // owner
	Owner     string `json:"owner,omitempty"`
	Tombstone bool   `json:"tombstone"` // the name had no records
	Warning   string `json:"warning,omitempty"`
}

// Changed reports whether the owner is another one now.
func (o *Ownership) Changed() bool { return o.Before != o.Owner }

// String tells the change in a few words.
func (o Ownership) String() string {
	switch {
	case o.Before == o.Owner && o.Owner != "":
		return o.Name + " belongs to " + o.Owner + " already"
	case o.Owner == "" && o.Tombstone:
		return o.Name + " was kept for " + o.Before + ", and is free now"
	case o.Owner == "":
		return o.Name + " belonged to " + o.Before + ", and is the administrator's now"
	case o.Tombstone:
		return o.Name + " was kept for " + o.Before + ", and is kept for " + o.Owner + " now"
	case o.Before == "":
		return o.Name + " had no owner, and belongs to " + o.Owner + " now"
	}
	return o.Name + " belonged to " + o.Before + ", and belongs to " + o.Owner + " now"
}
