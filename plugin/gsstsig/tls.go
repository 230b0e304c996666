package gsstsig

import (
	"crypto/tls"
	"slices"
)

// dotProtocol is DNS over TLS in the terms of ALPN (RFC 7858 erratum 5375).
const dotProtocol = "dot"

// offerDoT has the server block's DNS-over-TLS addresses agree to the protocol that clients ask for. A transfer by TLS needs
// it (RFC 9103 section 7.1), and CoreDNS's tls plugin sets none. CoreDNS sets that of DoH, DoQ and gRPC by itself.
func offerDoT(config *tls.Config) {
	if config != nil && !slices.Contains(config.NextProtos, dotProtocol) {
		config.NextProtos = append(config.NextProtos, dotProtocol)
	}
}
