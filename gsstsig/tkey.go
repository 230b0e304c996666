package gsstsig

import (
	"encoding/hex"
	"errors"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/internal/tsig"
)

// TKEY modes, RFC 2930 section 2.5.
const (
	modeGSS    = 3
	modeDelete = 5
)

// tkeyQuery is what a well-formed TKEY query asks.
type tkeyQuery struct {
	record *dns.TKEY
	name   string // the key's, on the wire
}

// Reasons for FORMERR.
var (
	errQuestion  = errors.New("not one question of type TKEY and class ANY or IN")
	errNoTKEY    = errors.New("no TKEY record in the additional or answer section")
	errTKEYs     = errors.New("more than one TKEY record")
	errTKEYOwner = errors.New("TKEY record does not belong to the question")
	errTKEYData  = errors.New("TKEY record whose data are cut short")
	errTKEYError = errors.New("TKEY record with an error in a query")
)

func classFits(class uint16) bool { return class == dns.ClassANY || class == dns.ClassINET }

// readTKEY finds the TKEY record of a query. It may be in the additional
// section, where RFC 2930 section 4 puts it, or in the answer section, where
// Windows 2000 and those who imitate it do.
func readTKEY(request *dns.Msg) (*tkeyQuery, error) {
	if request == nil || len(request.Question) != 1 || request.Question[0].Qtype != dns.TypeTKEY || !classFits(request.Question[0].Qclass) {
		return nil, errQuestion
	}
	var record *dns.TKEY
	for _, section := range [...][]dns.RR{request.Extra, request.Answer} {
		for _, rr := range section {
			tkey, ok := rr.(*dns.TKEY)
			if !ok {
				continue
			}
			if record != nil {
				return nil, errTKEYs
			}
			record = tkey
		}
	}
	if record == nil {
		return nil, errNoTKEY
	}
	question, ok := tsig.NameFromText(request.Question[0].Name)
	if !ok {
		return nil, errQuestion
	}
	owner, ok := tsig.NameFromText(record.Hdr.Name)
	if !ok || owner != question || !classFits(record.Hdr.Class) {
		return nil, errTKEYOwner
	}
	if cutShort(record) {
		return nil, errTKEYData
	}
	if record.Error != 0 {
		return nil, errTKEYError
	}
	return &tkeyQuery{record: record, name: owner}, nil
}

// cutShort reports whether the record's data ended before their last field,
// which miekg/dns accepts. Such a record must not be answered by one that
// copies its fields: an algorithm that could not be read would be missing.
func cutShort(record *dns.TKEY) bool {
	return record.Algorithm == "" || len(record.Key) != 2*int(record.KeySize) || len(record.OtherData) != 2*int(record.OtherLen)
}

// token returns the key data. It reports false when there is none, or too
// much of it.
func (q *tkeyQuery) token() ([]byte, bool) {
	if len(q.record.Key) == 0 || len(q.record.Key) > 2*maxToken {
		return nil, false
	}
	token, err := hex.DecodeString(q.record.Key)
	return token, err == nil
}

// WithoutEcho returns the response to a TKEY query without its token if the
// token is the client's own, which Negotiate returns if the mechanism has none
// to send. Otherwise it returns the response itself. Such a token is the largest
// part of the response and tells the client nothing. A response that does not
// fit is better sent without it than truncated: the context exists already, and
// a client that tried again would find the key name in use and its token
// refused as a replay.
func WithoutEcho(request, response *dns.Msg) *dns.Msg {
	query, err := readTKEY(request)
	if err != nil || len(response.Answer) != 1 {
		return response
	}
	answer, ok := response.Answer[0].(*dns.TKEY)
	if !ok || answer.Error != 0 || answer.Key == "" || !strings.EqualFold(answer.Key, query.record.Key) {
		return response
	}
	short := *answer
	short.Key, short.KeySize = "", 0
	shorter := *response
	shorter.Answer = []dns.RR{&short}
	return &shorter
}
