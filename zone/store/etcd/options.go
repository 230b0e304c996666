package etcd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// DefaultPrefix is what all keys begin with, unless Options say otherwise.
const DefaultPrefix = "/gsstsig/"

// Options are what Open needs. Zero values have defaults, but for Endpoints and Server.
type Options struct {
	// Endpoints are the client URLs of members of the etcd cluster, such as https://10.0.0.1:2379. Required.
	// The first one is used as long as it answers, the others take over in their order: a server lists the
	// member that is nearest first.
	Endpoints []string
	// Server is the name of this server, unique among those that share the prefix: its host name. Required,
	// 255 octets at most, without a slash.
	Server string
	// Prefix is what all keys begin with; "" is DefaultPrefix. It ends with a slash.
	Prefix string
	// TLS is for endpoints with https; its certificate is what members know this server by. nil uses the
	// roots of the system and no certificate.
	TLS *tls.Config
	// Username and Password are for a cluster with authentication enabled.
	Username, Password string
	// Credentials, unless nil, returns what to log in with in place of Username and Password. It is called at
	// each login, by several goroutines at once: after a password was refused, it is asked for the new one.
	Credentials func() (username, password string, err error)
	// Log is told of members that do not answer and of those that take over. It is called by one goroutine
	// at a time and must not block. nil discards.
	Log func(text string)
	// Now is the clock for what is shown to people; nil means time.Now.
	Now func() time.Time
}

const noSlash = "give it a name without a slash, such as the host name"

func (o Options) withDefaults() (Options, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	log, mu := o.Log, new(sync.Mutex)
	o.Log = func(text string) {
		mu.Lock()
		defer mu.Unlock()
		log(text)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Credentials == nil {
		username, password := o.Username, o.Password
		o.Credentials = func() (string, string, error) { return username, password, nil }
	}
	switch {
	case len(o.Endpoints) == 0:
		return o, errors.New("store: etcd: no endpoints")
	case !strings.HasSuffix(o.Prefix, "/"):
		return o, fmt.Errorf("store: etcd: prefix %q does not end with a slash", o.Prefix)
	case o.Server == "" || len(o.Server) > maxServer || strings.Contains(o.Server, "/"):
		return o, diagnose.WithFix(fmt.Errorf("store: etcd: %q cannot be the name of this server", o.Server), noSlash)
	case (o.Username == "") != (o.Password == ""):
		return o, errors.New("store: etcd: a user name needs a password, and a password a user name")
	}
	for _, endpoint := range o.Endpoints {
		u, err := url.Parse(endpoint)
		switch {
		case err != nil:
			return o, fmt.Errorf("store: etcd: endpoint %q is not a URL", withoutUser(endpoint))
		case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "":
			return o, diagnose.WithFix(fmt.Errorf("store: etcd: endpoint %q is no URL of a member", withoutUser(endpoint)),
				"write it as https://HOST:2379, or http:// without TLS")
		case u.Scheme == "http" && o.TLS != nil:
			return o, diagnose.WithFix(fmt.Errorf("store: etcd: endpoint %q is without TLS, but there are certificates for it", endpoint),
				"write https://")
		case u.Scheme == "http" && o.Password != "":
			return o, diagnose.WithFix(fmt.Errorf("store: etcd: endpoint %q would be sent the password without encryption", endpoint),
				"write https://")
		}
	}
	return o, nil
}

// withoutUser returns what is shown of an endpoint: there may be a password in it.
func withoutUser(endpoint string) string { return endpoint[strings.LastIndex(endpoint, "@")+1:] }

// ZoneOptions bound the log of one zone, from which incremental transfers are read. All servers should have the
// same: each trims the log to its own when it commits.
type ZoneOptions struct {
	// MaxBatches is how many batches are kept; 0 means 20,000. An index of them is in memory, about 130 octets
	// each and 20 for each of their marks.
	MaxBatches int
	// MaxOctets is how many octets they may take in etcd, which has them on until its history is compacted; 0
	// means 64 MiB. The last batch is kept however large it is.
	MaxOctets int64
	// MarkAge is how long the marks of batches are kept, also of those that the log does not have any more, by
	// the time that passes at the server that commits; 0 means 15 minutes. It has to be longer than a message
	// is accepted after it was signed. Those of up to 1,048,576 batches are kept.
	MarkAge time.Duration
	// CacheOctets is how much of the end of the log is in memory; 0 means 8 MiB.
	CacheOctets int64
}

func (o ZoneOptions) withDefaults() ZoneOptions {
	if o.MaxBatches <= 0 {
		o.MaxBatches = 20_000
	}
	if o.MaxOctets <= 0 {
		o.MaxOctets = 64 << 20
	}
	if o.MarkAge <= 0 {
		o.MarkAge = 15 * time.Minute
	}
	if o.CacheOctets <= 0 {
		o.CacheOctets = 8 << 20
	}
	return o
}
