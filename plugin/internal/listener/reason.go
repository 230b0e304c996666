package listener

// Reason is why a message or connection is not worked on.
type Reason int

// The reasons.
const (
	Short       Reason = iota // less than a DNS header
	Response                  // a message with the QR bit
	Busy                      // too many requests in flight, or too many of one client that wait for its share of the time
	Connections               // a TCP connection closed to make room
	Handshakes                // a TKEY query while too many wait; by TCP it gets SERVFAIL
	Failures                  // a TKEY query from a source whose handshakes have failed too often; it gets REFUSED, or TC by UDP, unless the source was sent too many errors
	Errors                    // a malformed message, or one with an unknown key or wrong MAC, from a source that was sent too many errors
	Forgeries                 // a message with a key of which too many wrong MACs have come from the source
	Suspects                  // an unsigned update from a source that was sent too many errors
	TLSFailures               // a connection from a source whose TLS handshakes have failed too often

	// Reasons is the number of them.
	Reasons
)

// String returns the reason in a word, in lower case.
func (r Reason) String() string {
	return [Reasons]string{"short", "response", "busy", "connections", "handshakes", "failures", "errors", "forgeries", "suspects", "tls"}[r]
}
