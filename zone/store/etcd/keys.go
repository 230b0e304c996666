package etcd

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/zone/store/internal/namekey"
)

// All keys are below the prefix:
//
//	zone/ORIGIN/head        head
//	zone/ORIGIN/l/SEQUENCE  entry, one per batch; 16 hexadecimal digits
//	zone/ORIGIN/m/SEQUENCE  marks of a batch that the log does not have any more; as l/
//	zone/ORIGIN/n/NAME      name, one per name; as package namekey has it
//	zone/ORIGIN/want/SERVER a server that has lost a commit, under its lease; no value
//	zone/ORIGIN/init        a server that fills the zone, under its lease; no value
//	node/SERVER             what a server has published, under its lease
//	past/SERVER             when a server was last there, and whether it has stopped in order
//	c                       changes with each change below c/ but those by time; no value
//	c/ID                    sealed context, 32 octets

// A slash in an origin, as RFC 2317 has them, is escaped as in a name's presentation form.
var (
	escapeSlash   = strings.NewReplacer("/", `\047`)
	unescapeSlash = strings.NewReplacer(`\\`, `\\`, `\047`, "/")
)

// ZonePrefix returns what all keys of a zone begin with. prefix is as in Options, origin as for [Cluster.Zone].
func ZonePrefix(prefix, origin string) string {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	return prefix + zones + escapeSlash.Replace(origin) + "/"
}

const (
	zones     = "zone/"
	nodes     = "node/"
	presences = "past/"
)

func (c *Cluster) nodeKey(server string) string     { return c.options.Prefix + nodes + server }
func (c *Cluster) presenceKey(server string) string { return c.options.Prefix + presences + server }

func (z *Zone) headKey() string  { return z.root + "head" }
func (z *Zone) initKey() string  { return z.root + "init" }
func (z *Zone) logRoot() string  { return z.root + "l/" }
func (z *Zone) nameRoot() string { return z.root + "n/" }
func (z *Zone) wantRoot() string { return z.root + "want/" }

func (z *Zone) logKey(sequence uint64) string { return z.logRoot() + fmt.Sprintf("%016x", sequence) }

func (z *Zone) marksRoot() string { return z.root + "m/" }

func (z *Zone) marksKey(sequence uint64) string {
	return z.marksRoot() + fmt.Sprintf("%016x", sequence)
}

// logEnd is the first key behind those of the log.
func (z *Zone) logEnd() string { return z.root + "l0" }

var errKey = errors.New("is not a key of this format")

// sequence is the inverse of logKey and marksKey.
func (z *Zone) sequence(root string, key []byte) (uint64, error) {
	digits, ok := strings.CutPrefix(string(key), root)
	n, err := strconv.ParseUint(digits, 16, 64)
	if !ok || err != nil || len(digits) != 16 {
		return 0, damaged(string(key), errKey)
	}
	return n, nil
}

func (z *Zone) nameKey(name string) (string, error) {
	key, err := namekey.Append([]byte(z.nameRoot()), name)
	return string(key), err
}

// name is the inverse of nameKey.
func (z *Zone) name(key []byte) (string, error) {
	encoded, rest, ok := namekey.Cut(key[min(len(key), len(z.nameRoot())):])
	if !ok || len(rest) > 0 {
		return "", damaged(string(key), errKey)
	}
	name, err := namekey.Decode(encoded)
	if err != nil {
		return "", damaged(string(key), errKey)
	}
	return name, nil
}

// encodeHex is for values that are shown to people.
func encodeHex(b []byte) string { return hex.EncodeToString(b) }
