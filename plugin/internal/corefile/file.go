package corefile

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
)

// pluginName is the directive of this plugin.
const pluginName = "gsstsig"

// A Server is a server block of a Corefile that has a gsstsig block.
type Server struct {
	*Block
	Keys []string    // of the server block, as written
	Bind []string    // words of its bind directive: addresses and names of interfaces
	TLS  *tls.Config // of its tls directive; only Inspect tells it
}

// ErrNoBlock is returned by ReadFile for a Corefile without gsstsig.
var ErrNoBlock = errors.New("no server block has gsstsig")

// ReadFile reads the gsstsig blocks of a Corefile. It starts nothing and opens no file but the Corefile and what that
// imports. A Corefile without gsstsig is ErrNoBlock.
func ReadFile(path string) ([]Server, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a directory, and no Corefile", path)
	}
	blocks, err := caddyfile.Parse(path, f, nil) // the program that serves it may have other plugins
	if err != nil {
		return nil, err
	}
	var servers []Server
	for _, block := range blocks {
		tokens, ok := block.Tokens[pluginName]
		if !ok {
			continue
		}
		parsed, err := Parse(controller(path, tokens, block.Keys), rootOf(path, block))
		if err != nil {
			return nil, err
		}
		servers = append(servers, Server{Block: parsed, Keys: block.Keys, Bind: words(path, block, "bind")})
	}
	if len(servers) == 0 {
		return nil, fmt.Errorf("%s: %w", path, ErrNoBlock)
	}
	return servers, nil
}

// words are the arguments of a directive of a server block, none if it is not there.
func words(path string, block caddyfile.ServerBlock, directive string) []string {
	tokens, ok := block.Tokens[directive]
	if !ok {
		return nil
	}
	var args []string
	for c := controller(path, tokens, block.Keys); c.Next(); {
		args = append(args, c.RemainingArgs()...)
	}
	return args
}

func controller(path string, tokens []caddyfile.Token, keys []string) *caddy.Controller {
	return &caddy.Controller{Dispenser: caddyfile.NewDispenserTokens(path, tokens), ServerBlockKeys: keys}
}
