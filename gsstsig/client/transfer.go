package client

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/miekg/dns"
)

// errStop ends a transfer whose reader wants no more.
var errStop = errors.New("stopped")

// Transfer fetches a zone by TCP: all of it (AXFR, RFC 5936), or, when a serial
// is given, what has changed since (IXFR, RFC 1995), which the server may
// answer with all of it too. The records come as the server sends them, the
// SOA records at both ends included; a server with nothing newer than serial
// sends its SOA record alone. No record is handed out before a signature covers
// it. A transfer that is refused or breaks off ends with an error.
func (c *Context) Transfer(ctx context.Context, zone string, serial ...uint32) iter.Seq2[dns.RR, error] {
	return func(yield func(dns.RR, error) bool) {
		request := new(dns.Msg)
		if len(serial) > 0 {
			request.SetIxfr(dns.Fqdn(zone), serial[0], ".", ".")
		} else {
			request.SetAxfr(dns.Fqdn(zone))
		}
		wire, transaction, err := c.Sign(request)
		if err != nil {
			yield(nil, err)
			return
		}
		t := transfer{transaction: transaction}
		if len(serial) > 0 {
			t.incremental, t.held = true, serial[0]
		}
		err = c.client.transport.tcp(ctx, wire, func(received []byte) (over bool, err error) {
			over, err = t.message(received)
			for _, rr := range t.verified {
				if !yield(rr, nil) {
					return true, errStop
				}
			}
			t.verified = t.verified[:0]
			return over, err
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(nil, fmt.Errorf("transfer of %s: %w", zone, err))
		}
	}
}

// transfer follows the messages of one reply.
type transfer struct {
	transaction *Transaction
	incremental bool
	held        uint32 // serial that the client has

	pending  []dns.RR // in messages that no signature covers yet
	verified []dns.RR

	records  int
	messages int
	first    *dns.SOA
	// In a reply of differences, SOA records alternate: old serial before what
	// was removed, new serial before what was added.
	differences bool
	added       bool
	complete    bool
}

func (t *transfer) message(wire []byte) (over bool, err error) {
	reply, signed, err := t.transaction.next(wire, true)
	if err != nil {
		return false, err
	}
	if !signed && t.transaction.octets.Verified() == 0 {
		return false, fmt.Errorf("%w: %s", ErrUnsigned, codeName(uint16(reply.Rcode)))
	}
	if reply.Rcode != dns.RcodeSuccess {
		if !signed {
			return false, fmt.Errorf("%w: %s", ErrUnsigned, codeName(uint16(reply.Rcode)))
		}
		return false, &RcodeError{Rcode: reply.Rcode, Reply: reply}
	}
	t.messages++
	for _, rr := range reply.Answer {
		if err := t.record(rr); err != nil {
			return false, err
		}
	}
	t.pending = append(t.pending, reply.Answer...)
	if t.incremental && t.messages == 1 && t.records == 1 && !newer(t.first.Serial, t.held) {
		t.complete = true
	}
	if !signed {
		if t.complete {
			return false, fmt.Errorf("%w: the transfer's last message", ErrUnsigned)
		}
		return false, nil
	}
	t.verified, t.pending = append(t.verified, t.pending...), nil
	return t.complete, nil
}

func (t *transfer) record(rr dns.RR) error {
	if t.complete {
		return fmt.Errorf("%w: records after the end of the zone", ErrMalformed)
	}
	t.records++
	soa, isSOA := rr.(*dns.SOA)
	if t.first == nil {
		if !isSOA {
			return fmt.Errorf("%w: the zone does not begin with its SOA record", ErrMalformed)
		}
		t.first = soa
		return nil
	}
	if !isSOA {
		return nil
	}
	if t.records == 2 && t.incremental && soa.Serial != t.first.Serial {
		t.differences = true
		return nil
	}
	if !t.differences {
		t.complete = true
		return nil
	}
	if t.added = !t.added; !t.added {
		t.complete = soa.Serial == t.first.Serial
	}
	return nil
}

// newer compares serials as RFC 1982 does.
func newer(a, b uint32) bool { return int32(a-b) > 0 }
