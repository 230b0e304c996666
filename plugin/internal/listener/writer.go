package listener

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/internal/ratelimit"
)

// maxUDPReply is the largest UDP reply of the blocks that use gsstsig, whatever the client offers to take: larger ones
// may be fragmented, and fragments are lost or forged (DNS flag day 2020).
const maxUDPReply = 1232

// returnPath is the way back to a client.
type returnPath interface {
	localAddr() net.Addr
	remoteAddr() net.Addr
	send(wire []byte) error
	close() error
}

// responseWriter is what plugins answer one request with. A reply to a request that was verified in a transaction leaves
// signed, no matter what wrote it: a handler, another plugin, or CoreDNS's own error path.
type responseWriter struct {
	path        returnPath
	server      *server
	stream      bool // TCP, which proves the client's address
	source      ratelimit.Key
	id          uint16
	flags       uint16 // of the request's header, which the opcode is one of
	opcode      int
	size        int                  // octets of the request
	message     gsstsig.Message      // what classify found in the octets, until it is authenticated
	request     *dns.Msg             // nil until it was unpacked
	update      []byte               // the octets of an UPDATE request
	transaction *gsstsig.Transaction // nil if the request was not signed, or did not verify
	limit       int                  // octets of a reply

	sender ratelimit.Key // the source with the key, if the request names a known one
	signer string        // who is charged for the work on the request, empty if it is not signed
	began  time.Duration // when that work began, by the workTime's clock
	waited time.Duration // in which others were waited for since then

	// Why a block that uses gsstsig refuses the request, while others may answer it.
	failure    *gsstsig.VerifyError
	badForm    bool
	edns       bool  // the request has an OPT record, which may be malformed
	tsigStatus error // of a TSIG record that did not verify

	// The request is an UPDATE that CoreDNS's own server could not unpack. Blocks that do not use gsstsig refuse it.
	notUnpacked bool

	compress  bool // a reply that a plugin leaves uncompressed
	padded    bool // replies get a padding option
	routed    bool // a siteHandler has seen the request
	charged   bool // its source was charged for the error that it is sent
	discarded bool // left unanswered on purpose: a TCP connection ends

	mu       sync.Mutex // guards what follows, and the transaction's signing
	slot     *semaphore // of which the request has a slot, nil if none
	turn     bool       // one of its source has begun
	answered bool
	closed   bool
	hijacked bool
}

var _ dns.ResponseWriter = (*responseWriter)(nil)

var errClosed = errors.New("response writer was closed")

// replyLimit is the size of the largest reply to a request (RFC 6891 section 6.2.3).
func replyLimit(request *dns.Msg, stream bool) int {
	if stream {
		return maxMessage
	}
	if opt := request.IsEdns0(); opt != nil {
		return max(int(opt.UDPSize()), dns.MinMsgSize)
	}
	return dns.MinMsgSize
}

// limitUDP keeps the reply to what the blocks that use gsstsig send by UDP.
func (w *responseWriter) limitUDP() {
	if !w.stream {
		w.limit = min(w.limit, maxUDPReply)
	}
}

// WriteMsg implements dns.ResponseWriter. m is not changed.
func (w *responseWriter) WriteMsg(m *dns.Msg) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errClosed
	}
	w.beginTurn(len(m.Answer) + len(m.Ns) + len(m.Extra))
	defer w.endTurn() // ended already if the reply was sent
	reply := *m
	if w.transaction != nil {
		return w.sendSigned(&reply)
	}
	if w.opcode == dns.OpcodeUpdate && reply.Rcode != dns.RcodeSuccess {
		// Sent whatever the account says: see class suspect.
		w.server.limiter.allowErrorReply(w.source, w.stream)
	}
	if w.tsigStatus != nil {
		reply.Extra = unsignedTSIG(reply.Extra)
	}
	reply.Compress = reply.Compress || w.compress
	if w.limit > 0 && longer(&reply, w.limit) {
		if w.compress {
			DropAdditional(&reply, w.limit)
		}
		reply.Extra = slices.Clone(reply.Extra) // Truncate takes OPT out in place
		reply.Truncate(w.limit)
	}
	if w.padded {
		if err := pad(&reply, 0); err != nil {
			return fmt.Errorf("pack reply: %w", err)
		}
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	wire, err := reply.PackBuffer(*buffer)
	if err != nil {
		return fmt.Errorf("pack reply: %w", err)
	}
	return w.sendLocked(wire)
}

// longer reports whether a message has more than limit octets. What fits uncompressed, as most replies do, fits compressed too,
// and its length is found without a table of the names in it (BenchmarkUDPQuery).
func longer(m *dns.Msg, limit int) bool {
	plain := *m
	plain.Compress = false
	return plain.Len() > limit && (!m.Compress || m.Len() > limit)
}

// DropAdditional takes additional records out of an answer until it has at most limit octets, whole RRsets from the last one
// on: they are no reason to set TC (RFC 2181 section 9). The glue of a referral is one (RFC 9471 section 3.1).
func DropAdditional(m *dns.Msg, limit int) {
	if len(m.Answer) == 0 {
		return
	}
	var sets, pseudo []dns.RR
	for _, rr := range m.Extra {
		if t := rr.Header().Rrtype; t == dns.TypeOPT || t == dns.TypeTSIG {
			pseudo = append(pseudo, rr)
		} else {
			sets = append(sets, rr)
		}
	}
	for len(sets) > 0 && longer(m, limit) {
		last := sets[len(sets)-1].Header()
		for len(sets) > 0 && sets[len(sets)-1].Header().Rrtype == last.Rrtype && sets[len(sets)-1].Header().Name == last.Name {
			sets = sets[:len(sets)-1]
		}
		m.Extra = slices.Concat(sets, pseudo)
	}
}

// unsignedTSIG returns the records with the TSIG record of an error reply of the tsig plugin as miekg/dns would send it: an
// unsigned one has no MAC and no time (RFC 8945 section 5.3.2).
func unsignedTSIG(extra []dns.RR) []dns.RR {
	if len(extra) == 0 {
		return extra
	}
	tsig, ok := extra[len(extra)-1].(*dns.TSIG)
	if !ok {
		return extra
	}
	bare := *tsig
	bare.TimeSigned, bare.MAC, bare.MACSize = 0, "", 0
	extra = slices.Clone(extra)
	extra[len(extra)-1] = &bare
	return extra
}

// room is how many octets a reply may have before it is signed.
func (w *responseWriter) room() int {
	if w.transaction == nil {
		return w.limit
	}
	return w.limit - w.transaction.Overhead()
}

// sendSigned sends a reply of the request's transaction. A TSIG record that is there already was added by a plugin for a
// server that signs by itself; the octets of that signature would be wrong here.
func (w *responseWriter) sendSigned(reply *dns.Msg) error {
	extra := make([]dns.RR, 0, len(reply.Extra))
	for _, rr := range reply.Extra {
		if rr.Header().Rrtype != dns.TypeTSIG {
			extra = append(extra, rr)
		}
	}
	reply.Extra = extra

	// The size has to be right before the first try: a signature continues the one before it.
	limit := w.room()
	reply.Compress = reply.Compress || w.compress
	if !reply.Compress && reply.Len() > limit {
		reply.Compress = true
	}
	if w.compress && reply.Len() > limit {
		DropAdditional(reply, limit)
	}
	if reply.Len() > limit {
		reply = truncated(reply)
	}
	if w.padded {
		if err := pad(reply, w.transaction.Overhead()); err != nil {
			return fmt.Errorf("pack reply: %w", err)
		}
	}
	wire, err := w.transaction.Sign(reply)
	if err != nil {
		return fmt.Errorf("sign reply: %w", err)
	}
	return w.sendLocked(wire)
}

// truncated is what is sent for a reply that does not fit with its TSIG record: the question alone, so that the client
// comes again by TCP (RFC 8945 section 5.3). OPT stays because a request with OPT is due one (RFC 6891 section 6.1.1).
func truncated(reply *dns.Msg) *dns.Msg {
	short := &dns.Msg{MsgHdr: reply.MsgHdr, Question: reply.Question}
	short.Truncated = true
	short.Rcode = dns.RcodeSuccess
	if opt := reply.IsEdns0(); opt != nil {
		bare := &dns.OPT{Hdr: opt.Hdr}
		bare.Hdr.Ttl &= 0xffff // no extended rcode
		short.Extra = []dns.RR{bare}
	}
	return short
}

// reject answers with nothing but a response code, unless something was sent before.
func (w *responseWriter) reject(rcode int) {
	w.mu.Lock()
	answered := w.answered
	w.mu.Unlock()
	if answered {
		return
	}
	m := new(dns.Msg)
	if w.request == nil || rcode == dns.RcodeFormatError || rcode == dns.RcodeNotImplemented {
		// Nothing but the header counts, as with CoreDNS and BIND.
		m.Id, m.Opcode, m.Response, m.Rcode = w.id, w.opcode, true, rcode
		if w.opcode != dns.OpcodeUpdate { // whose header has no such flags (RFC 2136 section 2.2)
			m.RecursionDesired, m.CheckingDisabled = w.flags&(1<<8) != 0, w.flags&(1<<4) != 0
		}
	} else {
		m.SetRcode(w.request, rcode)
	}
	if w.edns { // also if it is the OPT record that is wrong (RFC 6891 section 7)
		m.SetEdns0(maxUDPReply, false)
	}
	// The client is gone, or it asks again.
	_ = w.WriteMsg(m)
}

// Write implements dns.ResponseWriter for a reply that was packed by the plugin.
func (w *responseWriter) Write(wire []byte) (int, error) {
	if w.transaction != nil {
		m := new(dns.Msg)
		if err := m.Unpack(wire); err != nil {
			return 0, fmt.Errorf("unpack reply: %w", err)
		}
		if err := w.WriteMsg(m); err != nil {
			return 0, err
		}
		return len(wire), nil
	}
	if err := w.sendWire(wire); err != nil {
		return 0, err
	}
	return len(wire), nil
}

// sendWire sends octets as they are.
func (w *responseWriter) sendWire(wire []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errClosed
	}
	return w.sendLocked(wire)
}

func (w *responseWriter) sendLocked(wire []byte) error {
	if len(wire) > maxMessage {
		return fmt.Errorf("reply of %d octets", len(wire))
	}
	w.answered = true
	w.releaseLocked()
	w.endTurn()
	return w.path.send(wire)
}

// acquire waits for a slot of the semaphore to work on the request, and reports whether there is one; release must follow
// then. The slot is given back before anything is sent: it bounds work, and a client that does not read its answers may
// make sending take as long as it likes.
func (w *responseWriter) acquire(s *semaphore) bool {
	if !s.acquire() {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slot = s
	return true
}

// release gives the slot back, if there still is one.
func (w *responseWriter) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.releaseLocked()
}

func (w *responseWriter) releaseLocked() {
	if w.slot != nil {
		w.slot.release()
		w.slot = nil
	}
}

// client is the address that sent the request, invalid if it is not an IP address.
func (w *responseWriter) client() netip.AddrPort { return addressOf(w.RemoteAddr()) }

// addressOf returns the IP address and port of addr, invalid if it has none.
func addressOf(addr net.Addr) netip.AddrPort {
	if wrapped, ok := addr.(interface{ Unwrap() net.Addr }); ok {
		addr = wrapped.Unwrap()
	}
	var client netip.AddrPort
	switch a := addr.(type) {
	case *net.UDPAddr:
		client = a.AddrPort()
	case *net.TCPAddr:
		client = a.AddrPort()
	}
	return netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
}

// LocalAddr implements dns.ResponseWriter.
func (w *responseWriter) LocalAddr() net.Addr { return w.path.localAddr() }

// RemoteAddr implements dns.ResponseWriter.
func (w *responseWriter) RemoteAddr() net.Addr { return w.path.remoteAddr() }

// TsigStatus implements dns.ResponseWriter. A context that signed is a key of some server blocks only, which the
// siteHandler finds out.
func (w *responseWriter) TsigStatus() error {
	if w.tsigStatus != nil {
		return w.tsigStatus
	}
	if w.transaction != nil && w.transaction.Server() != nil {
		return dns.ErrSecret
	}
	return nil
}

// TsigTimersOnly implements dns.ResponseWriter. The transaction knows by itself which replies continue another.
func (w *responseWriter) TsigTimersOnly(bool) {}

// Hijack implements dns.ResponseWriter: a TCP connection is the caller's from now on.
func (w *responseWriter) Hijack() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hijacked = true
}

// Close implements dns.ResponseWriter.
func (w *responseWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errClosed
	}
	w.closed = true
	return w.path.close()
}

// state reports whether a plugin has closed or taken over the connection.
func (w *responseWriter) state() (closed, hijacked bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed, w.hijacked
}
