package corefile

import (
	"fmt"
	"os"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/core/dnsserver"
)

// Server is a server block of a Corefile that has a gsstsig block.
type Server struct {
	*Block
	Keys []string // of the server block, as written
}

// ReadFile reads the gsstsig blocks of a Corefile. It starts nothing and opens no file but the Corefile and what that
// imports. A Corefile without gsstsig is an error.
func ReadFile(path string) ([]Server, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	blocks, err := caddyfile.Parse(path, f, dnsserver.Directives)
	if err != nil {
		return nil, err
	}
	var servers []Server
	for _, block := range blocks {
		tokens, ok := block.Tokens["gsstsig"]
		if !ok {
			continue
		}
		root, err := rootOf(path, block)
		if err != nil {
			return nil, err
		}
		parsed, err := Parse(controller(path, tokens, block.Keys), root)
		if err != nil {
			return nil, err
		}
		servers = append(servers, Server{Block: parsed, Keys: block.Keys})
	}
	if len(servers) == 0 {
		return nil, fmt.Errorf("%s: no server block has gsstsig", path)
	}
	return servers, nil
}

// rootOf is the directory of a server block's root directive, empty without one.
func rootOf(path string, block caddyfile.ServerBlock) (string, error) {
	tokens, ok := block.Tokens["root"]
	if !ok {
		return "", nil
	}
	c := controller(path, tokens, block.Keys)
	root := ""
	for c.Next() {
		if !c.NextArg() {
			return "", c.ArgErr()
		}
		root = c.Val()
	}
	return root, nil
}

func controller(path string, tokens []caddyfile.Token, keys []string) *caddy.Controller {
	return &caddy.Controller{Dispenser: caddyfile.NewDispenserTokens(path, tokens), ServerBlockKeys: keys}
}
