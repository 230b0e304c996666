package gsstsig

import (
	"context"
	"errors"
	"iter"
	"net"
	"slices"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/listener"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// transferBatch is how many records go to the transfer plugin at a time.
const transferBatch = 128

// maxTransferMessage is how many octets of records go into one message, which leaves room for a question and a
// signature. A larger record has a message of its own.
const maxTransferMessage = 1 << 14

var _ transfer.Transferer = (*Handler)(nil)

// useTransfer has the transfer plugin notify secondaries of changes, and notifies them once: the zones may have changed
// while the server was down.
func (h *Handler) useTransfer(t *transfer.Transfer) {
	h.transfers = t
	t.Next = &transferEnd{handler: h, next: t.Next}
	h.notifier = &notifier{send: t.Notify}
	for origin := range h.zones {
		h.notifier.changed(origin)
	}
}

// transferEnd stands behind the transfer plugin, which passes on the transfers of zones that it does not serve. There may be
// no plugin to pass them to, and no other one has the zones of this block.
type transferEnd struct {
	handler *Handler
	next    plugin.Handler
}

// Name implements plugin.Handler. It is no directive's.
func (e *transferEnd) Name() string { return "gsstsig transfer end" }

// ServeDNS implements plugin.Handler.
func (e *transferEnd) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if isTransfer(r.Question[0].Qtype) && e.handler.names.Matches(r.Question[0].Name) != "" {
		return dns.RcodeRefused, nil
	}
	return plugin.NextOrFailure(e.handler.transfers.Name(), e.next, ctx, w, r)
}

func isTransfer(qtype uint16) bool { return qtype == dns.TypeAXFR || qtype == dns.TypeIXFR }

// answerTransfer answers an AXFR or IXFR query. The zone goes to the clients of the property transfers, if they sign in a
// context. For all others the transfer plugin behind this one decides who may transfer a zone, and calls Transfer for its
// records. That plugin does not answer an IXFR by UDP; the answer here is the current SOA alone, which tells a client that is
// behind to retry by TCP (RFC 1995 section 2), and nothing that an SOA query would not tell.
//
// As with BIND, a query that is not one for a transfer of the zone is told so before it is found out whether the client may
// transfer it.
func (h *Handler) answerTransfer(ctx context.Context, z *zone.Zone, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if dns.CanonicalName(r.Question[0].Name) != z.Origin() {
		return h.answer(w, r, dns.RcodeNotAuth) // RFC 5936 section 2.2.1
	}
	ixfr := r.Question[0].Qtype == dns.TypeIXFR
	if ixfr && !hasSerial(r) {
		return dns.RcodeFormatError, nil
	}
	transaction, _ := listener.TransactionFrom(ctx)
	inContext := transaction != nil && !transaction.Identity().Static
	mayTransfer := inContext && h.accepts(transaction) && h.service.Transfers.Include(h.identity(transaction, w.RemoteAddr()))
	_, tcp := w.RemoteAddr().(*net.TCPAddr)
	switch {
	case mayTransfer && tcp:
		return h.sendTransfer(z, w, r)
	case mayTransfer && !ixfr, h.transfers == nil && !mayTransfer:
		return dns.RcodeRefused, nil // AXFR by UDP is not defined (RFC 5936 section 4.2)
	case inContext && !mayTransfer && (tcp || !ixfr):
		return h.transferUnsigned(ctx, w, r)
	case tcp || !ixfr:
		return plugin.NextOrFailure(h.Name(), h.Next, ctx, w, r)
	}
	m := new(dns.Msg)
	m.SetReply(r)
	m.Authoritative = true
	m.Answer = []dns.RR{z.Snapshot().SOA()}
	if err := w.WriteMsg(m); err != nil {
		return dns.RcodeServerFailure, err
	}
	return dns.RcodeSuccess, nil
}

// hasSerial reports whether an IXFR query has the client's SOA record in its authority section, alone (RFC 1995 section 3).
func hasSerial(r *dns.Msg) bool {
	if len(r.Ns) != 1 {
		return false
	}
	soa, ok := r.Ns[0].(*dns.SOA)
	return ok && soa.Hdr.Class == dns.ClassINET && soa.Hdr.Rdlength != 0 &&
		dns.CanonicalName(soa.Hdr.Name) == dns.CanonicalName(r.Question[0].Name)
}

// Transfer implements transfer.Transferer. All records are of one snapshot, which starts and ends with its SOA:
//
//   - for a serial that is current or newer, the SOA alone (RFC 1995 section 2);
//   - for one that the zone's log of changes reaches back to, the changes since (IXFR, RFC 1995 section 4);
//   - for any other, and for 0, which is how the transfer plugin asks for it, the whole zone (AXFR, RFC 5936).
func (h *Handler) Transfer(origin string, serial uint32) (<-chan []dns.RR, error) {
	z := h.zone(dns.CanonicalName(origin))
	if z == nil {
		return nil, transfer.ErrNotAuthoritative
	}
	snapshot := z.Snapshot()
	ch := make(chan []dns.RR)
	if serial != 0 && int32(snapshot.Serial()-serial) <= 0 { // RFC 1982
		go func() {
			defer close(ch)
			ch <- []dns.RR{snapshot.SOA()}
			transfers.WithLabelValues(z.Origin(), "current", "complete").Inc()
		}()
		return ch, nil
	}
	if serial != 0 {
		next, stop := iter.Pull2(z.Since(context.Background(), snapshot, serial))
		first, err, _ := next()
		if err == nil {
			go func() {
				defer stop()
				sendChanges(ch, snapshot, first, next)
			}()
			return ch, nil
		}
		stop()
		if !errors.Is(err, store.ErrHistory) {
			return nil, err
		}
	}
	go sendZone(ch, snapshot)
	return ch, nil
}

// transferUnsigned passes a query on as if it was not signed. For the tsig plugin, a message that was signed in a context is
// as good as one that was signed with a key of the configuration, though every client of the realm can have a context. So that
// plugin is asked again, about the query without the signature.
func (h *Handler) transferUnsigned(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	unsigned := r.Copy()
	unsigned.Extra = slices.DeleteFunc(unsigned.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeTSIG })
	if h.tsig == nil {
		return plugin.NextOrFailure(h.Name(), h.Next, ctx, w, unsigned)
	}
	again := *h.tsig
	again.Next = h.Next
	return again.ServeDNS(ctx, w, unsigned)
}

// sendTransfer sends a zone, or its changes, to a client of the property transfers. The listener signs each message.
func (h *Handler) sendTransfer(z *zone.Zone, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	var serial uint32
	if r.Question[0].Qtype == dns.TypeIXFR {
		serial = r.Ns[0].(*dns.SOA).Serial // answerTransfer has looked
	}
	records, err := h.Transfer(z.Origin(), serial)
	if err != nil {
		return dns.RcodeServerFailure, err
	}
	// What comes after an error is read, so that the sender ends.
	for batch := range records {
		for len(batch) > 0 {
			n, size := 0, 0
			for n < len(batch) && (n == 0 || size+dns.Len(batch[n]) <= maxTransferMessage) {
				size += dns.Len(batch[n])
				n++
			}
			m := new(dns.Msg)
			m.SetReply(r)
			m.Authoritative = true
			m.Answer = batch[:n]
			if err == nil {
				err = w.WriteMsg(m)
			}
			batch = batch[n:]
		}
	}
	if err != nil {
		return dns.RcodeSuccess, err // nothing can be sent any more
	}
	return dns.RcodeSuccess, nil
}

// sendZone sends all records of a snapshot.
func sendZone(ch chan<- []dns.RR, snapshot *zone.Snapshot) {
	defer close(ch)
	batch := make([]dns.RR, 0, transferBatch)
	for rr := range snapshot.Records() { // the SOA comes first
		batch = append(batch, rr)
		if len(batch) == transferBatch {
			ch <- batch
			batch = make([]dns.RR, 0, transferBatch)
		}
	}
	ch <- append(batch, snapshot.SOA())
	transfers.WithLabelValues(snapshot.Origin(), "axfr", "complete").Inc()
}

// sendChanges sends the changes up to a snapshot. If the log drops them meanwhile, the closing SOA is missing, and
// the client discards the transfer.
func sendChanges(ch chan<- []dns.RR, snapshot *zone.Snapshot, rr dns.RR, next func() (dns.RR, error, bool)) {
	defer close(ch)
	batch := append(make([]dns.RR, 0, transferBatch), snapshot.SOA())
	for more := true; more; {
		batch = append(batch, rr)
		if len(batch) == transferBatch {
			ch <- batch
			batch = make([]dns.RR, 0, transferBatch)
		}
		var err error
		if rr, err, more = next(); err != nil {
			transfers.WithLabelValues(snapshot.Origin(), "ixfr", "incomplete").Inc()
			log.Errorf("zone %s: incremental transfer ends early: %v", snapshot.Origin(), err)
			return
		}
	}
	ch <- append(batch, snapshot.SOA())
	transfers.WithLabelValues(snapshot.Origin(), "ixfr", "complete").Inc()
}
