package gsstsig

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// What follows is TSIG a second time, written from RFC 8945 on miekg's parsed
// records and for clarity only, so that the package is not its own witness.

// provider makes and checks MICs of a client's context for miekg's functions.
func (p *peer) Generate(message []byte, _ *dns.TSIG) ([]byte, error) {
	return p.kerberos.GetMIC(message)
}

func (p *peer) Verify(message []byte, t *dns.TSIG) error {
	mac, err := hex.DecodeString(t.MAC)
	if err != nil {
		return err
	}
	return p.kerberos.VerifyMIC(message, mac)
}

// stub is the TSIG record that miekg's functions fill in.
func stub(name, algorithm string, at time.Time) *dns.TSIG {
	return &dns.TSIG{
		Hdr:       dns.RR_Header{Name: name, Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm: algorithm, TimeSigned: uint64(at.Unix()), Fudge: 300,
	}
}

// sign signs a message with miekg's code and the client's context.
func (p *peer) sign(m *dns.Msg) (wire []byte, mac string) {
	p.r.t.Helper()
	return p.signAs(m, p.name, p.algorithm, p.r.clock.now())
}

func (p *peer) signAs(m *dns.Msg, name, algorithm string, at time.Time) (wire []byte, mac string) {
	p.r.t.Helper()
	record := stub(name, algorithm, at)
	record.OrigId = m.Id
	m = m.Copy()
	m.Extra = append(m.Extra, record)
	wire, mac, err := dns.TsigGenerateWithProvider(m, p, "", false)
	if err != nil {
		p.r.t.Fatal(err)
	}
	return wire, mac
}

// referenceDigest is what the MAC of a signed message covers. prior is the
// request's MAC, or in later messages of an answer that of the one before.
func referenceDigest(t testing.TB, wire []byte, prior string, timersOnly bool) (digest []byte, record *dns.TSIG) {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	if len(m.Extra) == 0 {
		t.Fatalf("not signed:\n%s", m)
	}
	record, ok := m.Extra[len(m.Extra)-1].(*dns.TSIG)
	if !ok {
		t.Fatalf("TSIG is not last:\n%s", m)
	}
	if record.Hdr.Class != dns.ClassANY || record.Hdr.Ttl != 0 {
		t.Errorf("TSIG with class %d and TTL %d", record.Hdr.Class, record.Hdr.Ttl)
	}
	// Neither name of our records is compressed, so its size is known.
	size := dns.Len(record)
	head := bytes.Clone(wire[:len(wire)-size])
	binary.BigEndian.PutUint16(head, record.OrigId)
	binary.BigEndian.PutUint16(head[10:], uint16(len(m.Extra)-1))

	b := new(bytes.Buffer)
	if prior != "" {
		mac, err := hex.DecodeString(prior)
		if err != nil {
			t.Fatal(err)
		}
		binary.Write(b, binary.BigEndian, uint16(len(mac)))
		b.Write(mac)
	}
	b.Write(head)
	name := func(s string) {
		for _, label := range dns.SplitDomainName(strings.ToLower(s)) {
			b.WriteByte(byte(len(label)))
			b.WriteString(label)
		}
		b.WriteByte(0)
	}
	timers := func() {
		binary.Write(b, binary.BigEndian, uint16(record.TimeSigned>>32))
		binary.Write(b, binary.BigEndian, uint32(record.TimeSigned))
		binary.Write(b, binary.BigEndian, record.Fudge)
	}
	if timersOnly {
		timers()
		return b.Bytes(), record
	}
	other, err := hex.DecodeString(record.OtherData)
	if err != nil {
		t.Fatal(err)
	}
	name(record.Hdr.Name)
	binary.Write(b, binary.BigEndian, uint16(dns.ClassANY))
	binary.Write(b, binary.BigEndian, uint32(0))
	name(record.Algorithm)
	timers()
	binary.Write(b, binary.BigEndian, record.Error)
	binary.Write(b, binary.BigEndian, uint16(len(other)))
	b.Write(other)
	return b.Bytes(), record
}

// verifyAnswer checks the signature of an answer with the client's context and
// the reference, and returns the record.
func (p *peer) verifyAnswer(wire []byte, prior string, timersOnly bool) *dns.TSIG {
	p.r.t.Helper()
	digest, record := referenceDigest(p.r.t, wire, prior, timersOnly)
	mac, err := hex.DecodeString(record.MAC)
	if err != nil {
		p.r.t.Fatal(err)
	}
	if err := p.kerberos.VerifyMIC(digest, mac); err != nil {
		p.r.t.Errorf("signature of the answer: %v", err)
	}
	if !strings.EqualFold(record.Hdr.Name, p.name) || !strings.EqualFold(record.Algorithm, p.algorithm) {
		p.r.t.Errorf("answer signed by %s with %s", record.Hdr.Name, record.Algorithm)
	}
	return record
}
