package listener

import (
	"runtime"
	"time"
)

// Limits bound what unauthenticated clients may cost. A field that is 0 stands for its default. A source is an
// IPv4 address or an IPv6 network of 64 bits.
type Limits struct {
	// Handshakes is how many handshakes of GSS-TSIG are worked on at a time. Beside them half as many of TLS are, at least one.
	// Default: the number of processors.
	Handshakes int
	// HandshakeQueue is how many more wait for a slot. Beyond it a TKEY query gets no answer by UDP and SERVFAIL by
	// TCP, and a TLS handshake fails. Default 1024, a quarter of a second of work.
	HandshakeQueue int
	// HandshakeFailures is how many handshakes from one source may fail within a minute. Beyond it further ones are not
	// even tried: by TCP they are REFUSED, by UDP, where the address may not be the sender's, the client is told to come
	// by TCP. TLS handshakes are counted by themselves; one that no message follows counts as failed. Beyond it the
	// source's connections are closed without a handshake. Default 300.
	HandshakeFailures int
	// SourceErrors is how many error replies a source gets in a second; messages by TCP that get no reply count as well.
	// Beyond it a faulty message gets no reply by UDP and ends the connection by TCP, and unsigned updates of the source
	// are worked on one at a time. Default 100.
	SourceErrors int
	// Connections is the number of TCP connections of all addresses. Beyond it one of the source that has the most idle ones is
	// closed: the one that has been idle for longest. A quarter of them may be unfinished TLS handshakes; beyond it the oldest
	// of these of that source is closed, or, if it has none, of all. Default 10000.
	Connections int
	// SourceConnections is how many of them one source may have. Beyond it its own longest idle one is closed. Default
	// 256.
	SourceConnections int

	now        func() time.Time // the clock of tests; nil is time.Now
	closeDelay time.Duration    // shorter for tests; 0 is defaultCloseDelay
}

// defaultCloseDelay is how long a TCP connection stays open after the message that ends it. A client that floods the server
// would open the next connection at once, which costs more than a message.
const defaultCloseDelay = time.Second

func (l *Limits) fields() []*int {
	return []*int{&l.Handshakes, &l.HandshakeQueue, &l.HandshakeFailures, &l.SourceErrors, &l.Connections, &l.SourceConnections}
}

// widen takes over those limits of others that are larger. Blocks may share an address, where it is not known
// which block an unauthenticated client wants.
func (l *Limits) widen(others Limits) {
	theirs := others.fields()
	for i, field := range l.fields() {
		*field = max(*field, *theirs[i])
	}
	if l.now == nil {
		l.now = others.now
	}
	l.closeDelay = max(l.closeDelay, others.closeDelay)
}

// orDefaults fills in the defaults.
func (l Limits) orDefaults() Limits {
	defaults := Limits{
		Handshakes:        runtime.GOMAXPROCS(0),
		HandshakeQueue:    1024,
		HandshakeFailures: 300,
		SourceErrors:      100,
		Connections:       10000,
		SourceConnections: 256,
	}
	theirs := defaults.fields()
	for i, field := range l.fields() {
		if *field <= 0 {
			*field = *theirs[i]
		}
	}
	if l.now == nil {
		l.now = time.Now
	}
	if l.closeDelay <= 0 {
		l.closeDelay = defaultCloseDelay
	}
	return l
}
