package gsstsigtest

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

const (
	headerSize = 12
	maxPacket  = 4096 // of an answer by UDP, whatever the client can take
)

// answer returns the answer to one message, nil if there is none.
func (s *server) answer(ctx context.Context, wire []byte, from netip.AddrPort, stream bool) []byte {
	if len(wire) < headerSize || wire[2]&0x80 != 0 {
		return nil
	}
	var fault Fault
	if opcode := int(wire[2] >> 3 & 0xF); opcode == dns.OpcodeUpdate {
		fault = s.faults.next()
	}
	if fault.kind == slow {
		select {
		case <-time.After(fault.delay):
		case <-ctx.Done():
			return nil
		}
	}
	answer := s.respond(ctx, wire, from, stream, fault)
	fault.spoil(answer, wire)
	return answer
}

// respond authenticates, authorizes and changes.
func (s *server) respond(ctx context.Context, wire []byte, from netip.AddrPort, stream bool, fault Fault) []byte {
	request := new(dns.Msg)
	malformed := request.Unpack(wire) != nil || len(request.Question) != 1

	authenticator := s.onTime
	switch fault.kind {
	case badTime:
		authenticator = s.ahead
	case expired:
		s.contexts.Clear()
	}
	transaction, err := authenticator.Authenticate(wire)
	if failure := (*gsstsig.VerifyError)(nil); errors.As(err, &failure) {
		answer, err := failure.Reply()
		if err != nil {
			return nil
		}
		return answer
	} else if err != nil && !errors.Is(err, gsstsig.ErrUnsigned) {
		return nil
	}
	response := new(dns.Msg)
	if malformed {
		// Nothing but the header is certain.
		response.Id, response.Opcode = binary.BigEndian.Uint16(wire), int(wire[2]>>3&0xF)
		response.Response, response.Rcode = true, dns.RcodeFormatError
		return pack(response, new(dns.Msg), transaction, stream)
	}
	switch question := request.Question[0]; {
	case request.Opcode == dns.OpcodeUpdate && fault.kind == refused:
		response.SetRcode(request, dns.RcodeRefused)
	case request.Opcode == dns.OpcodeUpdate:
		done := s.zone.Apply(ctx, s.policy.Update(identity(transaction, from, stream), wire))
		response.SetRcode(request, done.Rcode)
	case request.Opcode != dns.OpcodeQuery:
		response.SetRcode(request, dns.RcodeNotImplemented)
	case question.Qtype == dns.TypeTKEY:
		var signer *gsstsig.Transaction
		if response, signer = s.onTime.Negotiate(request, from, transaction); signer != nil {
			transaction = signer
		}
	case !s.zone.Snapshot().InZone(question.Name):
		response.SetRcode(request, dns.RcodeRefused)
	default:
		found := s.zone.Snapshot().Lookup(question.Name, question.Qtype)
		response.SetRcode(request, found.Rcode)
		response.Authoritative = found.Authoritative
		response.Answer, response.Ns, response.Extra = found.Answer, found.Authority, found.Additional
	}
	return pack(response, request, transaction, stream)
}

// pack makes the octets of an answer, signed in the transaction if there is one.
func pack(response, request *dns.Msg, transaction *gsstsig.Transaction, stream bool) []byte {
	limit := dns.MaxMsgSize
	if !stream {
		limit = dns.MinMsgSize
		if opt := request.IsEdns0(); opt != nil {
			limit = min(max(limit, int(opt.UDPSize())), maxPacket)
		}
	}
	if request.IsEdns0() != nil {
		response.SetEdns0(maxPacket, false)
	}
	response.Compress = true
	if transaction == nil {
		response.Truncate(limit)
		wire, err := response.Pack()
		if err != nil {
			return nil
		}
		return wire
	}
	if response.Len()+transaction.Overhead() > limit {
		// The question alone, so that the client comes again by TCP (RFC 8945
		// section 5.3).
		response.Truncated = true
		response.Answer, response.Ns, response.Extra = nil, nil, nil
	}
	wire, err := transaction.Sign(response)
	if err != nil {
		return nil
	}
	return wire
}

// identity says in the policy's terms who signed; a nil transaction is anonymous.
func identity(transaction *gsstsig.Transaction, from netip.AddrPort, stream bool) policy.Identity {
	if transaction == nil {
		return policy.Identity{Kind: policy.Anonymous, Client: from.Addr(), TCP: stream}
	}
	who := transaction.Identity().Principal
	return policy.Identity{
		Kind: policy.Kerberos, Name: who.String(), Components: who.Components, Realm: who.Realm, Groups: transaction.Groups(),
		Client: from.Addr(), TCP: stream,
	}
}

// frame puts a message's length in front of it (RFC 1035 section 4.2.2).
func frame(wire []byte) []byte {
	return append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(wire)), uint16(len(wire))), wire...)
}
