package listener

import (
	"slices"

	"github.com/miekg/dns"
)

// paddingBlock is what the octets of a padded reply are a multiple of (RFC 8467 section 4.1).
const paddingBlock = 468

// pads reports whether the replies to a request are to be padded: it came encrypted, with a padding option of its own (RFC 7830
// section 4). Without encryption an observer sees what a message says, and its size adds nothing to that.
func (w *responseWriter) pads() bool {
	path, ok := w.path.(*streamPath)
	if !ok || path.connection.secure == nil || w.request == nil {
		return false
	}
	opt := w.request.IsEdns0()
	return opt != nil && slices.ContainsFunc(opt.Option, isPadding)
}

func isPadding(option dns.EDNS0) bool { return option.Option() == dns.EDNS0PADDING }

// pad puts a padding option into the reply, so that with the octets that are added later it is a multiple of paddingBlock, or as
// long as a message may be. What m shares with others is not changed.
func pad(m *dns.Msg, later int) error {
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: maxUDPReply}}
	at := slices.IndexFunc(m.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeOPT })
	m.Extra = slices.Clone(m.Extra)
	if at >= 0 {
		own := *m.Extra[at].(*dns.OPT)
		own.Option = slices.DeleteFunc(slices.Clone(own.Option), isPadding)
		opt = &own
		m.Extra[at] = opt
	} else {
		m.Extra = append(m.Extra, opt)
	}
	padding := new(dns.EDNS0_PADDING)
	opt.Option = append(opt.Option, padding)

	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	wire, err := m.PackBuffer(*buffer)
	if err != nil {
		return err
	}
	length := len(wire) + later
	padded := (length + paddingBlock - 1) / paddingBlock * paddingBlock
	padding.Padding = make([]byte, max(0, min(padded, maxMessage)-length))
	return nil
}
