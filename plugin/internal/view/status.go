package view

import (
	"fmt"
	"maps"
	"slices"
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
	Zones   []ClusterZone   `json:"zones"`
	Members []Member        `json:"members"`
	Servers []ClusterServer `json:"servers"` // those that run, and those of the last day, by name
}

// ClusterZone is a zone as etcd has it.
type ClusterZone struct {
	Zone   string     `json:"zone"`
	Serial uint32     `json:"serial"`
	Epoch  uint32     `json:"epoch"`  // 1, and one more each time that a restored backup was declared to be the zone
	Server string     `json:"server"` // that committed last
	Frozen *time.Time `json:"frozen,omitempty"`
	Sealed bool       `json:"sealed,omitempty"` // it is frozen for the administrator too
	Error  string     `json:"error,omitempty"`  // why it cannot be read; what else there is of it is then not known
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

// Size says how large the member's database is, and how large it may be if the member tells it.
func (m Member) Size() string {
	text := fmt.Sprintf("%d MiB", m.Octets>>20)
	if m.Octets < 10<<20 {
		text = fmt.Sprintf("%d KiB", m.Octets>>10)
	}
	if m.Quota > 0 {
		text += fmt.Sprintf(" of %d MiB", m.Quota>>20)
	}
	return text
}

// ClusterServer is a server of a cluster.
type ClusterServer struct {
	Server string `json:"server"`
	State  string `json:"state"` // ServerRunning, ServerStopped or ServerGone
	// Version is that of the plugin's module, and Zones what the server has told of them; of one that runs.
	Version string       `json:"version,omitempty"`
	Seen    time.Time    `json:"seen"` // when it last told of itself, by its clock
	Zones   []ServerZone `json:"zones"`
}

// The words for the states of servers.
const (
	ServerRunning = "running"
	ServerStopped = "stopped" // in order
	ServerGone    = "gone"    // it was killed, or does not reach etcd
)

// Running lists the servers that run.
func (c Cluster) Running() []ClusterServer {
	return slices.DeleteFunc(slices.Clone(c.Servers), func(s ClusterServer) bool { return s.State != ServerRunning })
}

// ServerZone is a zone at one server of a cluster, as the server has told it last.
type ServerZone struct {
	Zone   string `json:"zone"`
	Serial uint32 `json:"serial"` // that it has applied
	// Behind is by how much that is less than the serial on etcd; nil if either is not known.
	Behind *uint32 `json:"behind,omitempty"`
	// Confirmed is when etcd last told the server that its serial is the newest, by its clock; nil if it has not loaded the zone.
	Confirmed *time.Time `json:"confirmed,omitempty"`
}

// State says in a few words how far a server is.
func (z ServerZone) State() string {
	switch {
	case z.Confirmed == nil:
		return "not loaded"
	case z.Behind == nil:
		return fmt.Sprintf("serial %d", z.Serial)
	case *z.Behind == 0:
		return "current"
	}
	return fmt.Sprintf("%d behind", *z.Behind)
}

// A ClusterRow is what is known of one zone of a cluster: on etcd, and at each server that runs, in the order of the cluster's servers.
type ClusterRow struct {
	Zone   string
	OnEtcd *ClusterZone  // nil if etcd does not have it
	At     []*ServerZone // nil where a server does not have it
}

// Rows compares the servers of a cluster that run, zone by zone.
func (c Cluster) Rows() []ClusterRow {
	servers := c.Running()
	byName := make(map[string]*ClusterRow)
	row := func(zone string) *ClusterRow {
		if byName[zone] == nil {
			byName[zone] = &ClusterRow{Zone: zone, At: make([]*ServerZone, len(servers))}
		}
		return byName[zone]
	}
	for i := range c.Zones {
		row(c.Zones[i].Zone).OnEtcd = &c.Zones[i]
	}
	for i, s := range servers {
		for j := range s.Zones {
			row(s.Zones[j].Zone).At[i] = &s.Zones[j]
		}
	}
	var rows []ClusterRow
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		rows = append(rows, *byName[name])
	}
	return rows
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
	Sealed   bool       `json:"sealed,omitempty"`  // those of the administrator too
	Changed  *time.Time `json:"changed,omitempty"` // the last change since the start of the process
	// Confirmed, of a zone on etcd, is when etcd last told that the zone here is the newest.
	Confirmed *time.Time `json:"confirmed,omitempty"`
	Commits   *Commits   `json:"commits,omitempty"` // of a zone on etcd
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

// Commits count what several servers of one zone have to do with each other, since the start of the process.
type Commits struct {
	Conflicts int64 `json:"conflicts"` // updates were decided on again, because another server had changed the zone
	Unknown   int64 `json:"unknown"`   // etcd did not tell in time whether a commit was done
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
