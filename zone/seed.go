package zone

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// ParseSeed reads a zone from a master file (RFC 1035 section 5) and checks that it is one: exactly
// one SOA and at least one NS at the origin, nothing outside the zone, no CNAME beside other data,
// class IN throughout. Duplicates are dropped, and all records of an RRset get the TTL of the
// first. A record without TTL gets that of $TTL, else the last one stated, else an hour. $INCLUDE
// is not allowed. file is only for messages; every error is a *SeedError. The records come in
// canonical order after the SOA.
func ParseSeed(r io.Reader, origin, file string) ([]store.Record, error) {
	o, err := newOrigin(origin)
	if err != nil {
		return nil, &SeedError{File: file, Reason: fmt.Sprintf("origin %q: %v", origin, err)}
	}
	p := &seedParser{lines: &lineReader{r: bufio.NewReader(r)}}
	p.parser = dns.NewZoneParser(p.lines, o.name, "")
	p.parser.SetDefaultTTL(apexTTL)
	s, bad, err := build(o, p.records)
	if p.err != nil {
		bad, err = 0, p.err
	}
	if parseErr := p.parser.Err(); parseErr != nil {
		return nil, syntaxError(file, p.lines.line, parseErr)
	}
	if err != nil {
		e := &SeedError{File: file, Reason: err.Error()}
		if bad >= 0 {
			e.Line = p.lines.line
		}
		return nil, e
	}
	return slices.AppendSeq(make([]store.Record, 0, s.Len()), s.WireRecords()), nil
}

// seedParser yields records one at a time, so that while one is being looked at, the reader stands
// at the end of its line.
type seedParser struct {
	parser *dns.ZoneParser
	lines  *lineReader
	err    error // of a record that has no wire form
}

func (p *seedParser) records(yield func(store.Record) bool) {
	for rr, ok := p.parser.Next(); ok; rr, ok = p.parser.Next() {
		var r store.Record
		if r, p.err = RecordOf(rr); p.err != nil || !yield(r) {
			return
		}
	}
}

// lineReader counts the lines that the parser has taken. The parser reads an io.ByteReader without
// a buffer of its own.
type lineReader struct {
	r    *bufio.Reader
	line int
	last byte
}

func (l *lineReader) ReadByte() (byte, error) {
	b, err := l.r.ReadByte()
	if err == nil {
		if l.line == 0 || l.last == '\n' {
			l.line++
		}
		l.last = b
	}
	return b, err
}

func (l *lineReader) Read(p []byte) (int, error) {
	for i := range p {
		b, err := l.ReadByte()
		if err != nil {
			return i, err
		}
		p[i] = b
	}
	return len(p), nil
}

var errorPosition = regexp.MustCompile(` at line: (\d+):\d+$`)

// syntaxError takes apart the message of miekg's parser, which has the line at its end.
func syntaxError(file string, line int, err error) *SeedError {
	reason := err.Error()
	var parse *dns.ParseError
	if errors.As(err, &parse) {
		if m := errorPosition.FindStringSubmatchIndex(reason); m != nil {
			line, _ = strconv.Atoi(reason[m[2]:m[3]])
			reason = reason[:m[0]]
		}
		reason = strings.TrimPrefix(reason, "dns: ")
		if strings.HasPrefix(reason, "$INCLUDE") {
			reason += "; make one file of them first, as named-compilezone does"
		}
	}
	return &SeedError{File: file, Line: line, Reason: reason}
}

// The SOA of a generated apex: secondaries look every 15 minutes, and a name that did not exist may
// exist 5 minutes later.
const (
	apexTTL     = 3600
	apexRefresh = 900
	apexRetry   = 600
	apexExpire  = 86400
	apexMinimum = 300
)

// GeneratedApex returns the least zone: an SOA of serial 1 and an NS that both name the host mname.
// The administrator adds the host's addresses.
func GeneratedApex(origin, mname string) ([]store.Record, error) {
	name, err := dnswire.ParseName(dns.Fqdn(origin), nil)
	if err != nil {
		return nil, fmt.Errorf("zone: origin %q: %w", origin, err)
	}
	host, err := dnswire.ParseName(dns.Fqdn(mname), nil)
	if err != nil {
		return nil, fmt.Errorf("zone: primary server %q: %w", mname, err)
	}
	name, host = dnswire.AppendLower(nil, name), dnswire.AppendLower(nil, host)
	mailbox := append([]byte("\x0ahostmaster"), name...)
	if dnswire.NameLen(mailbox) == 0 {
		mailbox = host // the origin leaves no room for a label
	}
	soa := slices.Concat(host, mailbox)
	for _, field := range []uint32{1, apexRefresh, apexRetry, apexExpire, apexMinimum} {
		soa = binary.BigEndian.AppendUint32(soa, field)
	}
	return []store.Record{
		{Name: string(name), Type: dns.TypeSOA, Class: dns.ClassINET, TTL: apexTTL, Data: soa},
		{Name: string(name), Type: dns.TypeNS, Class: dns.ClassINET, TTL: apexTTL, Data: host},
	}, nil
}
