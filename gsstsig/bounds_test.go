package gsstsig

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/internal/tsig"
)

// A principal can fill its own share of the table and no more.
func TestPrincipalHasAShare(t *testing.T) {
	c := &clock{at: time.Now()}
	table := NewTable(TableConfig{MaxContexts: 5000, MaxPerPrincipal: 3, Now: c.now})
	later := c.now().Add(time.Hour)
	table.insert(entry("other.", later)) // the longest unused of all
	add := func(name string) {
		t.Helper()
		if !table.insert(entryOf("greedy", name, later)) {
			t.Fatal(name)
		}
	}
	expect := func(when string, want ...string) {
		t.Helper()
		there := map[string]bool{"other.": true}
		for _, name := range want {
			there[name] = true
		}
		for _, name := range []string{"other.", "a.", "b.", "c.", "d.", "e.", "f.", "g."} {
			if table.has(name) != there[name] {
				t.Errorf("%s, %s: %t", when, name, !there[name])
			}
		}
		if live, _ := table.Len(); live != len(there) {
			t.Errorf("%s: %d live", when, live)
		}
	}
	for _, name := range []string{"a.", "b.", "c."} {
		add(name)
	}
	table.lookup([]byte("\x01a\x00"))
	add("d.")
	expect("the first was used", "a.", "c.", "d.")
	add("e.")
	expect("and not again", "a.", "d.", "e.")
	for _, name := range []string{"a.", "d.", "e."} {
		table.lookup([]byte{1, name[0], 0})
	}
	add("f.")
	if live, _ := table.Len(); live != 4 || !table.has("f.") {
		t.Errorf("all were used: %d live", live)
	}
	// What leaves by another way makes room.
	for _, name := range []string{"a.", "d.", "e.", "f."} {
		if c := table.lookup([]byte{1, name[0], 0}); c != nil {
			table.delete(c)
		}
	}
	for _, name := range []string{"a.", "b.", "c."} {
		add(name)
	}
	expect("after a restart", "a.", "b.", "c.")
	for _, name := range []string{"a.", "b.", "c."} {
		table.delete(table.lookup([]byte{1, name[0], 0}))
	}
	if len(table.quota.of) != 1 {
		t.Errorf("%d principals are counted", len(table.quota.of))
	}
	for range 2 {
		for i := range 10 {
			table.insert(entryOf("greedy", fmt.Sprintf("%d.", i), later))
		}
	}
	if live, _ := table.Len(); live != 4 || len(table.quota.of) != 2 || table.quota.of["greedy@"+testRealm].size != 3 {
		t.Errorf("%d live, %d principals", live, len(table.quota.of))
	}
	// Expiry is a way out as well.
	c.advance(2 * time.Hour)
	if table.Len(); len(table.quota.of) != 0 {
		t.Errorf("%d principals are counted when all has expired", len(table.quota.of))
	}
}

func TestSharesOfATable(t *testing.T) {
	for _, test := range []struct {
		given, want TableConfig
	}{
		{TableConfig{}, TableConfig{MaxContexts: 10000, MaxPerPrincipal: 1000, MaxHalfOpen: 256, MaxHalfOpenPerSource: 32}},
		{TableConfig{MaxContexts: 100, MaxHalfOpen: 20}, TableConfig{MaxContexts: 100, MaxPerPrincipal: 16, MaxHalfOpen: 20, MaxHalfOpenPerSource: 16}},
		{TableConfig{MaxPerPrincipal: 5, MaxHalfOpenPerSource: 6}, TableConfig{MaxContexts: 10000, MaxPerPrincipal: 5, MaxHalfOpen: 256, MaxHalfOpenPerSource: 6}},
	} {
		test.want.HalfOpenLifetime = DefaultHalfOpenLifetime
		got := withDefaults(test.given)
		if got.Now = nil; got.MaxContexts != test.want.MaxContexts || got.MaxPerPrincipal != test.want.MaxPerPrincipal ||
			got.MaxHalfOpen != test.want.MaxHalfOpen || got.MaxHalfOpenPerSource != test.want.MaxHalfOpenPerSource {
			t.Errorf("%+v: %+v", test.given, got)
		}
	}
}

// A table that lives on over a reload takes the new bounds.
func TestLimit(t *testing.T) {
	table := NewTable(TableConfig{MaxContexts: 2000})
	later := time.Now().Add(time.Hour)
	fill := func() int {
		for i := range 3000 {
			table.insert(entry(fmt.Sprintf("%d.", i), later))
		}
		live, _ := table.Len()
		return live
	}
	if n := fill(); n > 2000 || n < 1800 {
		t.Errorf("%d", n)
	}
	table.Limit(TableConfig{MaxContexts: 160})
	for i := range 1000 {
		table.insert(entry(fmt.Sprintf("new%d.", i), later))
	}
	if live, _ := table.Len(); live > 160 {
		t.Errorf("%d live after there may be 160", live)
	}
	table.Limit(TableConfig{MaxContexts: 4000})
	if n := fill(); n < 2500 {
		t.Errorf("%d", n)
	}
}

// One source cannot push out the negotiations that others have begun.
func TestSourceHasAShareOfHalfOpen(t *testing.T) {
	r := newRealm(t, func(c *TableConfig, _ *Config) { c.MaxHalfOpen, c.MaxHalfOpenPerSource = 8, 3 })
	token := r.newPeer("x.", login{noOptimistic: true}).first()
	ask := func(name, client string) {
		r.negotiate(tkeyMessage(name, AlgorithmGSS, modeGSS, token), netip.AddrPortFrom(netip.MustParseAddr(client), 53), nil)
	}
	ask("good.", "192.0.2.1")
	ask("six.", "2001:db8::1")
	for i := range 100 {
		ask(fmt.Sprintf("%d.", i), "192.0.2.66")
		ask(fmt.Sprintf("six%d.", i), fmt.Sprintf("2001:db8:1::%x", i)) // one network
	}
	if _, halfOpen := r.table.Len(); halfOpen != 8 {
		t.Errorf("%d unfinished", halfOpen)
	}
	for name, want := range map[string]bool{"good.": true, "six.": true, "97.": true, "96.": false, "99.": true, "six97.": true, "six96.": false} {
		wire, _ := tsig.NameFromText(name)
		if r.table.hasHalfOpen(wire) != want {
			t.Errorf("%s: %t", name, !want)
		}
	}
	r.clock.advance(2 * time.Minute)
	if _, halfOpen := r.table.Len(); halfOpen != 0 || len(r.table.halfOpenOf) != 0 {
		t.Errorf("%d unfinished, %d sources", halfOpen, len(r.table.halfOpenOf))
	}
}

// inspected is what Inspect tells of a message.
type inspected struct {
	malformed, signed, keyHeld bool
	questionType               uint16
}

// Inspect agrees with Authenticate without looking at a MAC, and does not count
// as use of a context.
func TestInspect(t *testing.T) {
	r := newRealm(t, nil)
	p := r.login("k.example.test.", login{})
	v := NewAuthenticator(staticKeys, r.server)
	signedBy := func(name, algorithm string) []byte {
		wire, _ := p.signAs(updateMessage(), name, algorithm, r.clock.now())
		return wire
	}
	static, _ := signStatic(t, updateMessage(), staticName, dns.HmacSHA256, r.clock.now())
	_, plain := overTheWire(t, updateMessage())
	_, tkey := overTheWire(t, tkeyMessage("new.example.test.", AlgorithmGSS, modeGSS, []byte{1, 2, 3}))
	wrongMAC := bytes.Clone(static)
	wrongMAC[len(wrongMAC)-10] ^= 1
	trailing := append(bytes.Clone(plain), 0)
	for name, test := range map[string]struct {
		wire   []byte
		want   inspected
		key    string
		failed VerifyErrorKind
	}{
		"signed":            {signedBy(p.name, p.algorithm), inspected{signed: true, keyHeld: true, questionType: dns.TypeSOA}, "\x01k\x07example\x04test\x00", 0},
		"static":            {static, inspected{signed: true, keyHeld: true, questionType: dns.TypeSOA}, mustName(staticName), 0},
		"wrong MAC":         {wrongMAC, inspected{signed: true, keyHeld: true, questionType: dns.TypeSOA}, mustName(staticName), BadSig},
		"unknown key":       {signedBy("other.example.test.", p.algorithm), inspected{signed: true, questionType: dns.TypeSOA}, "\x05other\x07example\x04test\x00", BadKey},
		"another algorithm": {signedBy(p.name, AlgorithmGSSMicrosoft), inspected{signed: true, questionType: dns.TypeSOA}, "\x01k\x07example\x04test\x00", BadKey},
		"no algorithm":      {signedBy(staticName, "none."), inspected{signed: true, questionType: dns.TypeSOA}, mustName(staticName), BadKey},
		"unsigned":          {plain, inspected{questionType: dns.TypeSOA}, "", 0},
		"TKEY":              {tkey, inspected{questionType: dns.TypeTKEY}, "", 0},
		"trailing octets":   {trailing, inspected{malformed: true, questionType: dns.TypeSOA}, "", Malformed},
		"cut":               {plain[:20], inspected{malformed: true}, "", Malformed},
		"no header":         {plain[:11], inspected{malformed: true}, "", Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			m := v.Inspect(test.wire)
			got := inspected{m.Malformed(), m.Signed(), m.KeyHeld(), m.QuestionType()}
			if key := m.AppendKeyName(nil); got != test.want || string(key) != test.key {
				t.Errorf("%+v, key %q", got, key)
			}
			transaction, err := m.Authenticate()
			if kindOf(err) != test.failed || errors.Is(err, ErrUnsigned) == (got.signed || got.malformed) || (transaction != nil) != (err == nil) {
				t.Errorf("Authenticate: %v, %v", transaction, err)
			}
		})
	}
	wire := signedBy(p.name, p.algorithm)
	var room [tsig.MaxName]byte
	if n := testing.AllocsPerRun(100, func() {
		m := v.Inspect(wire)
		m.AppendKeyName(room[:0])
	}); n != 0 {
		t.Errorf("Inspect allocates %v times", n)
	}
	// A flood with the name of an idle context does not keep it from giving way.
	small := newRealm(t, func(c *TableConfig, _ *Config) { c.MaxContexts = 2 })
	idle := small.login("idle.example.test.", login{})
	small.login("busy.example.test.", login{client: "host/b.example.test"})
	wire, _ = idle.sign(updateMessage())
	NewAuthenticator(nil, small.server).Inspect(wire)
	small.login("new.example.test.", login{client: "host/c.example.test"})
	if small.table.has("idle.example.test.") {
		t.Error("Inspect counts as use")
	}
}

// The answers to unauthenticated senders are made from the octets, and are what
// parsing would have made of them.
func TestRepliesWithoutParsing(t *testing.T) {
	v := NewAuthenticator(nil)
	query := new(dns.Msg).SetQuestion("WWW.example.test.", dns.TypeA)
	query.CheckingDisabled = true
	withOPT := query.Copy().SetEdns0(1232, true)
	odd := updateMessage()
	odd.Question[0].Name = "a\\000b\\.c." + odd.Question[0].Name
	for name, m := range map[string]*dns.Msg{"query": query, "OPT": withOPT, "update": updateMessage(), "odd name": odd} {
		wire, _ := signStatic(t, m, "unknown.test.", dns.HmacSHA256, time.Now())
		_, err := v.Authenticate(wire)
		if err == nil || err.(*VerifyError).SignsReply() {
			t.Fatalf("%s: %v", name, err)
		}
		request := new(dns.Msg)
		if err := request.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		want := new(dns.Msg).SetReply(request)
		want.Rcode = dns.RcodeNotAuth
		if request.IsEdns0() != nil {
			want.SetEdns0(dns.DefaultMsgSize, false)
		}
		octets := replyWire(t, err)
		if len(octets) > len(wire) {
			t.Errorf("%s: %d octets for %d", name, len(octets), len(wire))
		}
		got := new(dns.Msg)
		if err := got.Unpack(octets); err != nil {
			t.Fatal(err)
		}
		record := got.IsTsig()
		if record == nil || record.Error != dns.RcodeBadKey || record.Hdr.Name != "unknown.test." || record.MACSize != 0 || record.OrigId != m.Id {
			t.Fatalf("%s: %v", name, record)
		}
		got.Extra = got.Extra[:len(got.Extra)-1]
		if got.String() != want.String() {
			t.Errorf("%s:\n%v\nwant:\n%v", name, got, want)
		}
	}
	// Where there is no one question to repeat, the header has to do.
	wire, _ := signStatic(t, query, "unknown.test.", dns.HmacSHA256, time.Now())
	binary.BigEndian.PutUint16(wire[4:], 2)
	_, err := v.Authenticate(wire)
	if got := replyTo(t, err); got.Rcode != dns.RcodeFormatError || len(got.Question) != 0 || got.Id != query.Id {
		t.Errorf("two questions counted:\n%v", got)
	}
}

func BenchmarkInspect(b *testing.B) {
	r := newRealm(b, nil)
	p := r.login("k.example.test.", login{})
	v := NewAuthenticator(nil, r.server)
	wire, _ := p.sign(updateMessage())
	b.ReportAllocs()
	for b.Loop() {
		v.Inspect(wire)
	}
}
