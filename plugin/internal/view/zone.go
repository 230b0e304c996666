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
	// Static says that aging never takes the record. Refreshed is the hour in which another was added or last refreshed.
	Static    bool       `json:"static"`
	Refreshed *time.Time `json:"refreshed,omitempty"`
}

// Stale is a record that aging takes.
type Stale struct {
	Name   string    `json:"name"`
	Owner  string    `json:"owner,omitempty"`
	Record Record    `json:"record"`
	Due    time.Time `json:"due"` // when it is taken, or could have been already
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
	Client   string    `json:"client"` // address and port
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
