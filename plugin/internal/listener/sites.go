package listener

import (
	"bytes"
	"fmt"
	"io"
	stdlog "log"
	"net"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/parse"
	"github.com/coredns/coredns/plugin/pkg/transport"
)

// site is one key of one server block: a zone on a port.
type site struct {
	config    *dnsserver.Config
	first     *dnsserver.Config // of the block: the one that the setup functions of the block's directives saw
	block     int
	addresses []string // "dns://host:port" or "tls://host:port", none for other transports
	transport string   // of the key
	moved     bool

	// What the takeover hides from CoreDNS until the servers are made.
	filters []dnsserver.FilterFunc
}

// findSites lists the sites of the whole Corefile. dnsserver gives out configs by the indices of server block and key,
// but does not tell how many there are, and makes an unusable config for an index out of range. So the Corefile is read
// again to count them.
func (in *instance) findSites() error {
	input := in.caddy.Caddyfile()
	var blocks []caddyfile.ServerBlock
	var err error
	withoutImportWarnings(func() {
		blocks, err = caddyfile.Parse(input.Path(), bytes.NewReader(input.Body()), caddy.ValidDirectives(input.ServerType()))
	})
	if err != nil {
		return fmt.Errorf("read %s again: %w", input.Path(), err)
	}
	counts := make([]int, len(blocks))
	for i, block := range blocks {
		for _, key := range block.Keys {
			_, name := parse.Transport(key)
			// An address range that does not end on an octet stands for several zones.
			zones, _, err := plugin.SplitHostPort(name)
			if err != nil {
				return fmt.Errorf("read %s again: %w", input.Path(), err)
			}
			counts[i] += len(zones)
		}
	}
	for _, b := range in.blocks {
		if b.index >= len(counts) || counts[b.index] != b.keys {
			return fmt.Errorf("%s, or a file that it imports, changed while it was read", input.Path())
		}
	}

	in.sites = nil
	for block, keys := range counts {
		var first *dnsserver.Config
		for key := range keys {
			c := in.controller
			c.ServerBlockIndex, c.ServerBlockKeyIndex = block, key
			config := dnsserver.GetConfig(&c)
			if key == 0 {
				first = config
			}
			s := site{config: config, first: first, block: block, transport: config.Transport}
			if ownTransport(s.transport) {
				// MakeServers is going to copy the first key's hosts to the others.
				for _, host := range first.ListenHosts {
					addr, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(host, config.Port))
					if err != nil {
						return err
					}
					s.addresses = append(s.addresses, s.transport+"://"+addr.String())
				}
			}
			in.sites = append(in.sites, s)
		}
	}
	return nil
}

// ownTransport reports whether this package serves addresses of a transport.
func ownTransport(name string) bool { return name == transport.DNS || name == transport.TLS }

// withoutImportWarnings keeps the log free of what caddy has already said when it read the Corefile.
func withoutImportWarnings(read func()) {
	out := stdlog.Writer()
	stdlog.SetOutput(importWarningFilter{out})
	defer stdlog.SetOutput(out)
	read()
}

// importWarningFilter passes on all lines but those of caddy about an import without a file.
type importWarningFilter struct{ io.Writer }

// Write implements io.Writer. The log package calls it for each line.
func (f importWarningFilter) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("[WARNING] No files matching import glob pattern:")) {
		return len(line), nil
	}
	return f.Writer.Write(line)
}
