package krb5

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

func TestDecodeTransited(t *testing.T) {
	standard.Requires(t, "RFC 4120", "5.3 transited type")
	for _, c := range []struct {
		encoded, client, service string
		want                     []string // nil: malformed
	}{
		{"", "A", "B", []string{}},
		{"MIDDLE.TEST", "A", "B", []string{"MIDDLE.TEST"}},
		{"X.TEST,Y.TEST", "A", "B", []string{"X.TEST", "Y.TEST"}},
		// The examples of RFC 4120, section 3.3.3.2.
		{"EDU,MIT.,ATHENA.,WASHINGTON.EDU,CS.", "A", "B", []string{"EDU", "MIT.EDU", "ATHENA.MIT.EDU", "WASHINGTON.EDU", "CS.WASHINGTON.EDU"}},
		{"/COM/HP,/APOLLO, /COM/DEC", "A", "B", []string{"/COM/HP", "/COM/HP/APOLLO", "/COM/DEC"}},
		{",EDU, /COM,", "ATHENA.MIT.EDU", "/COM/DEC/X", []string{"MIT.EDU", "EDU", "/COM", "/COM/DEC"}},
		// Empty subfields.
		{",", "A.B.C.D", "D", []string{"B.C.D", "C.D"}},
		{",", "D", "A.B.C.D", []string{"B.C.D", "C.D"}},
		{",", "A.D", "D", []string{}},
		{",", "A", "A", []string{}},
		{",,", "A.B.D", "D", []string{"B.D"}},
		{"D,,A.B.C.D", "X", "Y", []string{"D", "B.C.D", "C.D", "A.B.C.D"}},
		{",", "A.B", "C.D", nil},
		{",X", "A.B", "B", nil},
		{"X,", "A.B", "B", nil},
		{",", "/A/B", "B", nil},
		{",", "/A/B/C", "/A", []string{"/A/B"}},
		{",", "AB", "B", nil},
		// Escapes.
		{`A\,B`, "C", "D", []string{"A,B"}},
		{`A\\`, "C", "D", []string{`A\`}},
		{`EDU,MIT\.`, "C", "D", []string{"EDU", "MIT."}},
		{`/COM,\/HP`, "C", "D", []string{"/COM", "/HP"}},
		{`\ X`, "C", "D", []string{" X"}},
		{` X`, "C", "D", []string{"X"}},
		{`X\`, "C", "D", nil},
		// Nothing to join to, or of the other style.
		{"MIT.", "C", "D", nil},
		{"/COM,MIT.", "C", "D", nil},
		{" ", "C", "D", nil},
		{"X, ,Y", "C", "D", nil},
		// Bounds.
		{strings.Repeat("X,", maxTransitedRealms-1) + "X", "C", "D", slices.Repeat([]string{"X"}, maxTransitedRealms)},
		{strings.Repeat("X,", maxTransitedRealms) + "X", "C", "D", nil},
		{"D," + strings.Repeat("X.", 600) + "D", "C", "D", nil},
		{",", strings.Repeat("x.", 100) + "D", "D", nil},
		{"A" + strings.Repeat(",A.", 60), "C", "D", func() (l []string) {
			for n := range 61 {
				l = append(l, strings.Repeat("A.", n)+"A")
			}
			return l
		}()},
		{strings.Repeat("A", maxTransitedOctets+1), "C", "D", nil},
	} {
		got, err := decodeTransited([]byte(c.encoded), c.client, c.service)
		if (err == nil) != (c.want != nil) || (err == nil && !slices.Equal(got, c.want)) {
			t.Errorf("%.80q from %.20s to %s: %q, %v", c.encoded, c.client, c.service, got, err)
		}
	}
}

func writeCapaths(t *testing.T, text string) *TransitPolicy {
	t.Helper()
	p, err := ReadTransitPolicy(writeFile(t, "krb5.conf", []byte(text)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const testCapaths = `# comment
[libdefaults]
	default_realm = EXAMPLE.TEST
	v = {
		x = }
	}
[capaths]
	FAR.OTHER = {
		EXAMPLE.TEST = MIDDLE.OTHER
		EXAMPLE.TEST = NEAR.OTHER
		ELSE.TEST = .
	}
	; another comment
	CHILD.EXAMPLE.TEST = {
		EXAMPLE.TEST = .
		ELSE.TEST = A.TEST B.TEST
	}
[realms]
	EXAMPLE.TEST = {
		kdc = kdc.example.test
	}
`

func TestTransitedRealmsAreCheckedAgainstCapathsAndHierarchy(t *testing.T) {
	standard.Deviates(t, "MS-KILE", "3.1.5.4 transited", "The realms on the way are checked, as RFC 4120 section 2.7 has it. The flag is ignored by default, and trusted with `transit trust-kdc`.")
	standard.Requires(t, "RFC 4120", "2.7 transited")
	file := writeCapaths(t, testCapaths)
	trusting := writeCapaths(t, testCapaths)
	trusting.TrustKDC = true
	for _, c := range []struct {
		name            string
		policy          *TransitPolicy
		client, through string
		flag            bool
		hop             string // refused; "" if permitted
	}{
		{"straight", nil, "FAR.OTHER", "", false, ""},
		{"hierarchy, up", nil, "A.B.EXAMPLE.TEST", "B.EXAMPLE.TEST", false, ""},
		{"hierarchy, over the common one", nil, "A.OTHER.TEST", "OTHER.TEST,TEST", false, ""},
		{"hierarchy, an empty subfield", nil, "A.B.EXAMPLE.TEST", ",", false, ""},
		{"hierarchy, nothing in common", nil, "A.FOREIGN", "FOREIGN", false, ""},
		{"hierarchy, the client's own realm", nil, "A.FOREIGN", "A.FOREIGN", false, ""},
		{"hierarchy, a cousin", nil, "A.OTHER.TEST", "B.OTHER.TEST", false, "B.OTHER.TEST"},
		{"hierarchy, above the common one", nil, "A.EXAMPLE.TEST", "TEST", false, "TEST"},
		{"hierarchy, below", nil, "OTHER.TEST", "A.EXAMPLE.TEST", false, "A.EXAMPLE.TEST"},
		{"hierarchy, the KDC's word does not count", nil, "FAR.OTHER", "EVIL.TEST", true, "EVIL.TEST"},
		{"capaths", file, "FAR.OTHER", "MIDDLE.OTHER", false, ""},
		{"capaths, the client's own realm", file, "FAR.OTHER", "FAR.OTHER,MIDDLE.OTHER", false, ""},
		{"capaths, two", file, "FAR.OTHER", "MIDDLE.OTHER,NEAR.OTHER", false, ""},
		{"capaths, other order", file, "FAR.OTHER", "NEAR.OTHER,MIDDLE.OTHER", false, ""},
		{"capaths, one is not there", file, "FAR.OTHER", "MIDDLE.OTHER,EVIL.TEST", false, "EVIL.TEST"},
		{"capaths, other case", file, "FAR.OTHER", "middle.other", false, "middle.other"},
		{"capaths instead of hierarchy", file, "FAR.OTHER", "OTHER", false, "OTHER"},
		{"capaths, none in between", file, "CHILD.EXAMPLE.TEST", "TEST", false, "TEST"},
		{"capaths of another pair", file, "OTHER.TEST", "MIDDLE.OTHER", false, "MIDDLE.OTHER"},
		{"capaths, the KDC's word does not count", file, "FAR.OTHER", "EVIL.TEST", true, "EVIL.TEST"},
		{"the KDC is trusted", trusting, "FAR.OTHER", "EVIL.TEST", true, ""},
		{"the KDC is trusted and did not check", trusting, "FAR.OTHER", "EVIL.TEST", false, "EVIL.TEST"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := requestSpec{ticketSpec: ticketSpec{client: Principal{Components: []string{"a"}, Realm: c.client}, transited: []byte(c.through)}}
			if c.flag {
				s.flags = []byte{0, 0x00, 0x08, 0, 0}
			}
			a := newTestAcceptor(t, func(config *AcceptorConfig) { config.Realms, config.Transit = []string{c.client}, c.policy })
			if c.hop == "" {
				accept(t, a, s.token())
				return
			}
			e, _ := refuse(t, a, s.token(), ErrNotAccepted, codePathRefused)
			path := c.client + " > " + strings.Join(strings.Split(c.through, ","), " > ") + " > " + testRealm
			if !strings.Contains(e.Reason, path) || !strings.Contains(e.Reason, "of which "+c.hop+" is not") ||
				!strings.Contains(e.Fix, c.client+" = { "+testRealm+" = "+c.hop+" }") {
				t.Errorf("%q, %q", e.Reason, e.Fix)
			}
		})
	}
}

// A list that only a trusted KDC lets pass takes no more room in a context than
// one that may be, and is still refused by whom the KDC is not trusted.
func TestTransitedRealmsOfAContextAreBounded(t *testing.T) {
	s := requestSpec{ticketSpec: ticketSpec{client: mustPrincipal("a@FAR.OTHER"), transited: []byte(strings.Repeat("EVIL.TEST,", 4000))}}
	s.flags = []byte{0, 0x00, 0x08, 0, 0}
	trusting := func(trust bool) *Acceptor {
		return newTestAcceptor(t, func(c *AcceptorConfig) {
			c.Realms, c.Transit = []string{"FAR.OTHER"}, &TransitPolicy{TrustKDC: trust}
		})
	}
	c, _ := accept(t, trusting(true), s.token())
	if len(c.way.realms) > maxTransitedOctets+1 {
		t.Errorf("a context keeps %d octets", len(c.way.realms))
	}
	if !trusting(true).WouldAccept(c) || trusting(false).WouldAccept(c) {
		t.Error("the KDC's word counts where it should not, or not where it should")
	}
}

// A middle realm whose own clients are accepted is not thereby trusted on
// the way of others, and one on the way does not let its own clients in.
func TestRealmOnTheWayIsNotAClientsRealm(t *testing.T) {
	list := func(c *AcceptorConfig) {
		c.Realms = []string{testRealm, "FAR.TEST"}
		c.Transit = writeCapaths(t, "[capaths]\nFAR.TEST = {\n"+testRealm+" = MIDDLE.TEST\n}\n")
	}
	middle := requestSpec{ticketSpec: ticketSpec{client: mustPrincipal("a@MIDDLE.TEST")}}
	refuse(t, newTestAcceptor(t, list), middle.token(), ErrForeignRealm, codePolicy)
	far := requestSpec{ticketSpec: ticketSpec{client: mustPrincipal("a@FAR.TEST"), transited: []byte("MIDDLE.TEST")}}
	c, _ := accept(t, newTestAcceptor(t, list), far.token())
	if c.Peer().String() != "a@FAR.TEST" {
		t.Errorf("peer %v", c.Peer())
	}
}

func TestTransitedIsMalformed(t *testing.T) {
	standard.Requires(t, "RFC 4120", "5.3 transited type")
	any := func(c *AcceptorConfig) { c.Realms = []string{"FAR.TEST"} }
	for _, through := range []string{`X\`, "X.", strings.Repeat("X,", 100), strings.Repeat("x", 5000)} {
		s := requestSpec{ticketSpec: ticketSpec{client: mustPrincipal("a@FAR.TEST"), transited: []byte(through)}}
		refuse(t, newTestAcceptor(t, any), s.token(), ErrNotAccepted, codePathRefused)
	}
	// Another encoding than the one there is.
	h := handshake{acceptor: newTestAcceptor(t), ticket: encTicketPart{transitedType: 2, transited: []byte("TEST")}}
	if err := h.checkTransit(); err == nil || err.Code != codePathRefused || !strings.Contains(err.Reason, "encoding") {
		t.Error(err)
	}
}

func TestReadTransitPolicyFollowsIncludes(t *testing.T) {
	dir := t.TempDir()
	part := func(name, client string) {
		writeFile(t, filepath.Join(dir, name), []byte("[capaths]\n"+client+" = {\nS = M\n}\n"))
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	part("one", "ONE")
	part("d/two", "TWO")
	part("d/three.conf", "THREE")
	part("d/not.bak", "NOT")
	part("d/.not.conf", "NOT")
	p := writeCapaths(t, "include "+dir+"/one\nincludedir "+dir+"/d\n[capaths]\nFOUR* = {\n S = \"M\"\n}*\n")
	for _, client := range []string{"ONE", "TWO", "THREE", "FOUR"} {
		if !slices.Contains(p.between(client, "S"), "M") {
			t.Errorf("%s is not there", client)
		}
	}
	if slices.Contains(p.between("NOT", "S"), "M") {
		t.Error("a file was read that MIT Kerberos does not read")
	}
}

func TestReadTransitPolicyErrorsNameFileAndLine(t *testing.T) {
	loop := filepath.Join(t.TempDir(), "loop.conf")
	for text, want := range map[string]string{
		"[capaths]\nA = {\nB = C\n":        "not closed",
		"[capaths]\n}\n":                   "line 2",
		"[capaths\n":                       "line 1",
		"[capaths]\nA = {\n[realms]\n}\n":  "line 3",
		"[capaths]\nA = B\n":               "line 2",
		"[capaths]\nA = {\nB = {\n}\n}\n":  "line 3",
		"[capaths]\nA = {\nnonsense\n}\n":  "line 3",
		"include /nonexistent/krb5.conf\n": "line 1",
		"\nincludedir /nonexistent\n":      "line 2",
		"include " + loop + "\n":           "include each other",
		strings.Repeat("#", 1<<20) + "#\n": "larger",
	} {
		writeFile(t, loop, []byte(text))
		_, err := ReadTransitPolicy(loop)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), loop) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	if _, err := ReadTransitPolicy(loop + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzTransited(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, client, service string) {
		list, err := decodeTransited(b, client, service)
		if err != nil {
			return
		}
		if len(list) > maxTransitedRealms {
			t.Fatalf("%d realms", len(list))
		}
		var total int
		for _, r := range list {
			if r == "" && client != "" && service != "" {
				t.Fatalf("an empty realm in %q", list)
			}
			total += len(r)
		}
		if total > maxTransitedRealms*max(maxNameOctets, len(client), len(service)) {
			t.Fatalf("%d octets", total)
		}
		new(TransitPolicy).between(client, service)
	})
}

// A ticket that MIT Kerberos gave to a client of A.TEST for a service of
// C.TEST, with B.OTHER between them.
func TestRecordedTicketThroughAMiddleRealm(t *testing.T) {
	config, now := recordedTicket(t, "transit/a", "DNS/ns1.c.test")
	acceptor := func(p *TransitPolicy) *Acceptor {
		return recordedAcceptor(t, "transit", now, func(c *AcceptorConfig) { c.Realms, c.Transit = []string{"A.TEST", "C.TEST"}, p })
	}
	token := func() []byte { return must(must(NewInitiator(config)).Init(nil)) }
	e, _ := refuse(t, acceptor(nil), token(), ErrNotAccepted, codePathRefused)
	if !strings.Contains(e.Reason, "A.TEST > B.OTHER > C.TEST") || !strings.Contains(e.Reason, "B.OTHER is not trusted") {
		t.Errorf("reason %q", e.Reason)
	}
	file := writeCapaths(t, "[capaths]\nA.TEST = {\n C.TEST = B.OTHER\n}\n")
	c, i := handshakeWith(t, acceptor(file), config)
	exchange(t, c, i)
	if c.Peer().String() != "host/a.a.test@A.TEST" {
		t.Errorf("peer %v", c.Peer())
	}
	other := writeCapaths(t, "[capaths]\nC.TEST = {\n A.TEST = B.OTHER\n}\n") // the other way round
	refuse(t, acceptor(other), token(), ErrNotAccepted, codePathRefused)
	// The KDC of C.TEST had checked the path.
	accept(t, acceptor(&TransitPolicy{TrustKDC: true}), token())
	refuse(t, recordedAcceptor(t, "transit", now, func(c *AcceptorConfig) { c.Transit = file }), token(), ErrForeignRealm, codePolicy)
}
