// Command coredns is CoreDNS with the gsstsig plugin.
package main

import (
	"github.com/coredns/coredns/coremain"
)

func main() {
	coremain.Run()
}
