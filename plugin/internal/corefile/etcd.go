package corefile

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/coredns/caddy"
)

// defaultPrefix is what the keys of all zones begin with in etcd.
const defaultPrefix = "/gsstsig/"

// maxEndpoints bounds the members of etcd that a block names. A cluster has seven at most, by etcd's own advice.
const maxEndpoints = 16

// maxServerName bounds the name of this server in etcd: that of a host has no more octets.
const maxServerName = 253

// Etcd is the etcd cluster that keeps the zones of a block.
type Etcd struct {
	Endpoints   []string // URLs of members; empty: the zones are not on etcd
	Prefix      string   // of all keys, with a slash at either end
	Certificate string   // file with the certificate that this server shows; empty: none
	PrivateKey  string   // file with its key
	CA          string   // file with the certificates that may sign those of the members; empty: the system's
	Credentials string   // file with a user of etcd and the password; empty: none
	Server      string   // name of this server among those of the cluster; empty: the host's
}

// OnEtcd reports whether the block's zones are on etcd.
func (b *Block) OnEtcd() bool { return len(b.Etcd.Endpoints) > 0 }

// Encrypted reports whether the members are connected to by TLS.
func (e *Etcd) Encrypted() bool {
	return len(e.Endpoints) > 0 && strings.HasPrefix(e.Endpoints[0], "https://")
}

// String names the cluster in messages.
func (e *Etcd) String() string {
	return "etcd " + strings.Join(e.Endpoints, " ") + " prefix " + e.Prefix
}

// Key is equal for the same cluster with the same identity, so that one connection serves all blocks that have it.
func (e *Etcd) Key() string {
	endpoints := slices.Compact(slices.Sorted(slices.Values(e.Endpoints)))
	return fmt.Sprintf("%q", append(endpoints, e.Prefix, e.Certificate, e.PrivateKey, e.CA, e.Credentials, e.Server))
}

func (b *Block) etcd(c *caddy.Controller, _ string, args []string) error {
	const form = "etcd needs the URLs of the cluster's members, such as https://10.0.0.1:2379"
	switch {
	case len(args) == 0:
		return c.Errf(form)
	case len(args) > maxEndpoints:
		return c.Errf("etcd has %d members, of at most %d", len(args), maxEndpoints)
	case b.Database != "":
		return c.Errf("etcd and database exclude each other: a zone is kept in one of them. Fix: remove one of the lines; " +
			"\"coredns gsstsig migrate\" moves a zone from one to the other")
	}
	for _, arg := range args {
		if err := checkEndpoint(arg); err != nil {
			return c.Errf("etcd: %v. Fix: %s", err, form)
		}
		if arg = strings.TrimSuffix(arg, "/"); !slices.Contains(b.Etcd.Endpoints, arg) {
			b.Etcd.Endpoints = append(b.Etcd.Endpoints, arg)
		}
	}
	for _, e := range b.Etcd.Endpoints {
		if strings.HasPrefix(e, "https:") != b.Etcd.Encrypted() {
			return c.Errf("etcd: some members have https and others http. Fix: use https for all of them")
		}
	}
	return b.once(c, "etcd")
}

// checkEndpoint examines the URL of a member.
func checkEndpoint(word string) error {
	u, err := url.Parse(word)
	word = word[strings.LastIndex(word, "@")+1:] // there may be a password in front
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a URL", word)
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%q has neither https:// nor http://", word)
	case u.User != nil:
		return fmt.Errorf("the URL of %s has a user; user and password go to the file of etcd_credentials", u.Host)
	case u.Hostname() == "" || u.Port() == "":
		return fmt.Errorf("%q needs a host and a port", word)
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "":
		return fmt.Errorf("%q has more than a host and a port", word)
	}
	return nil
}

func (b *Block) etcdPrefix(c *caddy.Controller, _ string, args []string) error {
	if len(args) != 1 || !strings.HasPrefix(args[0], "/") || strings.Trim(args[0], "/") == "" || strings.Contains(args[0], "//") {
		return c.Errf("etcd_prefix needs what all keys begin with, such as %s, the default", defaultPrefix)
	}
	b.Etcd.Prefix = strings.TrimSuffix(args[0], "/") + "/"
	return b.once(c, "etcd_prefix")
}

func (b *Block) etcdTLS(c *caddy.Controller, root string, args []string) error {
	switch len(args) {
	case 1:
		b.Etcd.CA = below(root, args[0])
	case 3:
		b.Etcd.Certificate, b.Etcd.PrivateKey, b.Etcd.CA = below(root, args[0]), below(root, args[1]), below(root, args[2])
	default:
		return c.Errf("etcd_tls needs the files of this server's certificate, of its key, and of the authority that signs the members' certificates: " +
			"etcd_tls CERT KEY CA, or etcd_tls CA if etcd asks for no certificate")
	}
	return b.once(c, "etcd_tls")
}

func (b *Block) etcdCredentials(c *caddy.Controller, root string, args []string) error {
	if len(args) != 1 {
		return c.Errf("etcd_credentials needs one file, with a user of etcd in the first line and the password in the second")
	}
	b.Etcd.Credentials = below(root, args[0])
	return b.once(c, "etcd_credentials")
}

func (b *Block) etcdServer(c *caddy.Controller, _ string, args []string) error {
	if len(args) != 1 || len(args[0]) > maxServerName || strings.ContainsFunc(args[0], isNoServerName) {
		return c.Errf("etcd_server needs one name of letters, digits, dots, hyphens and underscores: that of this server, which no other has. The default is the host's")
	}
	b.Etcd.Server = args[0]
	return b.once(c, "etcd_server")
}

// isNoServerName reports whether a character may not be in the name of a server, which is a part of keys.
func isNoServerName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(".-_", r)
}

// checkEtcd completes what the block says about etcd, and examines what depends on several lines.
func (b *Block) checkEtcd(c *caddy.Controller) error {
	if !b.OnEtcd() {
		for _, property := range slices.Sorted(maps.Keys(b.given)) {
			if strings.HasPrefix(property, "etcd_") {
				return lineError(c, b.given[property], "%s has no effect without etcd. Fix: add \"etcd ENDPOINT...\", or remove the line", property)
			}
		}
		return nil
	}
	if b.Etcd.Prefix == "" {
		b.Etcd.Prefix = defaultPrefix
	}
	if line, ok := b.given["etcd_tls"]; ok && !b.Etcd.Encrypted() {
		return lineError(c, line, "etcd_tls has no effect on the endpoint %s. Fix: write https:// in the line etcd", b.Etcd.Endpoints[0])
	}
	return nil
}

// lineError is an error about another line than the one that c stands at.
func lineError(c *caddy.Controller, line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d - Error during parsing: %s", c.File(), line, fmt.Sprintf(format, args...))
}
