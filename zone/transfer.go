package zone

import (
	"context"
	"iter"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Since yields what leads from a serial that the zone once had to s, in the form of the middle part
// of an incremental transfer (RFC 1995 section 4): for each change the old SOA, the records that
// went, the new SOA, the records that came. The SOA of s that a transfer begins and ends with is
// the caller's to add. With the serial of s itself it yields nothing.
//
// The single pair with an error is the last one. It is store.ErrHistory, as the first pair, if the
// changes are not kept any more, or the zone never had that serial: a full transfer is the way out
// then.
func (z *Zone) Since(ctx context.Context, s *Snapshot, serial uint32) iter.Seq2[dns.RR, error] {
	return func(yield func(dns.RR, error) bool) {
		for change, err := range z.store.Changes(ctx, serial, s.serial) {
			if err != nil {
				yield(nil, err)
				return
			}
			for _, records := range [][]store.Record{change.Removed, change.Added} {
				for _, r := range records {
					if !yield(newRR(dnswire.NameText([]byte(r.Name)), r.Type, r.TTL, r.Data), nil) {
						return
					}
				}
			}
		}
	}
}

// Log yields the changes that the store's log has, newest first: when each was made, by whom and by
// which rule, and the records that were removed and added. The first of each is the SOA. The single pair with
// an error is the last one. What is yielded must not be modified.
func (z *Zone) Log(ctx context.Context) iter.Seq2[store.Change, error] { return z.store.Log(ctx) }
