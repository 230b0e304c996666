package transcript

import (
	"fmt"

	"github.com/miekg/dns"
)

// Outline says what happened, without what is new each time: the handshakes and updates in their order, who signed what
// and the results.
func (t *Transcript) Outline() []string {
	var lines []string
	for _, e := range t.Exchanges {
		request, reply := new(dns.Msg), new(dns.Msg)
		if request.Unpack(e.Request) != nil || reply.Unpack(e.Reply) != nil {
			lines = append(lines, "malformed")
			continue
		}
		what := "UPDATE " + request.Question[0].Name
		if request.Question[0].Qtype == dns.TypeTKEY {
			what = "TKEY"
		} else if request.Opcode != dns.OpcodeUpdate {
			continue // what a client looks up first depends on what else it knows
		}
		lines = append(lines, fmt.Sprintf("%s %s%s: %s%s", e.Network, what, signed(request), dns.RcodeToString[reply.Rcode], signed(reply)))
	}
	return lines
}

func signed(m *dns.Msg) string {
	if m.IsTsig() != nil {
		return ", signed"
	}
	return ""
}
