package extrablock

import (
	"fmt"
	"strings"

	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/parse"
	"github.com/coredns/coredns/plugin/pkg/transport"
)

// Zone is the domain of the added blocks' zones. No test of CoreDNS's asks for a name in it.
const Zone = "gsstsig.corednssuite.test"

// address is what CoreDNS makes the listening addresses of a server block's key of.
type address struct {
	port string // as in the key; empty: the default port
	bind string // the block's bind directives, as Corefile text
}

// Add returns the Corefile with one more server block for each port of its server blocks, of plain DNS alone, and each set of
// bind directives there. added is the number of these blocks. Each has a zone of its own, since two blocks with one zone must
// not share an address.
//
// Add returns the Corefile unchanged if it has no plain address, or if no block can be added: because it is broken, which
// the tests want to see refused, or because its only block has no braces.
func Add(corefile, keytab string) (result string, added int) {
	before, err := caddyfile.Parse("Corefile", strings.NewReader(corefile), nil)
	if err != nil {
		return corefile, 0
	}
	addresses, err := plainAddresses(before)
	if err != nil {
		return corefile, 0
	}
	var text strings.Builder
	text.WriteString(corefile)
	for i, a := range addresses {
		key := fmt.Sprintf("%d.%s", i, Zone)
		if a.port != "" {
			key += ":" + a.port
		}
		fmt.Fprintf(&text, "\n%s {\n%s\tgsstsig {\n\t\tkeytab %s\n\t}\n}\n", key, a.bind, quoted(keytab))
	}
	after, err := caddyfile.Parse("Corefile", strings.NewReader(text.String()), nil)
	if err != nil || len(after) != len(before)+len(addresses) {
		return corefile, 0
	}
	return text.String(), len(addresses)
}

// plainAddresses returns the addresses of plain DNS, each once, in the order of the Corefile.
func plainAddresses(blocks []caddyfile.ServerBlock) ([]address, error) {
	var addresses []address
	known := make(map[address]bool)
	for _, block := range blocks {
		bind := directive(block, "bind")
		for _, key := range block.Keys {
			protocol, name := parse.Transport(key)
			if protocol != transport.DNS {
				continue
			}
			_, port, err := plugin.SplitHostPort(name)
			if err != nil {
				return nil, err
			}
			a := address{port: port, bind: bind}
			if !known[a] {
				known[a] = true
				addresses = append(addresses, a)
			}
		}
	}
	return addresses, nil
}

// directive returns what a server block has of a directive, with its arguments and its own block, as Corefile text.
func directive(block caddyfile.ServerBlock, name string) string {
	var text strings.Builder
	for i, token := range block.Tokens[name] {
		switch {
		case i == 0:
			text.WriteString("\t")
		case token.Line != block.Tokens[name][i-1].Line || token.File != block.Tokens[name][i-1].File:
			text.WriteString("\n\t")
		default:
			text.WriteString(" ")
		}
		text.WriteString(quoted(token.Text))
	}
	if text.Len() > 0 {
		text.WriteString("\n")
	}
	return text.String()
}

// quoted returns the Corefile text of a token.
func quoted(token string) string {
	if token != "" && !strings.ContainsAny(token, " \t\r\n\"#") {
		return token
	}
	return `"` + strings.ReplaceAll(token, `"`, `\"`) + `"`
}
