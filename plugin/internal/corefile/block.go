package corefile

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/listener"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
)

// A Block is one gsstsig block of a Corefile. Its syntax is checked, but no file that it names is opened.
type Block struct {
	Position        string              // of the block: Corefile:LINE
	Origins         []string            // the server block's zones, canonical, each once
	Keytabs         []string            // files
	Realms          []string            // client realms; empty: the keytabs' own
	Principals      []krb5.Principal    // service principals; empty: every DNS/host of the keytabs
	Krb5conf        string              // file with the [capaths] of trusts; empty: the hierarchy of realms
	RequirePAC      []string            // client realms whose tickets must have a PAC
	RequirePACOfAll bool                // of all client realms
	TrustKDC        bool                // accept the KDC's word that it has checked the realms on a ticket's way
	Enctypes        []krb5.Enctype      // permitted encryption types; empty: AES
	AllowRC4        bool                // permit RC4 in addition
	ClockSkew       time.Duration       // permitted difference of a client's clock; zero: the default
	Lifetime        time.Duration       // of contexts; zero: the default
	Seeds           map[string]string   // master files by origin
	Database        string              // directory of the zones' databases; empty: zones are on etcd or in memory only
	Etcd            Etcd                // cluster that keeps the zones
	Control         string              // path of the control socket; empty: the default
	ControlOff      bool                // no control socket
	Rules           []policy.Rule       // of grant and deny, in their order
	Proxies         []string            // identities that update on behalf of others
	Reclaim         policy.Reclaim      // which machines may take their own names back
	Transfers       policy.Identities   // whose signature is enough for a zone transfer
	TransferWords   []string            // Transfers as they are written
	Limits          zone.Limits         // a limit of zero is the default
	ContextLimits   gsstsig.TableConfig // likewise
	ListenerLimits  listener.Limits     // likewise
	StatusPage      string              // address of the status page; empty: there is none
	RefusedLevel    LogLevel            // of lines about refused updates
	Tombstones      time.Duration       // how long a name without records keeps its owner; zero: the default

	aging map[string]zone.Aging  // by origin, "" for zones that are not named
	mode  policy.Mode            // of the zones that modes does not name
	modes map[string]policy.Mode // by origin
	given map[string]int         // properties that may be given once, with the line of each

	path                string // of the Corefile
	firstLine, lastLine int
}

// Mode is the mode of updates in one of the block's zones.
func (b *Block) Mode(origin string) policy.Mode {
	if mode, ok := b.modes[origin]; ok {
		return mode
	}
	return b.mode
}

// Aging is when dynamic records of one of the block's zones go.
func (b *Block) Aging(origin string) zone.Aging {
	if a, ok := b.aging[origin]; ok {
		return a
	}
	return b.aging[""]
}

// DatabaseOf is the directory of one zone's database, below Database.
func (b *Block) DatabaseOf(origin string) string { return disk.Path(b.Database, origin) }

// limits are the words of the limit property.
var limits = map[string]func(*Block) *int{
	// What updates may do.
	"update-records":       func(b *Block) *int { return &b.Limits.UpdateRecords },
	"update-octets":        func(b *Block) *int { return &b.Limits.UpdateOctets },
	"update-non-terminals": func(b *Block) *int { return &b.Limits.NonTerminals },
	"rrset-records":        func(b *Block) *int { return &b.Limits.RecordsPerSet },
	"name-types":           func(b *Block) *int { return &b.Limits.TypesPerName },
	"zone-records":         func(b *Block) *int { return &b.Limits.ZoneRecords },
	"zone-octets":          func(b *Block) *int { return &b.Limits.ZoneOctets },
	"tombstones":           func(b *Block) *int { return &b.Limits.Tombstones },
	"owner-names":          func(b *Block) *int { return &b.Limits.OwnerNames },
	"owner-records":        func(b *Block) *int { return &b.Limits.OwnerRecords },
	"owner-octets":         func(b *Block) *int { return &b.Limits.OwnerOctets },
	"owner-tombstones":     func(b *Block) *int { return &b.Limits.OwnerTombstones },
	"queue":                func(b *Block) *int { return &b.Limits.Queue },
	"queue-octets":         func(b *Block) *int { return &b.Limits.QueueOctets },
	// Contexts.
	"contexts":           func(b *Block) *int { return &b.ContextLimits.MaxContexts },
	"principal-contexts": func(b *Block) *int { return &b.ContextLimits.MaxPerPrincipal },
	"half-open":          func(b *Block) *int { return &b.ContextLimits.MaxHalfOpen },
	"source-half-open":   func(b *Block) *int { return &b.ContextLimits.MaxHalfOpenPerSource },
	// What clients may cost that have not authenticated.
	"handshakes":         func(b *Block) *int { return &b.ListenerLimits.Handshakes },
	"handshake-queue":    func(b *Block) *int { return &b.ListenerLimits.HandshakeQueue },
	"handshake-failures": func(b *Block) *int { return &b.ListenerLimits.HandshakeFailures },
	"source-errors":      func(b *Block) *int { return &b.ListenerLimits.SourceErrors },
	"connections":        func(b *Block) *int { return &b.ListenerLimits.Connections },
	"source-connections": func(b *Block) *int { return &b.ListenerLimits.SourceConnections },
}

// properties are the words that a line of a block may begin with.
var properties = map[string]func(b *Block, c *caddy.Controller, root string, args []string) error{
	"keytab":           (*Block).keytab,
	"realm":            (*Block).realm,
	"principal":        (*Block).principal,
	"file":             (*Block).file,
	"database":         (*Block).database,
	"etcd":             (*Block).etcd,
	"etcd_prefix":      (*Block).etcdPrefix,
	"etcd_tls":         (*Block).etcdTLS,
	"etcd_credentials": (*Block).etcdCredentials,
	"etcd_server":      (*Block).etcdServer,
	"control":          (*Block).control,
	"updates":          (*Block).updates,
	"grant":            (*Block).grant,
	"deny":             (*Block).deny,
	"limit":            (*Block).limit,
	"proxies":          (*Block).proxies,
	"reclaim":          (*Block).reclaim,
	"transfers":        (*Block).transfers,
	"require_pac":      (*Block).requirePAC,
	"tombstones":       (*Block).tombstones,
	"aging":            (*Block).readAging,
	"krb5conf":         (*Block).krb5conf,
	"transit":          (*Block).transit,
	"enctypes":         (*Block).enctypes,
	"allow_rc4":        (*Block).allowRC4,
	"clockskew":        (*Block).clockskew,
	"lifetime":         (*Block).lifetime,
	"log":              (*Block).log,
	"status":           (*Block).status,
}

// Parse reads the gsstsig block that c stands before. Relative paths are below root. Errors name the Corefile line.
func Parse(c *caddy.Controller, root string) (*Block, error) {
	b := &Block{
		Seeds: make(map[string]string),
		mode:  policy.Secure,
		modes: make(map[string]policy.Mode),
		aging: make(map[string]zone.Aging),
		given: make(map[string]int),
	}
	for _, origin := range plugin.OriginsFromArgsOrServerBlock(nil, c.ServerBlockKeys) {
		// A zone is there once, by how many transports and ports it is served.
		if origin = dns.CanonicalName(origin); !slices.Contains(b.Origins, origin) {
			b.Origins = append(b.Origins, origin)
		}
	}
	if !c.Next() {
		return nil, c.ArgErr()
	}
	b.Position = position(c)
	b.path, b.firstLine = c.File(), c.Line()
	if len(c.RemainingArgs()) > 0 {
		return nil, c.Errf("gsstsig takes no arguments: its zones are those of the server block")
	}
	for c.NextBlock() {
		if err := b.property(c, root); err != nil {
			return nil, explain(err, c.File(), c.Line(), c.Line())
		}
	}
	b.lastLine = c.Line()
	if c.Next() {
		return nil, plugin.ErrOnce
	}
	if len(b.Keytabs) == 0 {
		return nil, c.Errf("keytab is missing. Fix: add \"keytab FILE\" with the key of DNS/HOST, where HOST is the name of this server; " +
			"kadmin ktadd, samba-tool domain exportkeytab or ktpass make the file")
	}
	if len(b.Origins) == 0 {
		return nil, c.Errf("the server block has no zone")
	}
	if err := b.checkEtcd(c); err != nil {
		return nil, explain(err, c.File(), b.firstLine, b.lastLine)
	}
	return b, nil
}

// property reads one property.
func (b *Block) property(c *caddy.Controller, root string) error {
	property := c.Val()
	read, ok := properties[property]
	if !ok {
		return c.Errf("unknown property %q; gsstsig knows %s", property, strings.Join(slices.Sorted(maps.Keys(properties)), ", "))
	}
	args := c.RemainingArgs()
	if slices.Contains(args, "") {
		return c.Errf("%s: an argument is empty", property)
	}
	return read(b, c, root, args)
}

// once notes a property that may be given once.
func (b *Block) once(c *caddy.Controller, property string) error {
	if b.given[property] > 0 {
		return c.Errf("%s is given twice", property)
	}
	b.given[property] = c.Line()
	return nil
}

func (b *Block) keytab(c *caddy.Controller, root string, args []string) error {
	if len(args) == 0 {
		return c.Errf("keytab needs one or more files")
	}
	for _, file := range args {
		b.Keytabs = append(b.Keytabs, below(root, file))
	}
	return nil
}

func (b *Block) realm(c *caddy.Controller, _ string, args []string) error {
	if len(args) == 0 {
		return c.Errf("realm needs one or more Kerberos realms")
	}
	for _, arg := range args {
		if strings.Contains(arg, "@") {
			return c.Errf("%q is a principal, not a realm. Fix: write what follows the @", arg)
		}
	}
	b.Realms = append(b.Realms, args...)
	return nil
}

func (b *Block) principal(c *caddy.Controller, _ string, args []string) error {
	if len(args) == 0 {
		return c.Errf("principal needs one or more service principals, such as DNS/ns1.example.com@EXAMPLE.COM")
	}
	for _, arg := range args {
		p, err := krb5.ParsePrincipal(arg)
		if err != nil {
			return c.Errf("principal %q: %v", arg, err)
		}
		b.Principals = append(b.Principals, p)
	}
	return nil
}

func (b *Block) file(c *caddy.Controller, root string, args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return c.Errf("file needs a master file and, in a block of several zones, its zone: file FILE [ZONE]")
	}
	if len(args) == 1 && len(b.Origins) != 1 {
		return c.Errf("file %s: the server block has %d zones. Fix: name the zone of the file, file FILE ZONE", args[0], len(b.Origins))
	}
	origin := b.Origins[0]
	if len(args) == 2 {
		var err error
		if origin, err = b.origin(args[1]); err != nil {
			return c.Errf("file %s: %v", args[0], err)
		}
	}
	if _, ok := b.Seeds[origin]; ok {
		return c.Errf("file %s: zone %s has a file already", args[0], origin)
	}
	b.Seeds[origin] = below(root, args[0])
	return nil
}

func (b *Block) database(c *caddy.Controller, root string, args []string) error {
	if len(args) != 1 {
		return c.Errf("database needs one directory")
	}
	if b.OnEtcd() {
		return c.Errf("database and etcd exclude each other: a zone is kept in one of them. Fix: remove one of the lines; " +
			"\"coredns gsstsig migrate\" moves a zone from one to the other")
	}
	b.Database = below(root, args[0])
	return b.once(c, "database")
}

func (b *Block) control(c *caddy.Controller, root string, args []string) error {
	switch {
	case len(args) != 1:
		return c.Errf("control needs the path of a unix socket, or off")
	case args[0] == "off":
		b.ControlOff = true
	default:
		b.Control = below(root, args[0])
	}
	return b.once(c, "control")
}

func (b *Block) updates(c *caddy.Controller, _ string, args []string) error {
	if len(args) == 0 {
		return c.Errf("updates needs one of none, secure, nonsecure-and-secure, and zones if it is not for all: updates MODE [ZONE...]")
	}
	mode, err := policy.ParseMode(args[0])
	if err != nil {
		return c.Err(err.Error())
	}
	if len(args) == 1 {
		b.mode = mode
		return b.once(c, "updates for all zones")
	}
	for _, arg := range args[1:] {
		origin, err := b.origin(arg)
		if err != nil {
			return c.Errf("updates %s: %v", args[0], err)
		}
		if _, ok := b.modes[origin]; ok {
			return c.Errf("updates is given twice for zone %s", origin)
		}
		b.modes[origin] = mode
	}
	return nil
}

func (b *Block) grant(c *caddy.Controller, _ string, args []string) error {
	return b.rule(c, "grant", args)
}

func (b *Block) deny(c *caddy.Controller, _ string, args []string) error {
	return b.rule(c, "deny", args)
}

func (b *Block) rule(c *caddy.Controller, property string, args []string) error {
	at := position(c)
	rule, err := policy.ParseRule(args, at, property == "deny")
	if err != nil {
		return c.Err(strings.TrimPrefix(err.Error(), at+": ")) // c.Err adds the position
	}
	b.Rules = append(b.Rules, rule)
	return nil
}

func (b *Block) transfers(c *caddy.Controller, _ string, args []string) error {
	if len(args) == 0 {
		return c.Errf("transfers needs identities, such as EXAMPLE.COM or external-dns@EXAMPLE.COM")
	}
	identities, err := policy.ParseIdentities(args)
	if err != nil {
		return c.Errf("transfers: %v", err)
	}
	b.Transfers = append(b.Transfers, identities...)
	b.TransferWords = append(b.TransferWords, args...)
	return nil
}

func (b *Block) requirePAC(c *caddy.Controller, _ string, args []string) error {
	if len(args) == 0 {
		b.RequirePACOfAll = true
	}
	b.RequirePAC = append(b.RequirePAC, args...)
	return b.once(c, "require_pac")
}

func (b *Block) proxies(c *caddy.Controller, _ string, args []string) error {
	if len(args) == 0 {
		return c.Errf("proxies needs identities, such as dhcp$@EXAMPLE.COM or the sid: of DnsUpdateProxy")
	}
	if _, err := policy.New(policy.Config{Proxies: args}); err != nil {
		return c.Errf("proxies: %v", err)
	}
	b.Proxies = append(b.Proxies, args...)
	return nil
}

func (b *Block) reclaim(c *caddy.Controller, _ string, args []string) error {
	if len(args) != 1 {
		return c.Errf("reclaim needs one of hosts, always, never")
	}
	var err error
	if b.Reclaim, err = policy.ParseReclaim(args[0]); err != nil {
		return c.Err(err.Error())
	}
	return b.once(c, "reclaim")
}

// maxLimit is the greatest limit: what is computed from it, such as a hundred times as much, is a number still.
const maxLimit = 1 << 40

func (b *Block) limit(c *caddy.Controller, _ string, args []string) error {
	names := strings.Join(slices.Sorted(maps.Keys(limits)), ", ")
	if len(args) != 2 {
		return c.Errf("limit needs a name and a number; the names are %s", names)
	}
	field, ok := limits[args[0]]
	if !ok {
		return c.Errf("unknown limit %q; the names are %s", args[0], names)
	}
	n, err := strconv.Atoi(args[1])
	if errors.Is(err, strconv.ErrRange) || err == nil && int64(n) > maxLimit {
		return c.Errf("limit %s: %s is too large a number. Fix: write one of at most %d", args[0], args[1], int64(maxLimit))
	}
	if err != nil || n < 1 {
		return c.Errf("limit %s needs a number of at least 1, not %q", args[0], args[1])
	}
	*field(b) = n
	return b.once(c, "limit "+args[0])
}

func (b *Block) tombstones(c *caddy.Controller, _ string, args []string) error {
	return b.duration(c, "tombstones", "168h", &b.Tombstones, args)
}

func (b *Block) readAging(c *caddy.Controller, _ string, args []string) error {
	const form = "aging needs the no-refresh and the refresh interval, and zones if it is not for all: aging 7d 7d [ZONE...]"
	if len(args) < 2 {
		return c.Errf(form)
	}
	var intervals [2]time.Duration
	for i, arg := range args[:2] {
		d, err := parseDuration(arg)
		if err != nil || d < time.Hour || d%time.Hour != 0 {
			return c.Errf("aging: %q is not a number of whole hours or days, from 1h to %dd, such as 7d. %s", arg, maxDays, form)
		}
		intervals[i] = d
	}
	a := zone.Aging{NoRefresh: intervals[0], Refresh: intervals[1]}
	if len(args) == 2 {
		b.aging[""] = a
		return b.once(c, "aging for all zones")
	}
	for _, arg := range args[2:] {
		origin, err := b.origin(arg)
		if err != nil {
			return c.Errf("aging: %v", err)
		}
		if _, ok := b.aging[origin]; ok {
			return c.Errf("aging is given twice for zone %s", origin)
		}
		b.aging[origin] = a
	}
	return nil
}

func (b *Block) clockskew(c *caddy.Controller, _ string, args []string) error {
	return b.duration(c, "clockskew", "300s", &b.ClockSkew, args)
}

func (b *Block) lifetime(c *caddy.Controller, _ string, args []string) error {
	if err := b.duration(c, "lifetime", "1h", &b.Lifetime, args); err != nil {
		return err
	}
	if b.Lifetime > gsstsig.MaxLifetime {
		return c.Errf("lifetime %s is more than the 68 years that a TKEY record can tell", args[0])
	}
	return nil
}

// duration reads a property that is a time.
func (b *Block) duration(c *caddy.Controller, property, example string, field *time.Duration, args []string) error {
	if len(args) != 1 {
		return c.Errf("%s needs a time, such as %s", property, example)
	}
	d, err := parseDuration(args[0])
	if err != nil || d < time.Second {
		return c.Errf("%s needs a time from 1s to %dd, such as %s, not %q", property, maxDays, example, args[0])
	}
	*field = d
	return b.once(c, property)
}

func (b *Block) krb5conf(c *caddy.Controller, root string, args []string) error {
	if len(args) != 1 {
		return c.Errf("krb5conf needs one file, whose section [capaths] says which realms tickets may come through")
	}
	b.Krb5conf = below(root, args[0])
	return b.once(c, "krb5conf")
}

func (b *Block) transit(c *caddy.Controller, _ string, args []string) error {
	switch {
	case len(args) == 1 && args[0] == "trust-kdc":
		b.TrustKDC = true
	case len(args) == 1 && args[0] == "check":
	default:
		return c.Errf("transit needs check, the default, or trust-kdc: whether the realms on a ticket's way " +
			"are checked against krb5conf even if the KDC has checked them")
	}
	return b.once(c, "transit")
}

func (b *Block) enctypes(c *caddy.Controller, _ string, args []string) error {
	if len(args) == 0 {
		return c.Errf("enctypes needs encryption types, such as aes256-cts-hmac-sha384-192 aes256-cts-hmac-sha1-96")
	}
	for _, arg := range args {
		id, err := krb5.ParseEnctype(arg)
		switch {
		case err == nil && id == krb5.RC4HMAC:
			return c.Errf("enctypes does not take %q. Fix: permit RC4 by allow_rc4", arg)
		case err != nil, !id.Supported():
			return c.Errf("enctypes does not know %q. Fix: name one of %v, %v, %v, %v or a short form of krb5.conf such as aes256-sha2",
				arg, krb5.AES128SHA1, krb5.AES256SHA1, krb5.AES128SHA2, krb5.AES256SHA2)
		}
		if !slices.Contains(b.Enctypes, id) {
			b.Enctypes = append(b.Enctypes, id)
		}
	}
	return b.once(c, "enctypes")
}

func (b *Block) allowRC4(c *caddy.Controller, _ string, args []string) error {
	if len(args) > 0 {
		return c.Errf("allow_rc4 takes no arguments")
	}
	b.AllowRC4 = true
	return b.once(c, "allow_rc4")
}

// origin finds the zone of the server block that a word of the Corefile names.
func (b *Block) origin(word string) (string, error) {
	hosts := plugin.Host(word).NormalizeExact()
	if len(hosts) != 1 {
		return "", fmt.Errorf("%q is not a zone", word)
	}
	want := dns.CanonicalName(hosts[0])
	for _, origin := range b.Origins {
		if origin == want {
			return origin, nil
		}
	}
	return "", fmt.Errorf("%s is not a zone of this server block (%s)", want, strings.Join(b.Origins, " "))
}

// position returns the current position as Corefile:LINE.
func position(c *caddy.Controller) string {
	return fmt.Sprintf("%s:%d", c.File(), c.Line())
}

// below makes a relative path one below the root directive's directory.
func below(root, path string) string {
	if filepath.IsAbs(path) || root == "" {
		return path
	}
	return filepath.Join(root, path)
}
