package gsstsig

import (
	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"
)

// transferBatch is how many records go to the transfer plugin at a time.
const transferBatch = 128

var _ transfer.Transferer = (*Handler)(nil)

// Transfer implements transfer.Transferer: the records of one snapshot, with the SOA first and last (RFC 5936). A
// serial that is current or newer gets the SOA alone; any other gets the whole zone, which RFC 1995 section 4 allows.
func (h *Handler) Transfer(origin string, serial uint32) (<-chan []dns.RR, error) {
	z, ok := h.zones[dns.CanonicalName(origin)]
	if !ok {
		return nil, transfer.ErrNotAuthoritative
	}
	snapshot := z.Snapshot()
	soa := []dns.RR{snapshot.SOA()}
	ch := make(chan []dns.RR)
	go func() {
		defer close(ch)
		ch <- soa
		if serial != 0 && int32(snapshot.Serial()-serial) <= 0 { // RFC 1982 comparison
			return
		}
		batch := make([]dns.RR, 0, transferBatch)
		for rr := range snapshot.Records() {
			if rr.Header().Rrtype == dns.TypeSOA {
				continue
			}
			batch = append(batch, rr)
			if len(batch) == transferBatch {
				ch <- batch
				batch = make([]dns.RR, 0, transferBatch)
			}
		}
		if len(batch) > 0 {
			ch <- batch
		}
		ch <- soa
	}()
	return ch, nil
}
