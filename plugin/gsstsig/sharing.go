package gsstsig

import (
	"github.com/gsstsig/coredns-gsstsig/gsstsig"
)

// shareContexts has the contexts of a block whose zones are on etcd shared with the other servers there. The contexts of
// another block are its own, also those that were shared before a reload.
func (b *block) shareContexts() error {
	var with gsstsig.Sharing
	switch {
	case b.process.sharing != nil:
		with = b.process.sharing(b)
	case b.cluster != nil:
		with = gsstsig.Sharing{Contexts: b.cluster.Contexts(), Place: b.cluster.conf.Prefix, Server: b.cluster.Server()}
	}
	return b.contexts.Share(with)
}
