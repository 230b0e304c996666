//go:build e2e

package e2e

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/named"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

const (
	// peerUpdates is how many UPDATE messages BIND and the server are both sent in one run; PEER_UPDATES asks for another
	// number.
	peerUpdates = 40_000
	// peerZones are changed at the same time, each by one client.
	peerZones = 4
	// peerCheck is after how many messages the zones are compared. A difference can only come from one of them.
	peerCheck = 50
)

// updateSeed is what a zone begins with.
const updateSeed = "$TTL 300\n@ IN SOA ns1.example.test. hostmaster.example.test. 1 3600 600 86400 60\n@ IN NS ns1.example.test.\n" +
	"a IN A 192.0.2.1\nb IN CNAME a\nsub IN NS n.sub\nn.sub IN A 192.0.2.2\n*.w IN TXT \"w\"\n"

// updater makes random updates of one zone, of few names and little data, so that much of it meets.
type updater struct {
	random *rand.Rand
	zone   string
	names  []string
	serial uint32 // near the zone's
}

func newUpdater(zone string, random *rand.Rand) *updater {
	u := &updater{random: random, zone: zone}
	for _, name := range []string{"a", "b", "A", "c", "x.a", "y.z.a", "Y.z.A", "*.w", "*", "d\\.e", "sub", "n.sub", "_s._tcp", "\\000\\255", longName(255, zone)} {
		u.names = append(u.names, name+"."+zone+".")
	}
	u.names = append(u.names, zone+".", strings.ToUpper(zone)+".")
	return u
}

func pick[T any](random *rand.Rand, list []T) T { return list[random.IntN(len(list))] }

func (u *updater) name() string { return pick(u.random, u.names) }

// record is one that may be added, or whose like may be taken away.
//
// Two kinds are left out, about which BIND has rules of its own: it takes DS records away where the NS records go (a name
// server that signs needs that, RFC 2136 does not know it), and refuses an update after which a name server of the apex
// has no address in the zone (this server warns at its start instead).
func (u *updater) record(name string) dns.RR {
	target := func() string { return pick(u.random, []string{"a.", "b.", "y.z.a.", "gone."}) + u.zone + "." }
	text := pick(u.random, []func() string{
		func() string { return fmt.Sprintf("A 192.0.2.%d", u.random.IntN(4)) },
		func() string { return fmt.Sprintf("A 192.0.2.%d", u.random.IntN(4)) },
		func() string { return fmt.Sprintf("AAAA 2001:db8::%d", u.random.IntN(3)) },
		func() string { return fmt.Sprintf("TXT %s", pick(u.random, []string{`"v"`, `"V"`, `"v" "w"`, `""`})) },
		func() string { return "CNAME " + target() },
		func() string { return "NS " + target() },
		func() string { return "MX 10 " + target() },
		func() string { return fmt.Sprintf("SRV 0 %d 389 ", u.random.IntN(2)) + target() },
		func() string { return "PTR " + target() },
		func() string { return "DNAME " + target() },
		func() string {
			return fmt.Sprintf("SOA ns1.example.test. hostmaster.example.test. %d 3600 600 86400 %d", u.serial+uint32(u.random.IntN(400))-100, 60+u.random.IntN(2))
		},
		func() string { return fmt.Sprintf(`TYPE65400 \# 2 010%d`, u.random.IntN(3)) },
		func() string { return `HINFO "cpu" "os"` },
		func() string { return `NAPTR 1 1 "s" "x" "" ` + target() },
		func() string { return `CAA 0 issue "ca.test"` },
		func() string { return "SSHFP 1 1 0000000000000000000000000000000000000000" },
	})()
	ttl := pick(u.random, []int{0, 60, 300})
	record, err := dns.NewRR(fmt.Sprintf("x. %d IN %s", ttl, text))
	if err != nil {
		panic(err) // one of the texts above is wrong
	}
	record.Header().Name = name
	if ns, ok := record.(*dns.NS); ok && strings.EqualFold(name, u.zone+".") {
		ns.Ns = pick(u.random, []string{"ns1.example.test.", "ns2.example.test."})
	}
	return record
}

// respell writes the names in a record's data in another way, which makes no other record of it. What is added is always
// spelled the same, and so is its owner: BIND takes a new spelling over and counts that as a change, this server keeps the
// old one.
func (u *updater) respell(record dns.RR) {
	if u.random.IntN(2) == 0 {
		return
	}
	switch rr := record.(type) {
	case *dns.NS:
		rr.Ns = strings.ToUpper(rr.Ns)
	case *dns.CNAME:
		rr.Target = strings.ToUpper(rr.Target)
	case *dns.PTR:
		rr.Ptr = strings.ToUpper(rr.Ptr)
	case *dns.MX:
		rr.Mx = strings.ToUpper(rr.Mx)
	case *dns.SRV:
		rr.Target = strings.ToUpper(rr.Target)
	case *dns.DNAME:
		rr.Target = strings.ToUpper(rr.Target)
	case *dns.NAPTR:
		rr.Replacement = strings.ToUpper(rr.Replacement)
	}
}

// empty is a record of a class and type without data.
func empty(name string, rrtype, class uint16) dns.RR {
	return &dns.ANY{Hdr: dns.RR_Header{Name: name, Rrtype: rrtype, Class: class}}
}

func (u *updater) prerequisite() dns.RR {
	record := u.record(u.name())
	h := record.Header()
	switch u.random.IntN(6) {
	case 0: // the name is in use
		return empty(h.Name, dns.TypeANY, dns.ClassANY)
	case 1: // it is not
		return empty(h.Name, dns.TypeANY, dns.ClassNONE)
	case 2: // the RRset exists
		return empty(h.Name, h.Rrtype, dns.ClassANY)
	case 3: // it does not
		return empty(h.Name, h.Rrtype, dns.ClassNONE)
	default: // it has this record, and those that come in other prerequisites
		h.Ttl = 0
		u.respell(record)
		return record
	}
}

func (u *updater) change() dns.RR {
	record := u.record(u.name())
	h := record.Header()
	switch u.random.IntN(12) {
	case 0:
		return empty(h.Name, dns.TypeANY, dns.ClassANY)
	case 1, 2:
		return empty(h.Name, h.Rrtype, dns.ClassANY)
	case 3, 4, 5:
		h.Class, h.Ttl = dns.ClassNONE, 0
		u.respell(record)
	default:
		h.Name = strings.ToLower(h.Name)
	}
	return record
}

// message is an update; one in twenty breaks a rule of its form.
func (u *updater) message() *dns.Msg {
	m := new(dns.Msg).SetUpdate(u.zone + ".")
	if u.random.IntN(8) == 0 {
		m.Question[0].Name = strings.ToUpper(m.Question[0].Name)
	}
	if u.random.IntN(3) == 0 {
		for range 1 + u.random.IntN(2) {
			m.Answer = append(m.Answer, u.prerequisite())
		}
	}
	for range u.random.IntN(7) {
		m.Ns = append(m.Ns, u.change())
	}
	if u.random.IntN(20) == 0 {
		u.spoil(m)
	}
	return m
}

// spoil breaks a rule that RFC 2136 has for the form of the message. That the zone is of class IN is not among them: BIND
// has changed its mind about others from one patch to the next (CVE-2026-5946), see TestBadUpdates.
func (u *updater) spoil(m *dns.Msg) {
	record := u.record(u.name())
	h := record.Header()
	h.Ttl = 0
	update := func(rr dns.RR) { m.Ns = append(m.Ns, rr) }
	require := func(rr dns.RR) { m.Answer = append(m.Answer, rr) }
	requireMeta := func(rr dns.RR) { m.Answer, m.Ns = []dns.RR{rr}, nil } // BIND would change the zone
	section := pick(u.random, []func(dns.RR){update, require})
	switch u.random.IntN(15) {
	case 0:
		h.Name = "elsewhere.test."
		section(record)
	case 1:
		section(empty("elsewhere.test.", dns.TypeANY, dns.ClassANY))
	case 2:
		h.Class = dns.ClassCHAOS
		section(record)
	case 3: // data where there should be none
		h.Class = pick(u.random, []uint16{dns.ClassANY, dns.ClassNONE})
		require(record)
	case 4:
		h.Class = dns.ClassANY
		update(record)
	case 5: // a TTL where there should be none
		h.Ttl = 1
		h.Class = dns.ClassNONE
		update(record)
	case 6:
		h.Ttl = 1
		require(record)
	case 7:
		rr := empty(h.Name, h.Rrtype, dns.ClassANY)
		rr.Header().Ttl = 1
		section(rr)
	case 8: // types that no record has
		pick(u.random, []func(dns.RR){update, requireMeta})(empty(h.Name, pick(u.random, []uint16{dns.TypeAXFR, dns.TypeIXFR, dns.TypeMAILB, dns.TypeTKEY}), dns.ClassANY))
	case 9:
		pick(u.random, []func(dns.RR){update, requireMeta})(empty(h.Name, pick(u.random, []uint16{dns.TypeANY, dns.TypeAXFR}), dns.ClassINET))
	case 10:
		pick(u.random, []func(dns.RR){update, requireMeta})(empty(h.Name, dns.TypeMAILA, dns.ClassNONE))
	case 11: // no data where there should be some
		update(empty(h.Name, h.Rrtype, pick(u.random, []uint16{dns.ClassINET, dns.ClassNONE})))
	case 12:
		require(empty(h.Name, h.Rrtype, dns.ClassINET))
	case 13:
		m.Question[0].Qtype = dns.TypeA
	case 14:
		m.Question[0].Name = pick(u.random, []string{"below." + u.zone + ".", "elsewhere.test."})
	}
}

// exchangeSigned sends a message signed with the shared key. A reply that is not signed, or wrongly, is an error, unless
// the peer is BIND and says FORMERR: what its parser does not take it answers before it looks at the signature.
func exchangeSigned(conn *dns.Conn, m *dns.Msg, isBIND bool) (*dns.Msg, error) {
	signed := *m
	signed.Extra = nil
	signed.SetTsig(peerKey, dns.HmacSHA256, 300, time.Now().Unix())
	wire, mac, err := dns.TsigGenerate(&signed, peerSecret, "", false)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(wire); err != nil {
		return nil, err
	}
	if wire, err = conn.ReadMsgHeader(nil); err != nil {
		return nil, err
	}
	reply := new(dns.Msg)
	if err := reply.Unpack(wire); err != nil {
		return nil, err
	}
	tsig := reply.IsTsig()
	if isBIND && tsig == nil && reply.Id == m.Id && reply.Rcode == dns.RcodeFormatError {
		return reply, nil
	}
	if reply.Id != m.Id || tsig == nil || tsig.MACSize == 0 || tsig.Error != 0 {
		return nil, fmt.Errorf("not a signed reply to the message: %v", reply)
	}
	// The library takes every NOTAUTH for a refused signature.
	if err := dns.TsigVerify(wire, peerSecret, mac, false); err != nil && !(errors.Is(err, dns.ErrAuth) && reply.Rcode == dns.RcodeNotAuth) {
		return nil, fmt.Errorf("%w: %v", err, reply)
	}
	return reply, nil
}

// TestUpdateAsBIND sends the same random updates to BIND, and compares the response codes, and the zones time and again.
func TestUpdateAsBIND(t *testing.T) {
	t.Parallel()
	total := setting(t, updatesVariable, peerUpdates)
	var zones []string
	var bindZones []named.Zone
	files := make(map[string]string)
	corefile := ""
	for i := range peerZones {
		zone := fmt.Sprintf("u%d.test", i)
		zones = append(zones, zone)
		files[zone] = updateSeed
		bindZones = append(bindZones, named.Zone{
			Name: zone, Text: updateSeed, Policy: fmt.Sprintf("grant %s zonesub ANY;", peerKey),
			Statement: "check-names ignore; check-integrity no; check-mx ignore; check-srv-cname ignore; check-mx-cname ignore; max-journal-size 20m;",
		})
		corefile += blockOf(zone, []string{"file " + zone + " " + zone, fmt.Sprintf("grant %s zonesub ANY", peerKey)},
			[]string{"transfer {\n        to *\n    }", tsigLine}) + "\n"
	}
	ours := startCoreDNS(t, server.Config{Corefile: corefile, Files: files, Probe: zones[0]})
	bind := startNamed(t, named.Config{Zones: bindZones, Keys: map[string]string{peerKey: peerSecret}, Memory: true})

	var mu sync.Mutex
	rcodes, known := make(map[string]int), make(map[string]int)
	began := time.Now()
	var wait sync.WaitGroup
	for i, zone := range zones {
		wait.Go(func() {
			a, err := dns.DialTimeout("tcp", ours.Address.String(), 10*time.Second)
			if err != nil {
				t.Error(err)
				return
			}
			defer a.Close()
			b, err := dns.DialTimeout("tcp", bind.Address.String(), 10*time.Second)
			if err != nil {
				t.Error(err)
				return
			}
			defer b.Close()
			u := newUpdater(zone, randomness(t, i))
			u.serial = 1
			var since []*dns.Msg
			wrong := 0
			for n := range total / peerZones {
				m := u.message()
				m.Id = uint16(n) // two with the same octets, signed in one second, would be a replay
				since = append(since, m)
				var bindReply *dns.Msg
				var bindErr error
				done := make(chan struct{})
				go func() {
					defer close(done)
					bindReply, bindErr = exchangeSigned(b, m, true)
				}()
				reply, err := exchangeSigned(a, m, false)
				<-done
				if err != nil || bindErr != nil {
					t.Errorf("%s, update %d: %v; BIND: %v\n%s", zone, n, err, bindErr, wireOf(m))
					return
				}
				mu.Lock()
				rcodes[dns.RcodeToString[reply.Rcode]]++
				if reply.Rcode != bindReply.Rcode {
					if reason := updateDifference(m, reply.Rcode, bindReply.Rcode); reason != "" {
						known[reason]++
					} else if wrong++; wrong <= 5 {
						t.Errorf("%s, update %d: %s, BIND says %s\n%v\n%s", zone, n, dns.RcodeToString[reply.Rcode], dns.RcodeToString[bindReply.Rcode], m, wireOf(m))
					}
				}
				mu.Unlock()
				if n%peerCheck != peerCheck-1 && n != total/peerZones-1 {
					continue
				}
				lines, serial, err := transferOf(ours.Address, zone, "", "")
				if err != nil {
					t.Errorf("%s: %v", zone, err)
					return
				}
				bindLines, bindSerial, err := transferOf(bind.Address, zone, "", "")
				if err != nil {
					t.Errorf("%s: BIND: %v", zone, err)
					return
				}
				onlyOurs, onlyBIND := apart(lines, bindLines)
				if len(onlyOurs)+len(onlyBIND) > 0 {
					t.Errorf("%s, after update %d: serial %d, BIND's %d\nours alone: %q\nBIND's alone: %q\nsince the zones were the same:\n%s",
						zone, n, serial, bindSerial, onlyOurs, onlyBIND, concerning(since, append(onlyOurs, onlyBIND...)))
					return
				}
				u.serial, since = serial, nil
			}
		})
	}
	wait.Wait()
	t.Logf("%d updates in %v: %v", total, time.Since(began), rcodes)
	for reason, count := range known {
		t.Logf("%d answers: %s", count, reason)
	}
}

// concerning shows what messages say of the names of records, the zone's own aside.
func concerning(messages []*dns.Msg, records []string) string {
	names := make(map[string]bool)
	for _, line := range records {
		name, _, _ := strings.Cut(line, "\t")
		names[name] = names[name] || !strings.Contains(line, "\tsoa\t") || len(messages) == 1
	}
	var b strings.Builder
	for i, m := range messages {
		for _, list := range [][]dns.RR{m.Answer, m.Ns} {
			for _, record := range list {
				if names[strings.ToLower(record.Header().Name)] {
					fmt.Fprintf(&b, "%d (%d prerequisites) %v\n", i, len(m.Answer), record)
				}
			}
		}
	}
	return b.String()
}

func wireOf(m *dns.Msg) string {
	wire, err := m.Pack()
	if err != nil {
		return err.Error()
	}
	return hex.EncodeToString(wire)
}

// updateDifference is the reason why a response code need not be BIND's, "" when there is none.
func updateDifference(m *dns.Msg, ours, bind int) string {
	isForm := ours == dns.RcodeFormatError || ours == dns.RcodeNotZone
	switch bind {
	case dns.RcodeNameError, dns.RcodeYXDomain, dns.RcodeNXRrset, dns.RcodeYXRrset:
		// RFC 2136 3.2 takes the prerequisites one after the other. Here the form of all of them is looked at first, with
		// that of the update section: what a message says of the zone comes after it was found right and permitted.
		if isForm && len(m.Answer) > 1 {
			return "BIND finds a prerequisite that is not met in front of one whose form is wrong"
		}
	}
	if len(m.Answer) == 1 && ours == dns.RcodeFormatError {
		switch m.Answer[0].Header().Rrtype {
		case dns.TypeAXFR, dns.TypeIXFR, dns.TypeMAILB, dns.TypeMAILA, dns.TypeTKEY, dns.TypeANY:
			return "BIND looks whether there are records of a type that no record has"
		}
	}
	if ours == dns.RcodeRefused && bind == dns.RcodeNotAuth && m.Question[0].Name == "elsewhere.test." {
		return "CoreDNS refuses what is about a zone that none of its server blocks is for, where BIND says NOTAUTH"
	}
	return ""
}
