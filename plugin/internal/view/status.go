package view

import (
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// Status is a server as a whole.
type Status struct {
	Version string    `json:"version"` // of the plugin's module
	CoreDNS string    `json:"coredns"` // version
	PID     int       `json:"pid"`
	Started time.Time `json:"started"` // the process
	// Ready says that every block has a key that it can use, that no zone is damaged, and that updates can be written. Findings
	// are what is wrong: with severity error what keeps the server from being ready.
	Ready    bool               `json:"ready"`
	Findings []diagnose.Finding `json:"findings"`
	Zones    []Zone             `json:"zones"` // by name
	Keys     []Key              `json:"keys"`
	Contexts Contexts           `json:"contexts"`
	Clusters []Cluster          `json:"clusters"`
}

// Cluster is an etcd cluster that keeps zones of a server.
type Cluster struct {
	Etcd    string          `json:"etcd"`            // members, and the prefix of the keys
	Server  string          `json:"server"`          // the name of this server there
	Error   string          `json:"error,omitempty"` // why etcd does not tell more
	Members []Member        `json:"members"`
	Servers []ClusterServer `json:"servers"` // those that run, by name
}

// Member is a member of etcd.
type Member struct {
	Name     string   `json:"name"`
	Endpoint string   `json:"endpoint"`
	Version  string   `json:"version,omitempty"`
	Leader   bool     `json:"leader"`
	Octets   int64    `json:"octets"` // of its database
	Quota    int64    `json:"quota,omitempty"`
	Problems []string `json:"problems"`        // that it tells of, such as an alarm
	Error    string   `json:"error,omitempty"` // why it does not answer
}

// ClusterServer is a server of a cluster.
type ClusterServer struct {
	Server  string       `json:"server"`
	Version string       `json:"version"` // of the plugin's module
	Seen    time.Time    `json:"seen"`    // when it last told of itself, by its clock
	Zones   []ServerZone `json:"zones"`
}

// ServerZone is a zone at one server of a cluster.
type ServerZone struct {
	Zone   string `json:"zone"`
	Serial uint32 `json:"serial"` // that it has applied
}

// Zone is one zone.
type Zone struct {
	Zone     string     `json:"zone"`
	Serial   uint32     `json:"serial"`
	Primary  string     `json:"primary"` // MNAME of the SOA record
	Updates  string     `json:"updates"` // what clients may do: the mode, or UpdatesFrozen
	Mode     string     `json:"mode"`    // by the Corefile: none, secure, nonsecure-and-secure
	Database string     `json:"database,omitempty"`
	Etcd     string     `json:"etcd,omitempty"`    // the cluster that keeps the zone
	Frozen   *time.Time `json:"frozen,omitempty"`  // since when updates are refused
	Changed  *time.Time `json:"changed,omitempty"` // the last change since the start of the process
	// Unavailable is why a zone on etcd is answered SERVFAIL. One that is not loaded has neither a serial nor contents here.
	Unavailable *diagnose.Finding `json:"unavailable,omitempty"`
	// Damaged is what is wrong with the database of a zone that is answered SERVFAIL because of it. Such a zone has neither a
	// serial nor contents here.
	Damaged *diagnose.Finding `json:"damaged,omitempty"`
	// What the zone holds, and what it may hold.
	Records    Usage    `json:"records"`
	Octets     Usage    `json:"octets"`
	Owners     int      `json:"owners"` // of names with records
	Names      int      `json:"names"`  // that have an owner and records
	Tombstones Usage    `json:"tombstones"`
	Rules      []string `json:"rules"` // in force, in their order
}

// UpdatesFrozen is the word for the updates of a zone that is frozen.
const UpdatesFrozen = "frozen"

// Usage is a number and its limit.
type Usage struct {
	Used  int `json:"used"`
	Limit int `json:"limit"`
}

// Key is a key of a keytab, without the key itself.
type Key struct {
	Keytab    string     `json:"keytab"`
	Principal string     `json:"principal"`
	KVNO      uint32     `json:"kvno"`
	Enctype   string     `json:"enctype"`
	Time      *time.Time `json:"time,omitempty"` // when the key was written to the keytab, as the keytab says
}

// Contexts are the numbers of security contexts.
type Contexts struct {
	Established Usage `json:"established"`
	HalfOpen    Usage `json:"half_open"`
}

// Context is a security context of a client.
type Context struct {
	Key       string     `json:"key"` // its name in TSIG records
	Principal string     `json:"principal"`
	Account   string     `json:"account,omitempty"` // in Active Directory
	Service   string     `json:"service"`           // the server's principal
	Enctype   string     `json:"enctype"`
	Address   string     `json:"address,omitempty"` // that it was negotiated from; empty: before the last restart
	Server    string     `json:"server,omitempty"`  // that it was negotiated with; empty if other servers do not have it
	Created   *time.Time `json:"created,omitempty"`
	Expires   time.Time  `json:"expires"`
	Used      *time.Time `json:"used,omitempty"` // by the last message that verified here
	Messages  uint64     `json:"messages"`       // that verified here
}
