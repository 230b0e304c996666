package corefile

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	stdlog "log"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/pkg/parse"
	"github.com/coredns/coredns/plugin/pkg/transport"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// A Configuration is a whole Corefile after the setup of all its directives.
type Configuration struct {
	Servers  []Server           // those that have a gsstsig block without errors
	Keys     []string           // names of the HMAC keys of all server blocks; nil if there were errors
	Ports    []string           // of all server blocks
	Findings []diagnose.Finding // errors keep CoreDNS from starting, warnings are what the directives logged
}

// Inspect sets up the directives of a Corefile in the order and with the functions that CoreDNS uses, and goes on after
// errors. It does not start anything: CoreDNS opens sockets, and plugins start their work, in start functions, which are not
// run. gsstsig blocks are parsed, and no file that they name is opened. Files that other directives name are read: zones,
// keys, certificates.
//
// path names the Corefile in messages. port is that of server blocks without one. Setup functions write to the standard
// logger, which Inspect replaces until it returns, and may change global state of their plugins: a process that serves must
// not call it. Of several calls at once each waits for those before it.
func Inspect(path string, content []byte, port string) *Configuration {
	inspecting.Lock()
	defer inspecting.Unlock()
	in := &inspection{path: path, content: content, base: caddy.NewTestController("dns", "")}
	standardPort := dnsserver.Port
	dnsserver.Port = port
	defer func() { dnsserver.Port = standardPort }()
	out, flags := stdlog.Writer(), stdlog.Flags()
	stdlog.SetOutput(&in.log)
	stdlog.SetFlags(0)
	defer func() {
		stdlog.SetOutput(out)
		stdlog.SetFlags(flags)
	}()
	in.run()
	in.takeLog(path)
	return &in.Configuration
}

// inspecting guards what is global of CoreDNS: the standard port, the standard logger, and the state of plugins.
var inspecting sync.Mutex

type inspection struct {
	Configuration
	path    string
	content []byte
	log     bytes.Buffer      // what setup functions write to the standard logger
	base    *caddy.Controller // has the state that all controllers of one Corefile share
	blocks  []caddyfile.ServerBlock
	sites   []site
	failed  bool
	missing []string // directives whose plugins this program does not have
}

// site is one key of a server block.
type site struct {
	*dnsserver.Config
	first *dnsserver.Config // of the block: what the block's directives have set
	block int
}

func (in *inspection) run() {
	var err error
	if in.blocks, err = caddyfile.Parse(in.path, bytes.NewReader(in.content), nil); err != nil {
		in.fail(in.path, "", err)
		return
	}
	if len(in.blocks) == 0 {
		in.add(diagnose.Error, in.path, "it has no server block, and CoreDNS starts its default, which serves no zone",
			"write a server block for each zone, such as \"example.com { ... }\"")
		return
	}
	if !in.inspectKeys() {
		return
	}
	for _, directive := range dnsserver.Directives {
		for i, block := range in.blocks {
			if tokens, ok := block.Tokens[directive]; ok {
				in.setUp(directive, i, block, tokens)
			}
		}
	}
	in.findUnknown()
	if len(in.missing) > 0 {
		in.Findings = append(in.Findings, diagnose.Finding{Severity: diagnose.Warning, Subject: in.path,
			Problem: fmt.Sprintf("this program does not have the plugins %s, so that their lines are not examined", strings.Join(in.missing, ", ")),
			Fix:     "check the Corefile by the program that serves it"})
	}
	if in.failed {
		return
	}
	in.compareKeys()
	in.findTransports()
	in.findAddresses()
	if _, err := in.base.Context().MakeServers(); err != nil {
		in.fail(in.path, "", diagnose.WithFix(err, "merge server blocks that have the same zone on the same port, or tell them apart by bind or view"))
	}
}

// inspectKeys reads the keys of all server blocks, and reports whether they are right.
func (in *inspection) inspectKeys() bool {
	const fix = "write ZONE, ZONE:PORT or SCHEME://ZONE:PORT, where ZONE is a domain name or a network such as 192.0.2.0/24"
	for _, block := range in.blocks {
		for _, key := range block.Keys {
			// On a copy, for the error does not tell the key.
			alone := []caddyfile.ServerBlock{{Keys: []string{key}}}
			c := caddy.NewTestController("dns", "")
			if _, err := c.Context().InspectServerBlocks(in.path, alone); err != nil {
				in.fail(in.keyPosition(key), "", diagnose.WithFix(fmt.Errorf("server block %s: %w", key, err), fix))
				continue
			}
			config := dnsserver.GetConfig(c)
			if port, err := strconv.Atoi(config.Port); err != nil || port > 65535 {
				in.fail(in.keyPosition(key), "", diagnose.WithFix(fmt.Errorf("server block %s: %s is not a port", key, config.Port), fix))
			} else if strings.Contains(config.Zone, ":") {
				in.add(diagnose.Error, in.keyPosition(key), fmt.Sprintf("server block %s: CoreDNS takes %s as the name of the zone, since what follows the colon is not a port", key, config.Zone), fix)
			} else if strings.Contains(config.Zone, "/") && !dns.IsSubDomain("arpa.", config.Zone) { // those of RFC 2317 have slashes
				in.add(diagnose.Warning, in.keyPosition(key), fmt.Sprintf("server block %s: CoreDNS takes %s as the name of the zone, since it is not a network", key, config.Zone),
					"write the network with its address, such as 192.0.2.0/24, or the zone's name, such as 2.0.192.in-addr.arpa")
			}
		}
	}
	if in.failed {
		return false
	}
	blocks, err := in.base.Context().InspectServerBlocks(in.path, in.blocks)
	if err != nil {
		in.fail(in.path, "", err)
		return false
	}
	in.blocks = blocks
	for i, block := range blocks {
		c := *in.base
		c.ServerBlockIndex = i
		first := dnsserver.GetConfig(&c)
		for j := range block.Keys {
			c.ServerBlockKeyIndex = j
			if config := dnsserver.GetConfig(&c); !slices.Contains(in.Ports, config.Port) {
				in.Ports = append(in.Ports, config.Port)
			}
			in.sites = append(in.sites, site{dnsserver.GetConfig(&c), first, i})
		}
	}
	return true
}

// setUp sets up one directive of a server block.
func (in *inspection) setUp(directive string, index int, block caddyfile.ServerBlock, tokens []caddyfile.Token) {
	at := in.position(tokens[0])
	if directive == pluginName {
		parsed, err := Parse(controller(in.path, tokens, block.Keys), rootOf(in.path, block))
		if err != nil {
			in.fail(at, directive, err)
			return
		}
		server := Server{Block: parsed, Keys: block.Keys, Bind: words(in.path, block, "bind")}
		for _, s := range in.sites {
			if s.block == index {
				server.TLS = s.first.TLSConfig
			}
		}
		in.Servers = append(in.Servers, server)
		return
	}
	setup, err := caddy.DirectiveAction("dns", directive)
	if err != nil {
		if !slices.Contains(in.missing, directive) {
			in.missing = append(in.missing, directive)
		}
		return
	}
	c := *in.base
	c.Dispenser = caddyfile.NewDispenserTokens(in.path, tokens)
	c.Key, c.ServerBlockIndex, c.ServerBlockKeys = block.Keys[0], index, block.Keys
	in.takeLog(in.path)
	if err := run(setup, &c); err != nil {
		in.fail(at, directive, err)
	}
	in.takeLog(at)
}

// takeLog makes findings of the warnings and errors that were logged since the last call.
func (in *inspection) takeLog(position string) {
	for line := range strings.Lines(in.log.String()) {
		for _, level := range []string{"[WARNING] ", "[ERROR] "} {
			if text, ok := strings.CutPrefix(strings.TrimSpace(line), level); ok {
				in.add(diagnose.Warning, position, prefix.ReplaceAllString(text, ""), "")
			}
		}
	}
	in.log.Reset()
}

// add adds a finding.
func (in *inspection) add(severity diagnose.Severity, position, problem, fix string) {
	in.Findings = append(in.Findings, diagnose.Finding{Severity: severity, Subject: position, Problem: problem, Fix: fix})
}

// findUnknown finds directives that are none of this program's. They are errors if the program has all plugins of its order, as
// a server has. Another program, such as gsstsigctl, cannot tell.
func (in *inspection) findUnknown() {
	isServer := !slices.ContainsFunc(dnsserver.Directives, func(directive string) bool {
		_, err := caddy.DirectiveAction("dns", directive)
		return err != nil
	})
	for _, block := range in.blocks {
		for _, directive := range slices.Sorted(maps.Keys(block.Tokens)) {
			switch {
			case slices.Contains(dnsserver.Directives, directive):
			case isServer:
				fix := "correct the word, or use a CoreDNS that has the plugin: coredns -plugins lists those of a binary"
				if _, known := properties[directive]; known {
					fix = "it is a property of gsstsig: move the line into the braces after gsstsig"
				}
				in.fail(in.position(block.Tokens[directive][0]), "", diagnose.WithFix(fmt.Errorf("unknown directive %q", directive), "%s", fix))
			case !slices.Contains(in.missing, directive):
				in.missing = append(in.missing, directive)
			}
		}
	}
}

// run calls a setup function.
func run(setup caddy.SetupFunc, c *caddy.Controller) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("its setup panics: %v", reason)
		}
	}()
	return setup(c)
}

// parsing is what caddy puts in front of its errors, and CoreDNS in front of its plugins'.
var (
	parsing = regexp.MustCompile(`(\S+:[0-9]+) - (?:Error during parsing|Syntax error): `)
	prefix  = regexp.MustCompile(`^(?:plugin/[a-z0-9_]+: )+`)
)

// fail adds an error. Its position is the one that it names, or the given one.
func (in *inspection) fail(position, directive string, err error) {
	in.failed = true
	f := diagnose.FromError("", err)
	if problem, fix, found := strings.Cut(f.Problem, ". Fix: "); found && f.Fix == "" {
		f.Problem, f.Fix = problem, fix
	}
	f.Problem = prefix.ReplaceAllString(f.Problem, "")
	if at := parsing.FindStringSubmatchIndex(f.Problem); at != nil {
		position = f.Problem[at[2]:at[3]]
		f.Problem = f.Problem[:at[0]] + f.Problem[at[1]:]
	}
	f.Subject = position
	f.Problem = strings.TrimPrefix(f.Problem, position+": ")
	if f.Fix == "" {
		f.Fix = "correct the line; " + manual(directive)
		// The errors of other plugins are texts.
		switch {
		case strings.HasSuffix(f.Problem, syscall.EACCES.Error()):
			f.Fix = "let the user that the server runs as read the file"
		case strings.HasSuffix(f.Problem, syscall.ENOENT.Error()):
			f.Fix = "put the file there, or " + f.Fix
		case strings.HasSuffix(f.Problem, "private key does not match public key"):
			f.Fix = "name the key that the certificate was made for"
		}
	}
	if directive != "" && !strings.HasPrefix(f.Problem, directive) {
		f.Problem = directive + ": " + f.Problem
	}
	f.Problem = "the server does not start: " + f.Problem
	in.Findings = append(in.Findings, f)
}

// manual says where the syntax of a directive is described.
func manual(directive string) string {
	switch directive {
	case "":
		return "the form of a Corefile is described at https://coredns.io/manual/configuration/"
	case pluginName:
		return "plugin/README.md describes it, in the section Syntax"
	}
	return "its forms are described at https://coredns.io/plugins/" + strings.TrimPrefix(directive, "dns.")
}

// keyPosition is the position of a key of a server block in the Corefile, or the Corefile if another file has it.
func (in *inspection) keyPosition(key string) string {
	tokens := caddyfile.NewDispenser(in.path, bytes.NewReader(in.content))
	for tokens.Next() {
		if strings.TrimSuffix(tokens.Val(), ",") == key {
			return in.position(caddyfile.Token{Line: tokens.Line()})
		}
	}
	return in.path
}

// position returns FILE:LINE of a token. Those of the Corefile itself have no file.
func (in *inspection) position(t caddyfile.Token) string {
	if t.File == "" {
		t.File = in.path
	}
	return t.File + ":" + strconv.Itoa(t.Line)
}

// compareKeys collects the HMAC keys, and finds keys of one name with different secrets on one address: CoreDNS uses one of
// them for all server blocks there.
func (in *inspection) compareKeys() {
	in.Keys = []string{}
	type place struct{ address, name string }
	secrets := make(map[place]string)
	reported := make(map[place]bool)
	for _, s := range in.sites {
		for name, secret := range s.first.TsigSecret {
			in.Keys = append(in.Keys, name)
			for _, host := range s.first.ListenHosts {
				p := place{s.Transport + "://" + net.JoinHostPort(host, s.Port), name}
				if known, ok := secrets[p]; ok && known != secret && !reported[p] {
					reported[p] = true
					in.Findings = append(in.Findings, diagnose.Finding{Severity: diagnose.Error, Subject: in.path,
						Problem:     fmt.Sprintf("server blocks on %s give the key %s different secrets, and CoreDNS uses one of them for all", p.address, name),
						ClientError: `"tsig verify failure (BADSIG)"`, Fix: "give the keys different names"})
				}
				secrets[p] = secret
			}
			if _, err := base64.StdEncoding.DecodeString(secret); err != nil {
				in.add(diagnose.Error, in.directivePosition("tsig", in.blocks[s.block]), fmt.Sprintf("the secret of the key %s is not base64, so that no client can use the key", name),
					"make a key by tsig-keygen, or openssl rand -base64 32")
			}
		}
	}
	slices.Sort(in.Keys)
	in.Keys = slices.Compact(in.Keys)
}

// findTransports finds zones of gsstsig on transports by which no update is taken, and encrypted transports without a
// certificate, or with one that is not valid.
func (in *inspection) findTransports() {
	examined := make(map[int]bool) // blocks
	for _, s := range in.sites {
		if s.Transport == transport.DNS || s.Transport == transport.UNIX {
			continue
		}
		if s.first.TLSConfig != nil {
			if block := in.blocks[s.block]; !examined[s.block] {
				in.Findings = append(in.Findings, CertificateFindings(s.first.TLSConfig, block.Keys, in.directivePosition("tls", block))...)
			}
			examined[s.block] = true
			continue
		}
		if _, own := in.blocks[s.block].Tokens[pluginName]; own && s.Transport == transport.TLS {
			in.add(diagnose.Error, in.path, fmt.Sprintf("%s://%s:%s has no certificate, and gsstsig does not start without", s.Transport, s.Zone, s.Port),
				"add \"tls CERTIFICATE KEY\" to the server block")
			continue
		}
		in.add(diagnose.Warning, in.path, fmt.Sprintf("%s://%s:%s has no certificate: CoreDNS answers there in plain text, or not at all", s.Transport, s.Zone, s.Port),
			"add \"tls CERTIFICATE KEY\" to the server block")
	}
	for _, server := range in.Servers {
		in.Findings = append(in.Findings, TransportFindings(server.Keys, server.Position)...)
	}
}

// TransportFindings says by which keys of a server block with gsstsig no update is taken.
func TransportFindings(keys []string, position string) []diagnose.Finding {
	var others []string
	serves := false
	for _, key := range keys {
		switch scheme, _ := parse.Transport(key); scheme {
		case transport.DNS, transport.TLS:
			serves = true
		default:
			others = append(others, key)
		}
	}
	if len(others) == 0 {
		return nil
	}
	f := diagnose.Finding{Severity: diagnose.Warning, Subject: position,
		Problem:     fmt.Sprintf("updates by %s are refused: they are taken by plain DNS and by DNS over TLS", strings.Join(others, ", ")),
		ClientError: `"REFUSED"`, Fix: "have clients update by plain DNS or DNS over TLS, to another key of this server block"}
	if !serves {
		f.Problem = fmt.Sprintf("no update can be made: the server block has only %s, and updates are taken by plain DNS and by DNS over TLS only", strings.Join(others, ", "))
		f.Fix = "add the zone without a scheme to the server block, or with tls://"
	}
	return []diagnose.Finding{f}
}

// certificateWarning is how long before the end of a certificate it is reported. Most programs that renew certificates do so a
// month before.
const certificateWarning = 14 * 24 * time.Hour

// CertificateFindings says which certificates of a server block are not valid any more, or will not be for long. keys are those of
// the block, and position is where its certificates are named. Those that a plugin gets by itself are not known here.
func CertificateFindings(config *tls.Config, keys []string, position string) []diagnose.Finding {
	if config == nil {
		return nil
	}
	var encrypted []string
	for _, key := range keys {
		if scheme, _ := parse.Transport(key); scheme != transport.DNS && scheme != transport.UNIX {
			encrypted = append(encrypted, key)
		}
	}
	if len(encrypted) == 0 {
		return nil
	}
	var findings []diagnose.Finding
	add := func(severity diagnose.Severity, validity string, at time.Time, rest, fix string) {
		findings = append(findings, diagnose.Finding{Severity: severity, Subject: position, Fix: fix,
			Problem: fmt.Sprintf("the certificate of %s %s %s%s", strings.Join(encrypted, ", "), validity, at.UTC().Format(time.DateTime), rest)})
	}
	for _, pair := range config.Certificates {
		if len(pair.Certificate) == 0 {
			continue
		}
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			continue // what the tls plugin has loaded can be parsed
		}
		const fix = "renew the certificate, and reload CoreDNS by SIGUSR1: the plugin reload does so only if the Corefile changes"
		switch now := time.Now(); {
		case now.After(leaf.NotAfter):
			add(diagnose.Error, "was valid until", leaf.NotAfter, ": clients that check it do not connect", fix)
		case now.Before(leaf.NotBefore):
			add(diagnose.Error, "is not valid before", leaf.NotBefore, "", "set the clock, or have the certificate made again")
		case now.Add(certificateWarning).After(leaf.NotAfter):
			add(diagnose.Warning, "is valid until", leaf.NotAfter, " only", fix)
		}
	}
	return findings
}

// findAddresses finds addresses that the server cannot listen on: those of bind that this machine does not have, and those of
// directives that listen in a start function.
func (in *inspection) findAddresses() {
	known := make(map[string]bool)
	for _, s := range in.sites {
		for _, host := range s.first.ListenHosts {
			if known[host] {
				continue
			}
			known[host] = true
			// Port 0 is one that is free.
			socket, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
			if err == nil {
				err = socket.Close()
			}
			if err != nil {
				in.fail(in.directivePosition("bind", in.blocks[s.block]), "bind", diagnose.WithFix(fmt.Errorf("the server cannot listen on %s: %w", host, err),
					"name addresses of this machine"))
			}
		}
	}
	in.findStatusPages()
	for _, block := range in.blocks {
		for _, directive := range httpDirectives {
			args := words(in.path, block, directive)
			// Properties in braces may follow without an address.
			if tokens := block.Tokens[directive]; len(args) == 0 || tokens[1].Line != tokens[0].Line || tokens[1].Text == "{" {
				continue
			}
			if _, err := net.ResolveTCPAddr("tcp", args[0]); err != nil {
				in.add(diagnose.Error, in.position(block.Tokens[directive][0]), fmt.Sprintf("%s cannot listen on %q: %v", directive, args[0], err),
					"write HOST:PORT or :PORT; "+manual(directive))
			}
		}
	}
}

// httpDirectives listen for HTTP in a start function.
var httpDirectives = []string{"health", "ready", "prometheus", "pprof"}

// findStatusPages finds status pages on addresses that this machine does not have, or that another directive has.
func (in *inspection) findStatusPages() {
	const fix = "name an address of this machine and a port that is free"
	known := make(map[string]string) // positions
	for _, server := range in.Servers {
		if server.StatusPage == "" || known[server.StatusPage] != "" {
			continue
		}
		for _, address := range slices.Sorted(maps.Keys(known)) {
			if overlap(address, server.StatusPage) {
				in.fail(server.Position, pluginName, diagnose.WithFix(fmt.Errorf("status %s: status %s in %s is the same address", server.StatusPage, address, known[address]),
					"write the address in one way, so that the blocks share the page"))
			}
		}
		known[server.StatusPage] = server.Position
		host, _, _ := net.SplitHostPort(server.StatusPage) // as the property demands
		socket, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err == nil {
			err = socket.Close()
		}
		if err != nil {
			in.fail(server.Position, pluginName, diagnose.WithFix(fmt.Errorf("status %s: %w", server.StatusPage, err), fix))
			continue
		}
		for _, block := range in.blocks {
			for _, directive := range httpDirectives {
				if args := words(in.path, block, directive); len(args) > 0 && overlap(args[0], server.StatusPage) {
					in.fail(server.Position, pluginName, diagnose.WithFix(fmt.Errorf("status %s: %s in %s has that address", server.StatusPage, directive,
						in.position(block.Tokens[directive][0])), fix))
				}
			}
		}
	}
}

// overlap reports whether one process cannot listen on both addresses.
func overlap(a, b string) bool {
	x, err := net.ResolveTCPAddr("tcp", a)
	if err != nil {
		return false
	}
	y, err := net.ResolveTCPAddr("tcp", b)
	if err != nil || x.Port != y.Port || x.Port == 0 {
		return false
	}
	any := func(ip net.IP) bool { return ip == nil || ip.IsUnspecified() }
	return any(x.IP) || any(y.IP) || x.IP.Equal(y.IP)
}

// directivePosition is that of a directive in a server block, or in the first one that has it.
func (in *inspection) directivePosition(directive string, blocks ...caddyfile.ServerBlock) string {
	for _, block := range slices.Concat(blocks, in.blocks) {
		if tokens := block.Tokens[directive]; len(tokens) > 0 {
			return in.position(tokens[0])
		}
	}
	return in.path
}

// rootOf is the directory of the root directive of a server block, or "".
func rootOf(path string, block caddyfile.ServerBlock) string {
	if words := words(path, block, "root"); len(words) > 0 {
		return words[len(words)-1]
	}
	return ""
}
