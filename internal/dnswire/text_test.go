package dnswire

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

var testOrigin = []byte("\x07example\x04test\x00")

const originHex = "07 6578616d706c65 04 74657374 00"

// textCases are texts of all types with the rdata that they mean, and with the
// text that is printed for it, if that is another one.
var textCases = []struct {
	rrtype, text, rdata, printed string
}{
	{"A", "192.0.2.1", "c0000201", ""},
	{"A", `\# 4 c0000201`, "c0000201", "192.0.2.1"},
	{"A", `\# 4 C000 02 01`, "c0000201", "192.0.2.1"},
	{"NS", "ns1", "036e7331" + originHex, "ns1.example.test."},
	{"MD", "a.", "016100", ""},
	{"MF", "@", originHex, "example.test."},
	{"CNAME", `My\032Printer.`, "0a4d79205072696e74657200", `My\ Printer.`},
	{"SOA", "a. b. 1 1h30m 1d 2w3d 60", "016100 016200 00000001 00001518 00015180 00166980 0000003c", "a. b. 1 5400 86400 1468800 60"},
	{"MB", "a.", "016100", ""},
	{"MG", "a.", "016100", ""},
	{"MR", "a.", "016100", ""},
	{"NULL", `\# 3 0a3b22`, "0a3b22", ""},
	{"WKS", "192.0.2.1 TCP smtp 80", "c0000201 06 000000400000000000008 0", "192.0.2.1 6 25 80"},
	{"WKS", "192.0.2.1 17", "c0000201 11", ""},
	{"PTR", "a.", "016100", ""},
	{"HINFO", "PC unix", "025043 04756e6978", `"PC" "unix"`},
	{"MINFO", "a. b.", "016100 016200", ""},
	{"MX", "10 mail", "000a 046d61696c" + originHex, "10 mail.example.test."},
	{"TXT", `"a b" c\;d ""`, "03612062 03633b64 00", `"a b" "c;d" ""`},
	{"TXT", `"\"\\\010\255"`, "04 22 5c 0a ff", ""},
	{"RP", "a. b.", "016100 016200", ""},
	{"AFSDB", "1 a.", "0001 016100", ""},
	{"X25", "311061700956", "0c 333131303631373030393536", `"311061700956"`},
	{"ISDN", `"150862028003217" 004`, "0f 313530383632303238303033323137 03303034", `"150862028003217" "004"`},
	{"ISDN", `"addr"`, "0461646472", ""},
	{"RT", "1 a.", "0001 016100", ""},
	{"NSAP", "0x47.0005.80", "4700 0580", "0x47000580"},
	{"NSAP-PTR", "a.", "016100", ""},
	{"SIG", "A RSASHA1 2 300 20300101000000 1893456000 7 a. AQ==", "0001 05 02 0000012c 70dbd880 70dbd880 0007 016100 01",
		"A 5 2 300 20300101000000 20300101000000 7 a. AQ=="},
	{"KEY", "NOKEY NONE 0", "c000 00 00", "49152 0 0"},
	{"KEY", "ZONE|NOAUTH DNSSEC RSASHA256 AQ ==", "8100 03 08 01", "33024 3 8 AQ=="},
	{"PX", "10 a. b.", "000a 016100 016200", ""},
	{"GPOS", `"" "" ""`, "00 00 00", ""},
	{"GPOS", `-32.6882 "116.8652" 10`, "08 2d33322e36383832 08 3131362e38363532 02 3130", `"-32.6882" "116.8652" "10"`},
	{"AAAA", "2001:db8::1", "20010db8000000000000000000000001", ""},
	{"AAAA", "::ffff:192.0.2.1", "00000000000000000000ffffc0000201", ""},
	{"LOC", "60 9 N 24 39 E 10", "00 12 16 13 8ce82360 854a10a0 00989a68", "60 9 0.000 N 24 39 0.000 E 10m 1m 10000m 10m"},
	{"LOC", "60 S 24 W -1.5m 0.10m 0 90000000m", "00 11 00 99 73201a00 7ad9a400 009895ea", "60 0 0.000 S 24 0 0.000 W -1.50m 0.10m 0m 90000000m"},
	{"LOC", "90 0 0.001 N 0 E 0", "", ""},
	{"NXT", "a. NS A", "016100 60", "a. A NS"},
	{"EID", "e3 2C", "e32c", "E32C"},
	{"NIMLOC", "32251a", "32251a", "32251A"},
	{"SRV", "1 2 389 dc1", "0001 0002 0185 03646331" + originHex, "1 2 389 dc1.example.test."},
	{"ATMA", "+61.2", "01 363132", "+612"},
	{"ATMA", "+61a", "", ""},
	{"ATMA", "+358400", "01 333538343030", ""},
	{"ATMA", "39.246f", "00 39246f", "39246f"},
	{"NAPTR", `10 20 s SIP+D2U "" _sip._udp`, "000a 0014 0173 07 5349502b443255 00 045f736970 045f756470" + originHex, `10 20 "s" "SIP+D2U" "" _sip._udp.example.test.`},
	{"NAPTR", `10 20 "u" "E2U+sip" "!^(.*)$!sip:\\1@a.test!i" .`, "000a 0014 0175 07 4532552b736970 17 215e282e2a2924217369703a5c3140612e746573742169 00", ""},
	{"KX", "1 a.", "0001 016100", ""},
	{"CERT", "PGP 0 0 AQ==", "0003 0000 00 01", "3 0 0 AQ=="},
	{"A6", "64 ::1 a.", "40 0000000000000001 016100", ""},
	{"A6", "0 2001:db8::1", "00 20010db8000000000000000000000001", ""},
	{"A6", "128 a.", "80 016100", ""},
	{"A6", "4 ffff::1 a.", "04 0fff0000000000000000000000000001 016100", "4 fff::1 a."},
	{"DNAME", "a.", "016100", ""},
	{"SINK", "1 2 3 AQI=", "01 02 03 0102", ""},
	{"APL", "1:192.168.32.0/21 !2:FF00:0:0:0:0:0:0:0/8", "0001 15 03 c0a820 0002 08 81 ff", "1:192.168.32.0/21 !2:ff00::/8"},
	{"DS", "60485 RSASHA1 SHA-1 2BB183AF5F22588179A53B0A 98631FAD1A292118", "ec45 05 01 2bb183af5f22588179a53b0a98631fad1a292118",
		"60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118"},
	{"SSHFP", "4 3 ab", "04 03 ab", "4 3 AB"},
	{"IPSECKEY", "10 1 2 192.0.2.38 AQ==", "0a 01 02 c0000226 01", ""},
	{"IPSECKEY", "10 3 2 gw AQ==", "0a 03 02 026777" + originHex + "01", "10 3 2 gw.example.test. AQ=="},
	{"IPSECKEY", "10 0 2 . AQ==", "0a 00 02 01", ""},
	{"RRSIG", "TYPE65280 13 2 1h 20300101000000 20300101000000 7 a. AQ==", "ff00 0d 02 00000e10 70dbd880 70dbd880 0007 016100 01",
		"TYPE65280 13 2 3600 20300101000000 20300101000000 7 a. AQ=="},
	{"NSEC", "b. TYPE1234 NSEC RRSIG a MX", "016200 0006400100000003 041b 000000000000000000000000000000000000000000000000000020", "b. A MX RRSIG NSEC TYPE1234"},
	{"DNSKEY", "257 3 RSASHA256 AQID", "0101 03 08 010203", "257 3 8 AQID"},
	{"DHCID", "AAIB AAAA", "000201000000", "AAIBAAAA"},
	{"NSEC", "b. NXNAME", "016200 0011 0000000000000000000000000000000080", "b. TYPE128"},
	{"NSEC3", "1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr MX DNSKEY", "01 01 000c 04 aabbccdd 14 174eb2409fe28bcb4887a1836f957f0a8425e27b 0007 00010000000080", ""},
	{"NSEC3PARAM", "1 0 0 -", "01 00 0000 00", ""},
	{"TLSA", "3 1 1 AB cd", "03 01 01 abcd", "3 1 1 abcd"},
	{"SMIMEA", "3 1 1 ab", "03 01 01 ab", ""},
	{"HIP", "2 200100107B1A74DF365639CC39F1D578 AwEA rvs", "10 02 0003 200100107b1a74df365639cc39f1d578 030100 03727673" + originHex, "2 200100107B1A74DF365639CC39F1D578 AwEA rvs.example.test."},
	{"NINFO", "a", "0161", `"a"`},
	{"RKEY", "0 3 5 AQ==", "0000 03 05 01", ""},
	{"TALINK", "a. b.", "016100 016200", ""},
	{"CDS", "0 0 0 00", "0000 00 00 00", ""},
	{"CDNSKEY", "0 3 0 AA==", "0000 03 00 00", ""},
	{"OPENPGPKEY", "AQ ID", "010203", "AQID"},
	{"CSYNC", "66 3 NS A AAAA", "00000042 0003 0004 60000008", "66 3 A NS AAAA"},
	{"ZONEMD", "1 1 240 0102030405060708090a0b0c", "00000001 01 f0 0102030405060708090a0b0c", ""},
	{"SVCB", `1 d alpn="h2" key7="/q{?dns}"`, "0001 0164" + originHex + "0001 0003 026832 0007 0008 2f717b3f646e737d", `1 d.example.test. alpn="h2" key7="/q{?dns}"`},
	{"HTTPS", `1 . port=8443 mandatory=port,alpn alpn=h2,h3 ipv4hint=192.0.2.1,192.0.2.2 ech="AQ==" ipv6hint=2001:db8::1`,
		"0001 00 0000 0004 0001 0003 0001 0006 026832 026833 0003 0002 20fb 0004 0008 c0000201 c0000202 0005 0001 01 0006 0010 20010db8000000000000000000000001",
		`1 . mandatory=alpn,port alpn="h2,h3" port=8443 ipv4hint=192.0.2.1,192.0.2.2 ech=AQ== ipv6hint=2001:db8::1`},
	{"SVCB", `16 foo.example.org. alpn="f\\\\oo\\,bar,h2"`, "0010 03666f6f 07 6578616d706c65 03 6f7267 00 0001 000c 08 665c6f6f2c626172 02 6832", ""},
	{"SVCB", `1 foo. key667="hello\210qoo"`, "0001 03666f6f00 029b 0009 68656c6c6fd2716f6f", ""},
	{"SVCB", "1 . alpn=h2 no-default-alpn ohttp", "0001 00 0001 0003 026832 0002 0000 0008 0000", `1 . alpn="h2" no-default-alpn key8`},
	{"SVCB", "0 a.", "0000 016100", ""},
	// keyN takes the octets, also of a key with a name.
	{"SVCB", `1 . key3=\000\053`, "0001 00 0003 0002 0035", "1 . port=53"},
	{"SVCB", "1 . key3=53", "0001 00 0003 0002 3533", "1 . port=13619"},
	{"SVCB", `1 . key0=\000\001 key1=\002h2`, "0001 00 0000 0002 0001 0001 0003 026832", `1 . mandatory=alpn alpn="h2"`},
	{"SVCB", `1 . key4=\192\000\002\001 key5=AQ`, "0001 00 0004 0004 c0000201 0005 0002 4151", "1 . ipv4hint=192.0.2.1 ech=QVE="},
	{"SVCB", "1 . tls-supported-groups=29,23", "0001 00 0009 0004 001d0017", `1 . key9="\000\029\000\023"`},
	{"DSYNC", "CDS NOTIFY 5300 a.", "003b 01 14b4 016100", "CDS 1 5300 a."},
	{"HHIT", "AQ ID", "010203", "AQID"},
	{"BRID", `\# 1 ff`, "ff", "/w=="},
	{"SPF", "a", "0161", `"a"`},
	{"NID", "10 14:4fff:ff20:ee64", "000a 00144fffff20ee64", "10 0014:4fff:ff20:ee64"},
	{"L32", "10 10.1.2.0", "000a 0a010200", ""},
	{"L64", "10 2001:0DB8:1140:1000", "000a 20010db811401000", "10 2001:0db8:1140:1000"},
	{"LP", "10 a.", "000a 016100", ""},
	{"EUI48", "00-00-5e-00-53-2A", "00005e00532a", "00-00-5e-00-53-2a"},
	{"EUI64", "00-00-5e-ef-10-00-00-2a", "00005eef1000002a", ""},
	{"URI", `10 1 "ftp://a\\b\"c"`, "000a 0001 6674703a2f2f615c622263", ""},
	{"CAA", `0 issue "a\\b"`, "00 05 6973737565 615c62", ""},
	{"CAA", `128 tbs Unknown`, "80 03 746273 556e6b6e6f776e", `128 tbs "Unknown"`},
	{"AVC", "a", "0161", `"a"`},
	{"DOA", `0 1 2 "text/plain" -`, "00000000 00000001 02 0a 746578742f706c61696e", ""},
	{"DOA", `0 1 2 "" AQ==`, "00000000 00000001 02 00 01", ""},
	{"AMTRELAY", "10 1 1 203.0.113.15", "0a 81 cb00710f", ""},
	{"AMTRELAY", "10 0 0 .", "0a 00", ""},
	{"AMTRELAY", "10 0 3 a.", "0a 03 016100", ""},
	{"RESINFO", "qnamemin exterr=15-17", "08 716e616d656d696e 0c 6578746572723d31352d3137", `"qnamemin" "exterr=15-17"`},
	{"WALLET", "a", "0161", `"a"`},
	{"TA", "1 2 5 00", "0001 02 05 00", ""},
	{"DLV", "1 2 5 00", "0001 02 05 00", ""},
	{"TYPE65280", `\# 0`, "-", ""},
	{"TYPE28", "::1", "00000000000000000000000000000001", ""},
	{"CLA", `\# 2 0161`, "0161", ""},

	// What is not text of the type.
	{"A", "192.0.2", "", ""},
	{"A", "192.0.2.1 192.0.2.2", "", ""},
	{"A", "", "", ""},
	{"A", `\# 3 c00002`, "", ""},
	{"A", `\# 4 c00002`, "", ""},
	{"A", `\# 4 c00002zz`, "", ""},
	{"A", `\#`, "", ""},
	{"AAAA", "192.0.2.1", "", ""},
	{"AAAA", "fe80::1%eth0", "", ""},
	{"MX", "65536 a.", "", ""},
	{"MX", "-1 a.", "", ""},
	{"MX", "10", "", ""},
	{"TXT", "", "", ""},
	{"TXT", `\256`, "", ""},
	{"X25", "12a4", "", ""},
	{"NSAP", "47", "", ""},
	{"NULL", "a", "", ""},
	{"TYPE65280", "a", "", ""},
	{"CAA", `0 "is sue" "a"`, "", ""},
	{"DS", "1 5 1 00", "", ""},
	{"SVCB", "1 . alpn=h2 alpn=h3", "", ""},
	{"SVCB", "1 . mandatory=alpn", "", ""},
	{"SVCB", "1 . ipv4hint=auto", "", ""},
	{"SVCB", "1 . key01=a", "", ""},
	{"SVCB", "1 . key1=h2", "", ""},
	{"SVCB", "1 . key4=192.0.2.1", "", ""},
	{"SVCB", "1 . tls-supported-groups=", "", ""},
	{"SVCB", "1 . tls-supported-groups=65536", "", ""},
	{"DNSKEY", "257 3 8 AwEAAa==", "", ""},
	{"SVCB", "1 . key65536=a", "", ""},
	{"SVCB", "1 . no-default-alpn=x alpn=h2", "", ""},
	{"NSEC", "a.", "", ""},
	{"NSEC", "a. FOO", "", ""},
	{"RRSIG", "A 5 2 1 20301301000000 20300101000000 7 a. AQ==", "", ""},
	{"SOA", "a. b. 1 1x 1 1 1", "", ""},
	{"SOA", "a. b. 1 8000w 1 1 1", "", ""},
	{"KEY", "FOO 3 5 AQ==", "", ""},
	{"LOC", "91 N 0 E 0", "", ""},
	{"LOC", "1 60 N 0 E 0", "", ""},
	{"APL", "1:192.0.2.1/33", "", ""},
	{"APL", "3:00/1", "", ""},
	{"WKS", "192.0.2.1 6 65536", "", ""},
	{"HIP", "2 zz AQ==", "", ""},
	{"IPSECKEY", "10 4 2 . AQ==", "", ""},
	{"EUI48", "00-00-5e-00-53", "", ""},
	{"NID", "10 0:0:0:10000", "", ""},
	{"A6", "129 ::1 a.", "", ""},
	{"NAPTR", `1 1 "" "" "!a!b" .`, "", ""},
	{"TSIG", "a. 1", "", ""},
}

func TestText(t *testing.T) {
	standard.Requires(t, "RFC 3597", "5 text")
	tested := make(map[uint16]bool)
	for _, c := range textCases {
		rrtype, ok := ParseType(c.rrtype)
		tokens, split := splitTokens([]byte(c.text))
		if !ok || !split {
			t.Errorf("%s %s: %v, %v", c.rrtype, c.text, ok, split)
			continue
		}
		rdata, err := ParseText(rrtype, tokens, testOrigin)
		if c.rdata == "" {
			if err == nil {
				t.Errorf("%s %s: read as %x", c.rrtype, c.text, rdata)
			} else if !strings.HasPrefix(err.Error(), TypeText(rrtype)+": ") {
				t.Errorf("%s %s: %v", c.rrtype, c.text, err)
			}
			continue
		}
		tested[rrtype] = true
		if want := strings.ReplaceAll(strings.Trim(c.rdata, "-"), " ", ""); err != nil || hex.EncodeToString(rdata) != want {
			t.Errorf("%s %s: %x, %v, not %s", c.rrtype, c.text, rdata, err, want)
			continue
		}
		printed := c.printed
		if printed == "" {
			printed = c.text
		}
		if text := TextOrGeneric(rrtype, rdata); !strings.EqualFold(text, printed) {
			t.Errorf("%s %s: printed as %s", c.rrtype, c.text, text)
		}
		checkText(t, rrtype, rdata)
	}
	for rrtype, info := range types {
		if info.fields != nil && !IsMeta(rrtype) && !tested[rrtype] {
			t.Errorf("no text of type %s", info.name)
		}
	}
}

// TestForgery has octets that would end a line or a quoted string.
func TestForgery(t *testing.T) {
	attack := "\n;owner x \"\\\"();\r\x00\x7f\x80\xff'@$ "
	for _, c := range []struct {
		rrtype uint16
		rdata  string
	}{
		{TypeNULL, attack},
		{TypeTXT, string(rune(len(attack))) + attack},
		{TypeURI, "\x00\x00\x00\x00" + attack},
		{TypeCAA, "\x00\x01a" + attack},
		{TypePTR, string(rune(len(attack))) + attack + "\x00"},
		{TypeSVCB, "\x00\x01\x00\xff\x00\x00" + string(rune(len(attack))) + attack},
		{TypeSVCB, "\x00\x01\x00\x00\x01\x00" + string(rune(len(attack)+1)) + string(rune(len(attack))) + attack},
		{65280, attack},
	} {
		// The octets above 0x7f must not become UTF-8.
		rdata := []byte(c.rdata)
		if err := Validate(c.rrtype, rdata); err != nil {
			t.Fatal(err)
		}
		checkText(t, c.rrtype, rdata)
		text := TextOrGeneric(c.rrtype, rdata)
		if strings.ContainsAny(text, "\n\r\x00\x7f") || slices.ContainsFunc([]byte(text), func(b byte) bool { return b >= 0x7f }) {
			t.Errorf("%s: text %q", TypeText(c.rrtype), text)
		}
	}
}

func TestTypes(t *testing.T) {
	for _, c := range []struct {
		text   string
		rrtype uint16
		ok     bool
	}{
		{"A", 1, true}, {"a", 1, true}, {"TYPE1", 1, true}, {"type65535", 65535, true}, {"NSAP-PTR", 23, true}, {"HTTPS", 65, true},
		{"CLA", 263, true}, {"NXNAME", 128, true},
		{"", 0, false}, {"TYPE", 0, false}, {"TYPE65536", 0, false}, {"TYPE-1", 0, false}, {"TYPE 1", 0, false}, {"FOO", 0, false},
	} {
		if rrtype, ok := ParseType(c.text); rrtype != c.rrtype || ok != c.ok {
			t.Errorf("%q: %d, %v", c.text, rrtype, ok)
		}
	}
	for rrtype := range uint16(65535) {
		if again, ok := ParseType(TypeText(rrtype)); again != rrtype || !ok {
			t.Errorf("%s is %d, not %d", TypeText(rrtype), again, rrtype)
		}
		if string(appendType(nil, rrtype)) != TypeText(rrtype) && rrtype != TypeNXNAME {
			t.Errorf("%s is appended as %s", TypeText(rrtype), appendType(nil, rrtype))
		}
	}
	for _, rrtype := range []uint16{0, TypeOPT, TypeNXNAME, TypeTKEY, TypeTSIG, TypeIXFR, TypeAXFR, TypeMAILB, TypeMAILA, TypeANY, 200} {
		if !IsMeta(rrtype) {
			t.Errorf("%s is not a meta-type", TypeText(rrtype))
		}
	}
	for _, rrtype := range []uint16{TypeA, 127, TypeURI, TypeDLV, 65535} {
		if IsMeta(rrtype) {
			t.Errorf("%s is a meta-type", TypeText(rrtype))
		}
	}
}

func TestParseTTL(t *testing.T) {
	for text, want := range map[string]uint32{"0": 0, "300": 300, "1h": 3600, "2W3D": 17 * 86400, "1h30m5s": 5405, "4294967295": 1<<32 - 1} {
		if seconds, err := ParseTTL(text); err != nil || seconds != want {
			t.Errorf("%s: %d, %v", text, seconds, err)
		}
	}
	for _, text := range []string{"", "h", "1h3", "-1", "4294967296", "7102w", "1y", "1 h"} {
		if seconds, err := ParseTTL(text); err == nil {
			t.Errorf("%s: %d", text, seconds)
		}
	}
}

func TestErrorText(t *testing.T) {
	for _, c := range []struct {
		rrtype uint16
		rdata  string
		want   string
	}{
		{TypeCAA, "00 05 6973207565", "CAA: tag: octet 0x20 is not a letter or digit"},
		{TypeDS, "0000 05 01", "DS: digest: 0 octets where algorithm 1 has 20"},
		{TypeMX, "0000 c00c", "MX: exchange: compressed name"},
		{TypeA, "c000020101", "A: 1 octets after the last field"},
	} {
		if err := Validate(c.rrtype, unhex(t, c.rdata)); err == nil || err.Error() != c.want {
			t.Errorf("%v, not %s", err, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		rrtype uint16
		rdata  string
		want   []EmbeddedName
	}{
		{TypeA, "c0000201", nil},
		{TypeSRV, "000000000000 016100", []EmbeddedName{{6, 9, true, true}}},
		{TypeSOA, "016100 00 0000000000000000000000000000000000000000", []EmbeddedName{{0, 3, true, false}, {3, 4, true, false}}},
		{TypeNSEC, "016100 000140", []EmbeddedName{{0, 3, false, false}}},
		{TypeHTTPS, "0001 016100", []EmbeddedName{{2, 5, false, true}}},
		{TypeHIP, "01020001 aabb 016100 016200", []EmbeddedName{{6, 9, false, false}, {9, 12, false, false}}},
		{TypeIPSECKEY, "000301 016100 01", []EmbeddedName{{3, 6, false, false}}},
		{TypeIPSECKEY, "000101 c0000201 01", nil},
		{TypeKEY, "000003fd 016100 01", []EmbeddedName{{4, 7, false, false}}},
		{TypeKEY, "00000305 016100 01", nil},
	} {
		if got := slices.Collect(Names(c.rrtype, unhex(t, c.rdata))); !slices.Equal(got, c.want) {
			t.Errorf("%s %s: %v", TypeText(c.rrtype), c.rdata, got)
		}
	}
}

func TestCompareFolds(t *testing.T) {
	standard.Requires(t, "RFC 3597", "7 lower case")
	for _, c := range []struct {
		rrtype uint16
		a, b   string
		equal  bool
	}{
		{TypePTR, "016100", "014100", true},
		{TypeTXT, "0161", "0141", false},
		{TypeNAPTR, "00000000 0161 00 00 016100", "00000000 0161 00 00 014100", true},
		{TypeNAPTR, "00000000 0161 00 00 016100", "00000000 0141 00 00 016100", false},
		{TypeNSEC, "016100 000140", "014100 000140", false},
		{TypeHTTPS, "0001 016100", "0001 014100", false},
		{TypeRRSIG, "0001 05 02 00000000 00000000 00000000 0000 016100 61", "0001 05 02 00000000 00000000 00000000 0000 014100 61", true},
		{TypeRRSIG, "0001 05 02 00000000 00000000 00000000 0000 016100 61", "0001 05 02 00000000 00000000 00000000 0000 016100 41", false},
	} {
		if equal := Equal(c.rrtype, unhex(t, c.a), unhex(t, c.b)); equal != c.equal {
			t.Errorf("%s %s, %s: equal %v", TypeText(c.rrtype), c.a, c.b, equal)
		}
	}
}
