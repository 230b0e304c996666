package zone

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/internal/masterfile"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Bounds of what ParseSeed reports of one file.
const (
	maxSeedErrors   = 10
	maxSeedWarnings = 10
)

// SeedConfig says what [ParseSeed] reads.
type SeedConfig struct {
	// Origin is the zone's name. Required.
	Origin string
	// File is the file's name in messages. $INCLUDE looks for relative names in its directory.
	File string
	// Open opens the file of an $INCLUDE. The name is absolute, or relative like File. nil makes
	// $INCLUDE an error.
	Open func(name string) (io.ReadCloser, error)
	// Warn receives warnings, a bounded number of them. It may be nil.
	Warn func(SeedWarning)
	// Annotate receives the words of each comment that begins with ";gsstsig:", without quotes and
	// escapes. Its error is one of that line. nil ignores these comments.
	Annotate func(words []string) error
	// Hours returns the time of each record, as in store.Record. It is called for every record that is
	// read, in their order, after Annotate was called for the comments in front of it. nil makes all
	// records static.
	Hours func() uint32
	// Signed keeps the records that DNSSEC signing adds, as the restore of a backup must. Without
	// it they are left out.
	Signed bool
}

// ParseSeed reads a zone from a master file (RFC 1035 section 5) and checks that it is one: exactly
// one SOA and at least one NS at the origin, no CNAME beside other data, class IN throughout. A
// record outside the zone is an error: other servers ignore such records, but here most are a
// mistyped name or a missing dot. Duplicates are dropped. All records of an RRset get the TTL of
// the first (RFC 2181 section 5.2), with a warning where they differ. A record without TTL gets
// that of $TTL, else that of the record before it, else the MINIMUM of the SOA (RFC 2308 section
// 4), with a warning in the latter two cases.
//
// What a signer such as dnssec-signzone adds is left out with one warning: RRSIG, NSEC, NSEC3 and
// NSEC3PARAM, and at the origin DNSKEY, CDS, CDNSKEY, ZONEMD and the TYPE65534 in which BIND notes how
// far its signing is. The first update would make it wrong.
//
// The error is a [*SeedError], or [SeedErrors] if there are several. The records come in canonical
// order after the SOA; names are in the spelling of the file.
func ParseSeed(r io.Reader, config SeedConfig) ([]store.Record, error) {
	o, err := newOrigin(config.Origin)
	if err != nil {
		return nil, &SeedError{File: config.File, Reason: fmt.Sprintf("origin %q: %v", config.Origin, err), Err: err}
	}
	p := &seedParser{config: &config, builder: newBuilder(o)}
	p.read(r)
	return p.finish()
}

// CheckSeed is ParseSeed for records that another server has, instead of a file: config.File names
// the source in messages, Open and Annotate are not used. The records, their order, and the octets
// of their data are not trusted.
func CheckSeed(records []store.Record, config SeedConfig) ([]store.Record, error) {
	o, err := newOrigin(config.Origin)
	if err != nil {
		return nil, &SeedError{File: config.File, Reason: fmt.Sprintf("origin %q: %v", config.Origin, err), Err: err}
	}
	p := &seedParser{config: &config, builder: newBuilder(o)}
	for _, r := range records {
		if len(p.errors) == maxSeedErrors {
			break
		}
		p.check(r)
	}
	return p.finish()
}

// check adds a record that may be malformed.
func (p *seedParser) check(r store.Record) {
	err := dnswire.Validate(r.Type, r.Data)
	switch {
	case r.Name == "" || dnswire.NameLen([]byte(r.Name)) != len(r.Name):
		p.errors = append(p.errors, &SeedError{File: p.config.File, Reason: fmt.Sprintf("%q is not a domain name", r.Name)})
	case err != nil:
		reason := fmt.Sprintf("%s %s: %v", textOf(r.Name), dnswire.TypeText(r.Type), err)
		p.errors = append(p.errors, &SeedError{File: p.config.File, Reason: reason, Err: err})
	case !p.config.Signed && isSigning(r.Type, []byte(r.Name), r.Data, p.builder.snapshot.origin):
		p.signed++
	default:
		p.add(r, p.config.File, 0)
	}
}

// finish returns the zone, or what is wrong with it.
func (p *seedParser) finish() ([]store.Record, error) {
	if len(p.errors) > 0 {
		return nil, p.err()
	}
	s, err := p.builder.finish()
	if err != nil {
		return nil, &SeedError{File: p.config.File, Reason: err.Error(), Err: err}
	}
	p.endWarnings()
	return slices.AppendSeq(make([]store.Record, 0, s.Len()), s.WireRecords()), nil
}

// seedParser is the state of one ParseSeed.
type seedParser struct {
	config   *SeedConfig
	builder  *builder
	errors   SeedErrors
	warnings int // all, also those that were not passed on
	signed   int // records that were left out
}

// read reads the records of a file into the builder.
func (p *seedParser) read(content io.Reader) {
	config := masterfile.Config{
		Origin: p.builder.snapshot.origin.wire, File: p.config.File, Open: p.config.Open, MaxProblems: maxSeedErrors,
		Warn: func(w masterfile.Warning) {
			text, fix, _ := strings.Cut(w.Text, fixMark)
			p.warn(SeedWarning{File: w.File, Line: w.Line, Text: text, Fix: fix})
		},
	}
	if p.config.Annotate != nil {
		config.Annotate = func(a masterfile.Annotation) error { return p.config.Annotate(a.Words) }
	}
	r := masterfile.NewReader(content, config)
	var name string // of the last record
	for len(p.errors) < maxSeedErrors {
		m, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			p.failed(err)
			return
		}
		hours := uint32(0)
		if p.config.Hours != nil {
			hours = p.config.Hours()
		}
		if !p.config.Signed && isSigning(m.Type, m.Name, m.Data, p.builder.snapshot.origin) {
			p.signed++
			continue
		}
		if string(m.Name) != name {
			name = string(m.Name)
		}
		p.add(store.Record{Name: name, Type: m.Type, Class: m.Class, TTL: m.TTL, Hours: hours, Data: m.Data}, m.File, m.Line)
	}
	// Errors of closing say nothing about what was read.
	_ = r.Close()
}

// add adds a record to the zone. File and line are where it comes from.
func (p *seedParser) add(record store.Record, file string, line int) {
	written := record.TTL
	err := p.place(&record)
	if err == nil {
		err = p.builder.add(&record)
	}
	if err != nil {
		e := &SeedError{File: file, Line: line, Reason: err.Error(), Err: err}
		switch {
		case errors.Is(err, errOutside):
			e.Fix = "correct the name, which may lack a dot at its end or have one too many, or delete the record"
		case errors.Is(err, errPlace):
			e.Fix = "correct the name, or delete the record"
		}
		p.errors = append(p.errors, e)
		return
	}
	if ttl := p.builder.draft.set(record.Type).ttl; ttl != written {
		p.warn(SeedWarning{File: file, Line: line,
			Text: fmt.Sprintf("%s %s has TTL %d, but the record before it has %d, which all records of one name and type get (RFC 2181 section 5.2)",
				textOf(record.Name), dnswire.TypeText(record.Type), written, ttl),
			Fix: "give them one TTL",
		})
	}
}

// place returns an error for a record that BIND loads at no such name, as a primary server or, of an NS record, as a
// secondary one: it would stop all transfers of the zone. Updates add no such record.
func (p *seedParser) place(record *store.Record) error {
	if record.Type != dnswire.TypeNS && record.Type != dnswire.TypeDS {
		return nil
	}
	key, ok := p.builder.snapshot.origin.keyOf(record.Name)
	if ok && misplaced(record.Type, key) {
		return fmt.Errorf("%s: %w, and it is a %s record", textOf(record.Name), errPlace, dnswire.TypeText(record.Type))
	}
	return nil
}

// failed takes in the error that ended the reading.
func (p *seedParser) failed(err error) {
	var several masterfile.Problems
	var one *masterfile.Error
	switch {
	case errors.As(err, &several):
		for _, e := range several {
			p.errors = append(p.errors, syntaxError(e))
		}
	case errors.As(err, &one):
		p.errors = append(p.errors, syntaxError(one))
	default:
		p.errors = append(p.errors, &SeedError{File: p.config.File, Reason: err.Error(), Err: err})
	}
}

// fixMark introduces advice in the messages of the reader.
const fixMark = ". Fix: "

func syntaxError(e *masterfile.Error) *SeedError {
	reason, fix, _ := strings.Cut(e.Reason, fixMark)
	return &SeedError{File: e.File, Line: e.Line, Reason: reason, Fix: fix, Err: e.Err}
}

// err returns the errors by their place. Those of the syntax came after all others.
func (p *seedParser) err() error {
	slices.SortStableFunc(p.errors, func(a, b *SeedError) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	if len(p.errors) == 1 {
		return p.errors[0]
	}
	return p.errors[:min(len(p.errors), maxSeedErrors)]
}

func (p *seedParser) warn(w SeedWarning) {
	if p.warnings++; p.warnings <= maxSeedWarnings && p.config.Warn != nil {
		p.config.Warn(w)
	}
}

// endWarnings passes the warnings on that are about the file as a whole.
func (p *seedParser) endWarnings() {
	if p.config.Warn == nil {
		return
	}
	if more := p.warnings - maxSeedWarnings; more > 0 {
		p.config.Warn(SeedWarning{File: p.config.File, Text: fmt.Sprintf("%d more warnings are left out", more)})
	}
	if p.signed > 0 {
		p.config.Warn(SeedWarning{File: p.config.File,
			Text: fmt.Sprintf("%d records of a signed zone (RRSIG, NSEC, NSEC3, NSEC3PARAM; DNSKEY, CDS, CDNSKEY, ZONEMD and BIND's TYPE65534 at the zone's name) are left out, "+
				"because an update would make them wrong: the zone is not signed", p.signed),
			Fix: "sign it as it is served, by CoreDNS's plugin dnssec",
		})
	}
}

// isSigning reports whether a signer adds such records at that name.
func isSigning(rrtype uint16, name, data []byte, o *origin) bool {
	switch rrtype {
	case dnswire.TypeRRSIG, dnswire.TypeNSEC, dnswire.TypeNSEC3, dnswire.TypeNSEC3PARAM:
		return true
	case dnswire.TypeDNSKEY, dnswire.TypeCDS, dnswire.TypeCDNSKEY, dnswire.TypeZONEMD:
		return dnswire.EqualNames(name, o.wire)
	case typeBINDSigning:
		return dnswire.EqualNames(name, o.wire) && isSigningState(data)
	}
	return false
}

// typeBINDSigning is the private type that BIND has in zones that it signs, unless sig-signing-type says otherwise.
const typeBINDSigning = 65534

// isSigningState reports whether data is what BIND notes of a key (its algorithm and tag, and two flags), or, behind a
// zero, of a chain of NSEC3 records.
func isSigningState(data []byte) bool {
	const key = 5
	return len(data) == key || len(data) > 0 && data[0] == 0 && dnswire.Validate(dnswire.TypeNSEC3PARAM, data[1:]) == nil
}

// RaiseSerial makes the serial of a seed greater than its own and than those served before, in the
// arithmetic of RFC 1982: a secondary that has the zone with one of these then fetches it. records
// are as ParseSeed returns them. It is an error if there is no such serial.
func RaiseSerial(records []store.Record, served ...uint32) error {
	if len(records) == 0 || records[0].Type != dnswire.TypeSOA || dnswire.Validate(dnswire.TypeSOA, records[0].Data) != nil {
		return errNoSOA
	}
	soa := &records[0]
	own := soaSerial(soa.Data)
	next := own
	for _, s := range served {
		if serialAfter(s, next) {
			next = s
		}
	}
	next = nextSerial(next)
	for _, s := range append([]uint32{own}, served...) {
		if !serialAfter(next, s) {
			return fmt.Errorf("zone: serials %d and %d are too far apart: none is greater than both (RFC 1982 section 3.2)", own, s)
		}
	}
	soa.Data = slices.Clone(soa.Data)
	binary.BigEndian.PutUint32(soa.Data[len(soa.Data)-soaFixed:], next)
	return nil
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
