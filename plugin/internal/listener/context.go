package listener

import (
	"context"

	"github.com/coredns/coredns/core/dnsserver"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
)

type (
	transactionKey struct{}
	updateKey      struct{}
	writerKey      struct{}
)

// TransactionFrom returns the transaction that the request of ctx was verified in. It is nil if the request was not
// signed. seen tells whether this package received the request at all: a request that came by another listener of
// CoreDNS was not verified, whatever its TsigStatus says.
//
// Signing is the listener's work. A handler asks the transaction for the identity alone.
func TransactionFrom(ctx context.Context) (transaction *gsstsig.Transaction, seen bool) {
	transaction, seen = ctx.Value(transactionKey{}).(*gsstsig.Transaction)
	return transaction, seen
}

// UpdateFrom returns the octets of the UPDATE request of ctx as they were received, nil for another request or one that
// came by another listener. They must not be modified.
func UpdateFrom(ctx context.Context) []byte {
	octets, _ := ctx.Value(updateKey{}).([]byte)
	return octets
}

// requestContext carries the values that CoreDNS and its plugins expect of a request's context, and the writer with the
// transaction, in one allocation.
type requestContext struct {
	context.Context
	server *dnsserver.Server
	writer *responseWriter
}

// Value implements context.Context.
func (c *requestContext) Value(key any) any {
	switch key.(type) {
	case dnsserver.Key:
		return c.server
	case dnsserver.LoopKey:
		return 0
	case transactionKey:
		return c.writer.transaction
	case updateKey:
		return c.writer.update
	case writerKey:
		return c.writer
	}
	return c.Context.Value(key)
}
