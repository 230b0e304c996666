package corefile

import (
	"net"
	"strconv"

	"github.com/coredns/caddy"
)

// status reads where the status page is served.
func (b *Block) status(c *caddy.Controller, _ string, args []string) error {
	if len(args) != 1 {
		return c.Errf("status needs one address with a port, such as localhost:9154")
	}
	host, port, err := net.SplitHostPort(args[0])
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return c.Errf("status: %q is not an address with a port, such as localhost:9154", args[0])
	}
	if host == "" {
		return c.Errf("status: %q has no host. Fix: write localhost:%s, or the address on which others may see the page", args[0], port)
	}
	b.StatusPage = args[0]
	return b.once(c, "status")
}
