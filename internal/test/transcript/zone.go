package transcript

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Zone is a zone's content: its records in presentation form, sorted.
type Zone struct {
	Origin  string
	Records []string
}

// Transfer asks a server for the content of a zone (AXFR) over a connection, which it closes.
func Transfer(conn net.Conn, origin string) (Zone, error) {
	transfer := &dns.Transfer{Conn: &dns.Conn{Conn: conn}}
	defer transfer.Close()
	messages, err := transfer.In(new(dns.Msg).SetAxfr(origin), "")
	if err != nil {
		return Zone{}, fmt.Errorf("transfer of %s: %w", origin, err)
	}
	z := Zone{Origin: origin}
	for m := range messages {
		if m.Error != nil {
			return Zone{}, fmt.Errorf("transfer of %s: %w", origin, m.Error)
		}
		for _, rr := range m.RR {
			z.Records = append(z.Records, strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	slices.Sort(z.Records)
	z.Records = slices.Compact(z.Records) // the SOA record begins and ends a transfer
	return z, nil
}
