package pac_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/internal/pac"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/internal/pac/pactest"
)

const domain = "S-1-5-21-3623811015-3361044348-30300820"

var authTime = time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC)

// sign is the checksum of these tests, of the size of type 20.
func sign(key string) func([]byte) []byte {
	return func(message []byte) []byte {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write(message)
		return mac.Sum(nil)[:24]
	}
}

func verify(checksumType int32, message, checksum []byte) bool {
	return checksumType == 20 && hmac.Equal(sign("service")(message), checksum)
}

func spec(logon *pactest.Logon, more ...pactest.Buffer) pactest.Spec {
	return pactest.Spec{Client: "alice", AuthTime: authTime, Logon: logon, More: more, ChecksumType: 20, Sign: sign("service")}
}

func fullLogon() *pactest.Logon {
	return &pactest.Logon{
		Domain: domain, User: 1103, Primary: 513, Name: "alice",
		Groups: []pactest.Group{{RID: 513, Attributes: 7}, {RID: 1104, Attributes: 7}},
		Flags:  0x220,
		Extra:  []pactest.ExtraSID{{SID: "S-1-18-1", Attributes: 7}, {SID: "S-1-5-21-1-2-3-519", Attributes: 7}},

		ResourceDomain: "S-1-5-21-9-8-7",
		Resources:      []pactest.Group{{RID: 1105, Attributes: 0x20000007}},
	}
}

func TestGroups(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*pactest.Logon)
		user   string
		want   []string
	}{
		{"all kinds", func(*pactest.Logon) {}, domain + "-1103",
			[]string{domain + "-513", domain + "-1104", "S-1-18-1", "S-1-5-21-1-2-3-519", "S-1-5-21-9-8-7-1105"}},
		{"name of even length", func(l *pactest.Logon) { l.Name = "bo"; l.Extra, l.Resources, l.ResourceDomain = nil, nil, "" }, domain + "-1103",
			[]string{domain + "-513", domain + "-1104"}},
		{"no strings", func(l *pactest.Logon) { l.Name = ""; l.Extra, l.Resources, l.ResourceDomain = nil, nil, "" }, domain + "-1103",
			[]string{domain + "-513", domain + "-1104"}},
		{"disabled groups", func(l *pactest.Logon) {
			l.Groups[1].Attributes = 0x10 // for denying only
			l.Extra[0].Attributes = 0
			l.Resources[0].Attributes = 3
		}, domain + "-1103", []string{domain + "-513", "S-1-5-21-1-2-3-519"}},
		{"extra SIDs not announced", func(l *pactest.Logon) { l.Flags = 0x200 }, domain + "-1103",
			[]string{domain + "-513", domain + "-1104", "S-1-5-21-9-8-7-1105"}},
		{"resource groups not announced", func(l *pactest.Logon) { l.Flags = 0x20 }, domain + "-1103",
			[]string{domain + "-513", domain + "-1104", "S-1-18-1", "S-1-5-21-1-2-3-519"}},
		{"the user among the extra SIDs", func(l *pactest.Logon) {
			l.User, l.Primary, l.Groups, l.Resources, l.ResourceDomain = 0, 0, nil, nil, ""
		}, "", []string{"S-1-18-1", "S-1-5-21-1-2-3-519"}},
		{"no domain", func(l *pactest.Logon) { l.Domain = "" }, "", []string{"S-1-18-1", "S-1-5-21-1-2-3-519", "S-1-5-21-9-8-7-1105"}},
		{"resource groups without domain", func(l *pactest.Logon) { l.ResourceDomain = "" }, domain + "-1103",
			[]string{domain + "-513", domain + "-1104", "S-1-18-1", "S-1-5-21-1-2-3-519"}},
		{"wide authority", func(l *pactest.Logon) { l.Extra[0].SID = "S-1-0x10203040506-7" }, domain + "-1103",
			[]string{domain + "-513", domain + "-1104", "S-1-0x010203040506-7", "S-1-5-21-1-2-3-519", "S-1-5-21-9-8-7-1105"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := fullLogon()
			c.change(l)
			p, err := pac.Open(spec(l).Encode(), verify)
			if err != nil {
				t.Fatal(err)
			}
			if p.User != c.user || !slices.Equal(p.Groups, c.want) {
				t.Errorf("user %q, groups %q", p.User, p.Groups)
			}
			if p.Client != "alice" || !p.AuthTime.Equal(authTime) {
				t.Errorf("client %q, authenticated %v", p.Client, p.AuthTime)
			}
		})
	}
}

func TestPACWithoutLogonInformation(t *testing.T) {
	p, err := pac.Open(spec(nil, pactest.Buffer{Type: 16, Data: []byte("a ticket signature")}).Encode(), verify)
	if err != nil || p.User != "" || len(p.Groups) != 0 || p.Client != "alice" {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestClientNameIsUTF16(t *testing.T) {
	s := spec(nil)
	s.Client = "müller🂡"
	if p, err := pac.Open(s.Encode(), verify); err != nil || p.Client != s.Client {
		t.Errorf("%+v, %v", p, err)
	}
}

// No octet can be changed, save those of the KDC's signature, which the
// server's does not cover.
func TestForgedPACIsRefused(t *testing.T) {
	good := spec(fullLogon()).Encode()
	kdc := bytes.Index(good, sign("service")(sign("service")(blank(good))))
	if kdc < 0 {
		t.Fatal("the test does not find the KDC's signature")
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 0x04
		_, err := pac.Open(b, verify)
		if covered := i < kdc || i >= kdc+24; covered != (err != nil) {
			t.Fatalf("octet %d changed: %v", i, err)
		}
		if err != nil && !errors.Is(err, pac.ErrSignature) && !errors.Is(err, pac.ErrMalformed) {
			t.Fatalf("octet %d changed: %v", i, err)
		}
	}
}

// blank sets both signatures to zero.
func blank(b []byte) []byte {
	b = bytes.Clone(b)
	for i := range binary.LittleEndian.Uint32(b) {
		e := b[8+16*i:]
		if kind := binary.LittleEndian.Uint32(e); kind == 6 || kind == 7 {
			at := binary.LittleEndian.Uint32(e[8:]) + 4
			clear(b[at : at+24])
		}
	}
	return b
}

func TestPACSignedWithAnotherKeyIsRefused(t *testing.T) {
	s := spec(fullLogon())
	s.Sign = sign("another key")
	if _, err := pac.Open(s.Encode(), verify); !errors.Is(err, pac.ErrSignature) {
		t.Error(err)
	}
}

func TestTruncatedPACIsRefused(t *testing.T) {
	good := spec(fullLogon()).Encode()
	for n := range good {
		if _, err := pac.Open(good[:n], verify); err == nil {
			t.Fatalf("cut off after %d of %d octets", n, len(good))
		}
	}
	// The same behind a good signature, as only a broken KDC makes it.
	logon := fullLogon().Encode()
	for n := range logon {
		s := spec(nil, pactest.Buffer{Type: 1, Data: logon[:n]})
		if _, err := pac.Open(s.Encode(), verify); !errors.Is(err, pac.ErrMalformed) {
			t.Fatalf("logon information cut off after %d of %d octets: %v", n, len(logon), err)
		}
	}
}

func TestUnverifiedPACIsNotDecoded(t *testing.T) {
	// The logon information is garbage, and yet the error is the signature's.
	s := spec(nil, pactest.Buffer{Type: 1, Data: []byte("garbage")})
	s.Sign = sign("another key")
	if _, err := pac.Open(s.Encode(), verify); !errors.Is(err, pac.ErrSignature) || errors.Is(err, pac.ErrMalformed) {
		t.Error(err)
	}
}

func TestSignaturesMustBeThere(t *testing.T) {
	client := pactest.Buffer{Type: 10, Data: pactest.ClientInfo("alice", authTime)}
	sum := func(kind uint32, checksumType byte, n int) pactest.Buffer {
		return pactest.Buffer{Type: kind, Data: append([]byte{checksumType, 0, 0, 0}, make([]byte, n)...)}
	}
	for name, list := range map[string][]pactest.Buffer{
		"nothing":          {},
		"no signatures":    {client},
		"no server's":      {client, sum(7, 20, 24)},
		"no KDC's":         {client, sum(6, 20, 24)},
		"no client":        {sum(6, 20, 24), sum(7, 20, 24)},
		"short server's":   {client, sum(6, 20, 23), sum(7, 20, 24)},
		"short KDC's":      {client, sum(6, 20, 24), sum(7, 20, 0)},
		"no checksum type": {client, {Type: 6, Data: []byte{20, 0, 0}}, sum(7, 20, 24)},
		"CRC32":            {client, sum(6, 1, 4), sum(7, 20, 24)},
		"no keyed hash":    {client, sum(6, 7, 16), sum(7, 20, 24)},
		"two server's":     {client, sum(6, 20, 24), sum(6, 20, 24), sum(7, 20, 24)},
	} {
		if _, err := pac.Open(pactest.Assemble(list), func(int32, []byte, []byte) bool { return true }); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// With the identifier that a read-only KDC adds.
	list := []pactest.Buffer{client, sum(6, 20, 26), sum(7, 20, 26)}
	if _, err := pac.Open(pactest.Assemble(list), func(int32, []byte, []byte) bool { return true }); err != nil {
		t.Error(err)
	}
}

func TestContradictoryLogonInformation(t *testing.T) {
	const at = 16 + 4 + 48 + 48 + 4 // of user's RID in the encoding
	good := fullLogon().Encode()
	set := func(offset int, v uint32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[offset:], v)
		return b
	}
	domainSID := bytes.Index(good, pactest.SID(domain))
	for name, b := range map[string][]byte{
		"version":               append([]byte{2}, good[1:]...),
		"big-endian":            append([]byte{1, 0}, good[2:]...),
		"header length":         append([]byte{1, 0x10, 9}, good[3:]...),
		"object too long":       set(8, uint32(len(good))),
		"object huge":           set(8, 0xFFFFFFFF),
		"object too short":      set(8, 100),
		"no structure":          set(16, 0),
		"other count":           set(at+8, 3),
		"groups, no pointer":    set(at+12, 0),
		"huge count":            set(at+8, 0xFFFFFFFF),
		"SID of other length":   set(domainSID, 5),
		"SID too long":          set(domainSID, 16),
		"SID of no length":      set(domainSID, 0),
		"SID revision":          set(domainSID+4, 0x05000402),
		"string of huge length": set(16+4+48+48+4+4+4+4+4+4+16+8+8+4+40+4+4+4+4+4+8, 0xFFFFFFF0),
		"null pointer among extra": func() []byte {
			b := bytes.Clone(good)
			i := bytes.Index(b, []byte{2, 0, 0, 0, 0x1c})
			clear(b[i+4 : i+8])
			return b
		}(),
	} {
		if bytes.Equal(b, good) {
			t.Fatalf("%s: the test changes nothing", name)
		}
		if _, err := pac.Open(spec(nil, pactest.Buffer{Type: 1, Data: b}).Encode(), verify); !errors.Is(err, pac.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBounds(t *testing.T) {
	groups := func(n int) []pactest.Group { return slices.Repeat([]pactest.Group{{RID: 1, Attributes: 7}}, n) }
	extra := func(n int) []pactest.ExtraSID {
		return slices.Repeat([]pactest.ExtraSID{{SID: "S-1-1-0", Attributes: 7}}, n)
	}
	for _, c := range []struct {
		groups, extra, resources int
		ok                       bool
	}{
		{1500, 0, 0, true}, {1501, 0, 0, false}, {0, 1500, 0, true}, {0, 1501, 0, false},
		{500, 500, 500, true}, {500, 500, 501, false}, {0, 0, 1501, false},
	} {
		l := &pactest.Logon{Domain: domain, User: 1, Groups: groups(c.groups), Extra: extra(c.extra), ResourceDomain: domain, Resources: groups(c.resources), Flags: 0x220}
		if _, err := pac.Open(spec(l).Encode(), verify); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
	l := &pactest.Logon{Domain: domain, User: 1}
	for n := range 1500 {
		l.Groups = append(l.Groups, pactest.Group{RID: uint32(1000 + n), Attributes: 7})
	}
	if p, err := pac.Open(spec(l).Encode(), verify); err != nil || len(p.Groups) != 1500 || p.Groups[1499] != domain+"-2499" {
		t.Errorf("1,500 different groups: %v", err)
	}
	var more []pactest.Buffer
	for n := range pac.MaxBuffers - 3 {
		more = append(more, pactest.Buffer{Type: uint32(100 + n)})
	}
	if _, err := pac.Open(spec(nil, more...).Encode(), verify); err != nil {
		t.Errorf("%d buffers: %v", pac.MaxBuffers, err)
	}
	if _, err := pac.Open(spec(nil, append(more, pactest.Buffer{Type: 99})...).Encode(), verify); err == nil {
		t.Errorf("%d buffers are accepted", pac.MaxBuffers+1)
	}
	s := spec(nil, pactest.Buffer{Type: 99, Data: make([]byte, pac.MaxSize)})
	if _, err := pac.Open(s.Encode(), verify); !errors.Is(err, pac.ErrMalformed) {
		t.Errorf("too large: %v", err)
	}
	s = spec(nil)
	s.Client = strings.Repeat("x", 1025)
	if _, err := pac.Open(s.Encode(), verify); !errors.Is(err, pac.ErrMalformed) {
		t.Errorf("long name: %v", err)
	}
}

// gokrb5 allocated 170 GB for a count of 24 octets.
func TestGiantPACAllocatesLittle(t *testing.T) {
	biggest := fullLogon()
	biggest.Extra, biggest.Resources = nil, nil
	for n := range pac.MaxGroups {
		biggest.Extra = append(biggest.Extra, pactest.ExtraSID{SID: fmt.Sprintf("S-1-5-1-%d", n), Attributes: 7})
	}
	biggest.Groups = nil
	inputs := map[string][]byte{
		"full of groups":  spec(biggest).Encode(),
		"full of octets":  bytes.Repeat([]byte{0xFF}, pac.MaxSize),
		"gigabytes":       make([]byte, 1<<22),
		"full of buffers": append([]byte{0xFF, 0xFF, 0, 0, 0, 0, 0, 0}, make([]byte, 60_000)...),
	}
	for name, offset := range map[string]int{"groups": 16 + 4 + 48 + 48 + 4 + 8, "string": 16 + 4 + 48 + 48 + 4 + 20} {
		b := fullLogon().Encode()
		binary.LittleEndian.PutUint32(b[offset:], 0xFFFFFFFF)
		inputs["huge count of "+name] = spec(nil, pactest.Buffer{Type: 1, Data: b}).Encode()
	}
	for name, b := range inputs {
		if n := allocated(func() { pac.Open(b, verify) }); n > 1<<20 {
			t.Errorf("%s: %d octets are allocated", name, n)
		}
	}
}

// allocated is how many octets f allocates, or more: other tests may run.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

var sidForm = regexp.MustCompile(`^S-1-([0-9]+|0x[0-9a-f]{12})(-[0-9]+){1,16}$`)

// FuzzPAC takes every signature for good: only then anything is decoded.
func FuzzPAC(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		p, err := pac.Open(b, func(_ int32, message, sum []byte) bool {
			return len(message) == len(b) && len(sum) >= 12 && len(sum) <= 24
		})
		if !bytes.Equal(b, before) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			if p != nil || (!errors.Is(err, pac.ErrMalformed) && !errors.Is(err, pac.ErrSignature)) {
				t.Fatalf("%v, %v", p, err)
			}
			return
		}
		if len(p.Groups) > pac.MaxGroups+1 || len(p.Client) > 4096 {
			t.Fatalf("%d groups", len(p.Groups))
		}
		for i, g := range p.Groups {
			if !sidForm.MatchString(g) || slices.Contains(p.Groups[:i], g) {
				t.Fatalf("group %q", g)
			}
		}
		if _, err := pac.Open(b, func(int32, []byte, []byte) bool { return false }); !errors.Is(err, pac.ErrSignature) {
			t.Fatalf("unsigned: %v", err)
		}
	})
}
