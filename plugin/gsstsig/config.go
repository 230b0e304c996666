package gsstsig

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// config is one gsstsig block as written in the Corefile, checked for form but with no file opened.
type config struct {
	position   string                 // of the block: Corefile and line
	origins    []string               // the server block's zones, canonical
	keytabs    []string               // files
	realms     []string               // client realms; empty: the keytabs' own
	principals []krb5.Principal       // service principals; empty: every DNS/host of the keytabs
	seeds      map[string]string      // origin to master file
	mode       policy.Mode            // of the zones that modes does not name
	modes      map[string]policy.Mode // by origin
	rules      []policy.Rule
}

// parse reads the gsstsig block. Errors name the Corefile line.
func parse(c *caddy.Controller) (*config, error) {
	conf := &config{mode: policy.Secure, modes: make(map[string]policy.Mode), seeds: make(map[string]string)}
	for _, origin := range plugin.OriginsFromArgsOrServerBlock(nil, c.ServerBlockKeys) {
		conf.origins = append(conf.origins, dns.CanonicalName(origin))
	}
	root := dnsserver.GetConfig(c).Root

	if !c.Next() {
		return nil, c.ArgErr()
	}
	conf.position = position(c)
	if len(c.RemainingArgs()) > 0 {
		return nil, c.Errf("gsstsig takes no arguments: its zones are those of the server block")
	}
	var modeGiven bool
	for c.NextBlock() {
		property := c.Val()
		line := position(c)
		args := c.RemainingArgs()
		switch property {
		case "keytab":
			if len(args) == 0 {
				return nil, c.Errf("keytab wants one or more files")
			}
			for _, file := range args {
				conf.keytabs = append(conf.keytabs, below(root, file))
			}
		case "realm":
			if len(args) == 0 {
				return nil, c.Errf("realm wants one or more Kerberos realms")
			}
			conf.realms = append(conf.realms, args...)
		case "principal":
			if len(args) == 0 {
				return nil, c.Errf("principal wants one or more service principals, such as DNS/ns1.example.com@EXAMPLE.COM")
			}
			for _, arg := range args {
				p, err := krb5.ParsePrincipal(arg)
				if err != nil {
					return nil, c.Errf("principal %q: %v", arg, err)
				}
				conf.principals = append(conf.principals, p)
			}
		case "file":
			if len(args) < 1 || len(args) > 2 {
				return nil, c.Errf("file wants a master file and, in a block of several zones, its zone: file FILE [ZONE]")
			}
			origin, err := conf.seedOrigin(args[1:])
			if err != nil {
				return nil, c.Errf("file %s: %v", args[0], err)
			}
			if _, ok := conf.seeds[origin]; ok {
				return nil, c.Errf("file %s: zone %s has a file already", args[0], origin)
			}
			conf.seeds[origin] = below(root, args[0])
		case "updates":
			if len(args) == 0 {
				return nil, c.Errf("updates wants one of none, secure, nonsecure-and-secure, and zones if it is not for all: updates MODE [ZONE...]")
			}
			mode, err := policy.ParseMode(args[0])
			if err != nil {
				return nil, c.Errf("updates: %v", err)
			}
			if len(args) == 1 {
				if modeGiven {
					return nil, c.Errf("updates is given twice for all zones")
				}
				modeGiven = true
				conf.mode = mode
			}
			for _, arg := range args[1:] {
				origin, err := conf.origin(arg)
				if err != nil {
					return nil, c.Errf("updates %s: %v", args[0], err)
				}
				if _, ok := conf.modes[origin]; ok {
					return nil, c.Errf("updates is given twice for zone %s", origin)
				}
				conf.modes[origin] = mode
			}
		case "grant", "deny":
			rule, err := policy.ParseRule(args, line, property == "deny")
			if err != nil {
				return nil, c.Errf("%s: %v", property, err)
			}
			conf.rules = append(conf.rules, rule)
		default:
			return nil, c.Errf("unknown property %q; gsstsig knows keytab, realm, principal, file, updates, grant, deny", property)
		}
	}
	if c.Next() {
		return nil, plugin.ErrOnce
	}
	if len(conf.keytabs) == 0 {
		return nil, c.Errf("keytab is missing: gsstsig needs the key of DNS/<this server's host name>; " +
			"`kadmin ktadd`, `samba-tool domain exportkeytab` or `ktpass` make the file")
	}
	if len(conf.origins) == 0 {
		return nil, c.Errf("the server block has no zone")
	}
	return conf, nil
}

// seedOrigin finds the zone that a file property is for.
func (conf *config) seedOrigin(args []string) (string, error) {
	if len(args) == 0 {
		if len(conf.origins) != 1 {
			return "", fmt.Errorf("the server block has %d zones: say which one the file is for, file FILE ZONE", len(conf.origins))
		}
		return conf.origins[0], nil
	}
	return conf.origin(args[0])
}

// origin finds the zone of the server block that a word of the Corefile names.
func (conf *config) origin(word string) (string, error) {
	hosts := plugin.Host(word).NormalizeExact()
	if len(hosts) != 1 {
		return "", fmt.Errorf("%q is not a zone", word)
	}
	want := dns.CanonicalName(hosts[0])
	for _, origin := range conf.origins {
		if origin == want {
			return origin, nil
		}
	}
	return "", fmt.Errorf("%s is not a zone of this server block (%s)", want, strings.Join(conf.origins, " "))
}

// modeOf is the mode of updates in a zone.
func (conf *config) modeOf(origin string) policy.Mode {
	if mode, ok := conf.modes[origin]; ok {
		return mode
	}
	return conf.mode
}

// position tells where in the Corefile the current word stands.
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
