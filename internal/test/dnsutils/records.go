package dnsutils

import (
	"errors"
	"net"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Records asks on a connection, and returns the data of the records of that type in the answer, sorted. There may be none,
// but any rcode but NOERROR and NXDOMAIN is an error.
func Records(conn net.Conn, name string, qtype uint16) ([]string, error) {
	reply, _, err := new(dns.Client).ExchangeWithConn(new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype), &dns.Conn{Conn: conn})
	if err != nil {
		return nil, err
	}
	if reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		return nil, errors.New(dns.RcodeToString[reply.Rcode])
	}
	var data []string
	for _, rr := range reply.Answer {
		if rr.Header().Rrtype == qtype {
			data = append(data, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
	}
	slices.Sort(data)
	return data, nil
}
