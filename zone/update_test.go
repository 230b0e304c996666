package zone

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// updateZone is what each scenario of RFC 2136 starts from.
const updateZone = testApex + `
example.test.		3600	IN	NS	ns2.example.test.
example.test.		3600	IN	MX	10 mail.example.test.
a.example.test.		300	IN	A	192.0.2.10
a.example.test.		300	IN	A	192.0.2.11
a.example.test.		300	IN	TXT	"one"
alias.example.test.	300	IN	CNAME	A.example.test.
b.ent.example.test.	300	IN	A	192.0.2.12
dname.example.test.	300	IN	DNAME	example.net.
mx.example.test.	300	IN	MX	10 Mail.Example.Test.
wks.example.test.	300	IN	TYPE11	\# 6 c000020a0680
odd.example.test.	300	IN	TYPE65280	\# 3 0aFf00
*.wild.example.test.	300	IN	A	192.0.2.13
signed.example.test.	300	IN	CNAME	a.example.test.
signed.example.test.	300	IN	RRSIG	CNAME 13 3 300 20300101000000 20200101000000 1 example.test. AAAA
`

// Each scenario is one clause. want lists the records that go and come; the serial moves by one if
// there are any, unless want has an SOA.
var updateScenarios = []struct {
	name   string
	script string
	rcode  int
	want   string
}{
	// 1.1: what is equal.
	{"1.1.3 a wildcard stands for no other name", "P x.wild.example.test. 0 NONE ANY", dns.RcodeSuccess, ""},
	{"1.1.3 a wildcard is a name in use", "P *.wild.example.test. 0 ANY A", dns.RcodeSuccess, ""},
	{"1.1.3 an asterisk deletes no other name", "U *.example.test. 0 ANY ANY", dns.RcodeSuccess, ""},
	{"1.1.3 an asterisk deletes itself", "U *.wild.example.test. 0 ANY A", dns.RcodeSuccess, "-*.wild.example.test. 300 IN A 192.0.2.13"},
	{"1.1.4 a deletion does not follow a CNAME", "U alias.example.test. 0 ANY A\nU alias.example.test. 0 NONE A 192.0.2.10", dns.RcodeSuccess, ""},

	// 2.3, 3.1: the zone section.
	{"3.1.1 no zone", "Z", dns.RcodeFormatError, ""},
	{"3.1.1 two zones", "Z example.test. IN SOA\nZ example.test. IN SOA", dns.RcodeFormatError, ""},
	{"3.1.1 type not SOA", "Z example.test. IN A", dns.RcodeFormatError, ""},
	{"3.1.1 another zone", "Z example.net. IN SOA", dns.RcodeNotAuth, ""},
	{"3.1.1 name in the zone", "Z a.example.test. IN SOA", dns.RcodeNotAuth, ""},
	{"3.1.1 class CH", "Z example.test. CH SOA", dns.RcodeNotAuth, ""},
	{"3.1.1 class ANY", "Z example.test. ANY SOA", dns.RcodeFormatError, ""},
	{"3.1.1 class 0", "Z example.test. CLASS0 SOA", dns.RcodeFormatError, ""},
	{"3.1.1 class NONE", "Z example.test. NONE SOA", dns.RcodeNotAuth, ""},
	{"3.1.1 zone in other case", "Z EXAMPLE.Test. IN SOA\nU new.example.test. 5 IN A 192.0.2.1", dns.RcodeSuccess,
		"+new.example.test. 5 IN A 192.0.2.1"},

	// 2.4, 3.2: prerequisites.
	{"3.2.1 RRset exists", "P a.example.test. 0 ANY A", dns.RcodeSuccess, ""},
	{"3.2.1 RRset exists, other case", "P A.EXAMPLE.test. 0 ANY A", dns.RcodeSuccess, ""},
	{"3.2.1 RRset missing at a name", "P a.example.test. 0 ANY AAAA", dns.RcodeNXRrset, ""},
	{"3.2.1 RRset missing with its name", "P nope.example.test. 0 ANY A", dns.RcodeNXRrset, ""},
	{"3.2.1 CNAME is not followed", "P alias.example.test. 0 ANY A", dns.RcodeNXRrset, ""},
	{"3.2.3 RRset equal", "P a.example.test. 0 IN A 192.0.2.11\nP a.example.test. 0 IN A 192.0.2.10", dns.RcodeSuccess, ""},
	{"3.2.3 RRset equal, record twice", "P a.example.test. 0 IN A 192.0.2.11\nP a.example.test. 0 IN A 192.0.2.10\nP a.example.test. 0 IN A 192.0.2.10", dns.RcodeSuccess, ""},
	{"3.2.3 names without case", "P mx.example.test. 0 IN MX 10 mail.EXAMPLE.test.", dns.RcodeSuccess, ""},
	{"3.2.3 text with case", "P a.example.test. 0 IN TXT One", dns.RcodeNXRrset, ""},
	{"3.2.3 unknown type", `P odd.example.test. 0 IN TYPE65280 \# 3 0aff00`, dns.RcodeSuccess, ""},
	{"3.2.3 one record too few", "P a.example.test. 0 IN A 192.0.2.10", dns.RcodeNXRrset, ""},
	{"3.2.3 one too many", "P a.example.test. 0 IN A 192.0.2.11\nP a.example.test. 0 IN A 192.0.2.10\nP a.example.test. 0 IN A 192.0.2.9", dns.RcodeNXRrset, ""},
	{"3.2.3 other value", "P a.example.test. 0 IN A 192.0.2.11\nP a.example.test. 0 IN A 192.0.2.9", dns.RcodeNXRrset, ""},
	{"3.2.3 no such RRset", "P nope.example.test. 0 IN A 192.0.2.11", dns.RcodeNXRrset, ""},
	{"3.2.3 several RRsets, one wrong", "P a.example.test. 0 IN TXT one\nP mx.example.test. 0 IN MX 11 mail.example.test.", dns.RcodeNXRrset, ""},
	{"3.2.2 RRset absent", "P a.example.test. 0 NONE AAAA", dns.RcodeSuccess, ""},
	{"3.2.2 RRset not absent", "P a.example.test. 0 NONE A", dns.RcodeYXRrset, ""},
	{"3.2.1 name in use", "P a.example.test. 0 ANY ANY", dns.RcodeSuccess, ""},
	{"3.2.1 name not in use", "P nope.example.test. 0 ANY ANY", dns.RcodeNameError, ""},
	{"3.2.1 empty non-terminal is not in use", "P ent.example.test. 0 ANY ANY", dns.RcodeNameError, ""},
	{"3.2.2 name free", "P nope.example.test. 0 NONE ANY", dns.RcodeSuccess, ""},
	{"3.2.2 empty non-terminal is free", "P ent.example.test. 0 NONE ANY", dns.RcodeSuccess, ""},
	{"3.2.2 name not free", "P a.example.test. 0 NONE ANY", dns.RcodeYXDomain, ""},
	{"3.2.1 TTL", "P a.example.test. 1 ANY A", dns.RcodeFormatError, ""},
	{"3.2.2 TTL", "P nope.example.test. 1 NONE A", dns.RcodeFormatError, ""},
	{"3.2.3 TTL", "P a.example.test. 1 IN TXT one", dns.RcodeFormatError, ""},
	{"3.2 outside the zone", "P a.example.net. 0 ANY A", dns.RcodeNotZone, ""},
	{"3.2.1 rdata", "P a.example.test. 0 ANY A 192.0.2.10", dns.RcodeFormatError, ""},
	{"3.2.2 rdata", "P a.example.test. 0 NONE A 192.0.2.10", dns.RcodeFormatError, ""},
	{"3.2.3 no rdata", "P a.example.test. 0 IN A", dns.RcodeFormatError, ""},
	{"3.2.3 type ANY", "P a.example.test. 0 IN ANY", dns.RcodeNXRrset, ""},
	// There is no check of types here, and BIND has none.
	{"3.2.1 AXFR", "P a.example.test. 0 ANY AXFR", dns.RcodeNXRrset, ""},
	{"3.2.1 IXFR", "P a.example.test. 0 ANY IXFR", dns.RcodeNXRrset, ""},
	{"3.2.1 TKEY", "P a.example.test. 0 ANY TKEY", dns.RcodeNXRrset, ""},
	{"3.2.1 type 128", "P a.example.test. 0 ANY TYPE128", dns.RcodeNXRrset, ""},
	{"3.2.1 type 65535", "P a.example.test. 0 ANY TYPE65535", dns.RcodeNXRrset, ""},
	{"3.2.2 AXFR", "P a.example.test. 0 NONE AXFR", dns.RcodeSuccess, ""},
	{"3.2.2 IXFR", "P a.example.test. 0 NONE IXFR", dns.RcodeSuccess, ""},
	{"3.2.2 TKEY", "P a.example.test. 0 NONE TKEY", dns.RcodeSuccess, ""},
	{"3.2.2 type 128", "P a.example.test. 0 NONE TYPE128", dns.RcodeSuccess, ""},
	{"3.2.2 type 65535", "P a.example.test. 0 NONE TYPE65535", dns.RcodeSuccess, ""},
	{"3.2.3 another class", "P a.example.test. 0 CH A", dns.RcodeFormatError, ""},
	{"3.2 a failed prerequisite stops the update", "P a.example.test. 0 NONE A\nU new.example.test. 5 IN A 192.0.2.1", dns.RcodeYXRrset, ""},
	{"3.2 prerequisites see the state before", "P new.example.test. 0 ANY A\nU new.example.test. 5 IN A 192.0.2.1", dns.RcodeNXRrset, ""},
	{"3.4.1 before prerequisites", "P a.example.test. 0 NONE A\nU a.example.test. 5 ANY A", dns.RcodeFormatError, ""},

	// 3.4.1: the prescan.
	{"3.4.1 outside the zone", "U new.example.test. 5 IN A 192.0.2.1\nU a.example.net. 5 IN A 192.0.2.1", dns.RcodeNotZone, ""},
	{"3.4.1 above the zone", "U test. 5 IN A 192.0.2.1", dns.RcodeNotZone, ""},
	{"3.4.1.2 add ANY", "U a.example.test. 5 IN ANY", dns.RcodeFormatError, ""},
	{"3.4.1.2 add AXFR", "U a.example.test. 5 IN AXFR", dns.RcodeFormatError, ""},
	{"3.4.1.2 add MAILB", "U a.example.test. 5 IN MAILB", dns.RcodeFormatError, ""},
	{"3.4.1.2 add unassigned meta-type", `U a.example.test. 5 IN TYPE200 \# 1 00`, dns.RcodeFormatError, ""},
	{"3.4.1.2 add TSIG", `U a.example.test. 5 IN TYPE250 \# 1 00`, dns.RcodeFormatError, ""},
	{"3.4.1.2 add TKEY", `U a.example.test. 5 IN TYPE249 \# 1 00`, dns.RcodeFormatError, ""},
	{"3.4.1.2 add OPT", `U a.example.test. 5 IN TYPE41 \# 0`, dns.RcodeFormatError, ""},
	{"3.4.1.2 add type 0", `U a.example.test. 5 IN TYPE0 \# 1 00`, dns.RcodeFormatError, ""},
	{"3.4.1.2 add without rdata", "U a.example.test. 5 IN A", dns.RcodeFormatError, ""},
	{"3.4.1.2 add text without rdata", "U a.example.test. 5 IN TXT", dns.RcodeFormatError, ""},
	{"3.4.1.2 delete text without rdata", "U a.example.test. 0 NONE TXT", dns.RcodeFormatError, ""},
	{"3.4.1.2 delete RRset with TTL", "U a.example.test. 5 ANY A", dns.RcodeFormatError, ""},
	{"3.4.1.2 delete RRset with rdata", "U a.example.test. 0 ANY A 192.0.2.10", dns.RcodeFormatError, ""},
	{"3.4.1.2 delete RRset AXFR", "U a.example.test. 0 ANY AXFR", dns.RcodeFormatError, ""},
	{"3.4.1.2 delete RRset MAILA", "U a.example.test. 0 ANY MAILA", dns.RcodeFormatError, ""},
	{"3.4.1.2 delete record with TTL", "U a.example.test. 5 NONE A 192.0.2.10", dns.RcodeFormatError, ""},
	{"3.4.1.2 delete record ANY", "U a.example.test. 0 NONE ANY", dns.RcodeFormatError, ""},
	{"3.4.1.2 delete record MAILB", "U a.example.test. 0 NONE MAILB", dns.RcodeFormatError, ""},
	{"3.4.1 another class", "U a.example.test. 0 CH A", dns.RcodeFormatError, ""},
	{"3.4.1.2 all is scanned before any is done", "U new.example.test. 5 IN A 192.0.2.1\nU a.example.test. 5 ANY A", dns.RcodeFormatError, ""},

	// 3.4.2.2: adding.
	{"3.4.2.2 new name", "U new.example.test. 5 IN A 192.0.2.1", dns.RcodeSuccess, "+new.example.test. 5 IN A 192.0.2.1"},
	{"3.4.2.2 to an RRset, whose TTL follows", "U a.example.test. 5 IN A 192.0.2.1", dns.RcodeSuccess,
		"-a.example.test. 300 IN A 192.0.2.10\n-a.example.test. 300 IN A 192.0.2.11\n+a.example.test. 5 IN A 192.0.2.10\n+a.example.test. 5 IN A 192.0.2.11\n+a.example.test. 5 IN A 192.0.2.1"},
	{"3.4.2.2 duplicate", "U a.example.test. 300 IN A 192.0.2.10", dns.RcodeSuccess, ""},
	{"3.4.2.2 duplicate in other case", "U mx.example.test. 300 IN MX 10 mail.example.test.", dns.RcodeSuccess, ""},
	{"3.4.2.2 duplicate with another TTL", "U a.example.test. 5 IN TXT one", dns.RcodeSuccess,
		"-a.example.test. 300 IN TXT \"one\"\n+a.example.test. 5 IN TXT \"one\""},
	{"3.4.2.2 duplicate within the message", "U new.example.test. 5 IN A 192.0.2.1\nU NEW.example.test. 5 IN A 192.0.2.1", dns.RcodeSuccess,
		"+new.example.test. 5 IN A 192.0.2.1"},
	{"3.4.2.2 unknown type", `U a.example.test. 300 IN TYPE65280 \# 3 0aff01`, dns.RcodeSuccess,
		`+a.example.test. 300 CLASS1 TYPE65280 \# 3 0aff01`},
	{"3.4.2.2 unknown type, no octets", `U a.example.test. 300 IN TYPE65280 \# 0`, dns.RcodeSuccess,
		`+a.example.test. 300 CLASS1 TYPE65280 \# 0`},
	{"3.4.2.2 TTL of 32 bits is zero", "U new.example.test. 2147483648 IN A 192.0.2.1", dns.RcodeSuccess, "+new.example.test. 0 IN A 192.0.2.1"},
	{"3.4.2.2 CNAME to other data", "U a.example.test. 5 IN CNAME b.example.test.", dns.RcodeSuccess, ""},
	{"3.4.2.2 other data to CNAME", "U alias.example.test. 5 IN A 192.0.2.1", dns.RcodeSuccess, ""},
	{"3.4.2.2 CNAME replaces CNAME", "U alias.example.test. 300 IN CNAME b.example.test.", dns.RcodeSuccess,
		"-alias.example.test. 300 IN CNAME A.example.test.\n+alias.example.test. 300 IN CNAME b.example.test."},
	{"3.4.2.2 CNAME at the apex", "U example.test. 5 IN CNAME b.example.test.", dns.RcodeSuccess, ""},
	{"3.4.2.2 CNAME beside RRSIG", "U signed.example.test. 300 IN CNAME b.example.test.", dns.RcodeSuccess,
		"-signed.example.test. 300 IN CNAME a.example.test.\n+signed.example.test. 300 IN CNAME b.example.test."},
	{"3.4.2.2 delete, then CNAME", "U a.example.test. 0 ANY ANY\nU a.example.test. 5 IN CNAME b.example.test.", dns.RcodeSuccess,
		"-a.example.test. 300 IN A 192.0.2.10\n-a.example.test. 300 IN A 192.0.2.11\n-a.example.test. 300 IN TXT \"one\"\n+a.example.test. 5 IN CNAME b.example.test."},
	{"3.4.2.2 CNAME, then delete", "U a.example.test. 5 IN CNAME b.example.test.\nU a.example.test. 0 ANY ANY", dns.RcodeSuccess,
		"-a.example.test. 300 IN A 192.0.2.10\n-a.example.test. 300 IN A 192.0.2.11\n-a.example.test. 300 IN TXT \"one\""},
	{"RFC 4592 4.2 NS at a wildcard", "U *.new.example.test. 5 IN NS b.example.test.", dns.RcodeSuccess, ""},
	{"RFC 4592 4.2 NS below a label that ends in an asterisk", "U a*.example.test. 5 IN NS b.example.test.", dns.RcodeSuccess,
		"+a*.example.test. 5 IN NS b.example.test."},
	{"RFC 4592 4.4 DNAME at a wildcard of the apex", "U *.example.test. 5 IN DNAME b.example.test.", dns.RcodeSuccess, ""},
	{"RFC 4035 2.4 DS at the apex", "U example.test. 5 IN DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000", dns.RcodeSuccess, ""},
	{"RFC 6672 5.2 DNAME replaces DNAME", "U dname.example.test. 300 IN DNAME example.org.", dns.RcodeSuccess,
		"-dname.example.test. 300 IN DNAME example.net.\n+dname.example.test. 300 IN DNAME example.org."},
	{"RFC 6672 5.2 DNAME to CNAME", "U alias.example.test. 300 IN DNAME example.org.", dns.RcodeSuccess, ""},
	{"RFC 9606 4 RESINFO replaces RESINFO", `U resinfo.example.test. 300 IN TYPE261 \# 2 0161
U resinfo.example.test. 300 IN TYPE261 \# 2 0162`, dns.RcodeSuccess,
		"+resinfo.example.test. 300 IN RESINFO \"b\""},
	{"3.4.2.2 WKS of the same address and protocol", `U wks.example.test. 300 IN TYPE11 \# 6 c000020a0640`, dns.RcodeSuccess,
		"-wks.example.test. 300 CLASS1 TYPE11 \\# 6 c000020a0680\n+wks.example.test. 300 CLASS1 TYPE11 \\# 6 c000020a0640"},
	{"3.4.2.2 WKS of another protocol", `U wks.example.test. 300 IN TYPE11 \# 6 c000020a1180`, dns.RcodeSuccess,
		"+wks.example.test. 300 CLASS1 TYPE11 \\# 6 c000020a1180"},
	{"3.4.2.2 SOA with a greater serial", "U example.test. 3600 IN SOA ns1.example.test. hostmaster.example.test. 12 900 600 86400 60", dns.RcodeSuccess,
		"SOA 12"},
	{"3.4.2.2 SOA and other records: one serial", "U new.example.test. 5 IN A 192.0.2.1\nU example.test. 3600 IN SOA ns1.example.test. hostmaster.example.test. 12 900 600 86400 60", dns.RcodeSuccess,
		"SOA 12\n+new.example.test. 5 IN A 192.0.2.1"},
	{"3.4.2.2 SOA with the same serial", "U example.test. 3600 IN SOA ns1.example.test. hostmaster.example.test. 10 900 600 86400 60", dns.RcodeSuccess, ""},
	{"3.4.2.2 SOA with a lower serial", "U example.test. 3600 IN SOA ns1.example.test. hostmaster.example.test. 9 900 600 86400 60", dns.RcodeSuccess, ""},
	{"3.4.2.2 SOA half the circle away", "U example.test. 3600 IN SOA ns1.example.test. hostmaster.example.test. 2147483658 900 600 86400 60", dns.RcodeSuccess, ""},
	{"3.4.2.2 SOA just short of that", "U example.test. 3600 IN SOA ns1.example.test. hostmaster.example.test. 2147483657 900 600 86400 60", dns.RcodeSuccess, "SOA 2147483657"},
	{"3.4.2.2 SOA below the apex", "U new.example.test. 5 IN SOA ns1.example.test. hostmaster.example.test. 12 900 600 86400 60", dns.RcodeSuccess, ""},
	{"3.4.2.2 NS at the apex", "U example.test. 3600 IN NS ns3.example.test.", dns.RcodeSuccess, "+example.test. 3600 IN NS ns3.example.test."},

	// 3.4.2.3: deleting RRsets and names.
	{"3.4.2.3 RRset", "U a.example.test. 0 ANY A", dns.RcodeSuccess, "-a.example.test. 300 IN A 192.0.2.10\n-a.example.test. 300 IN A 192.0.2.11"},
	{"3.4.2.3 RRset that is not there", "U a.example.test. 0 ANY AAAA\nU nope.example.test. 0 ANY A", dns.RcodeSuccess, ""},
	{"3.4.2.3 name", "U a.example.test. 0 ANY ANY", dns.RcodeSuccess,
		"-a.example.test. 300 IN A 192.0.2.10\n-a.example.test. 300 IN A 192.0.2.11\n-a.example.test. 300 IN TXT \"one\""},
	{"3.4.2.3 name in other case", "U ALIAS.example.test. 0 ANY ANY", dns.RcodeSuccess, "-alias.example.test. 300 IN CNAME A.example.test."},
	{"3.4.2.3 name that is not there", "U nope.example.test. 0 ANY ANY\nU ent.example.test. 0 ANY ANY", dns.RcodeSuccess, ""},
	{"3.4.2.3 apex keeps SOA and NS", "U example.test. 0 ANY ANY", dns.RcodeSuccess, "-example.test. 3600 IN MX 10 mail.example.test."},
	{"3.4.2.3 SOA of the apex", "U example.test. 0 ANY SOA", dns.RcodeSuccess, ""},
	{"3.4.2.3 NS of the apex", "U example.test. 0 ANY NS", dns.RcodeSuccess, ""},
	{"3.4.2.3 another RRset of the apex", "U example.test. 0 ANY MX", dns.RcodeSuccess, "-example.test. 3600 IN MX 10 mail.example.test."},

	// 3.4.2.4: deleting a record.
	{"3.4.2.4 record", "U a.example.test. 0 NONE A 192.0.2.10", dns.RcodeSuccess, "-a.example.test. 300 IN A 192.0.2.10"},
	{"3.4.2.4 record in other case", "U mx.example.test. 0 NONE MX 10 mail.EXAMPLE.test.", dns.RcodeSuccess, "-mx.example.test. 300 IN MX 10 Mail.Example.Test."},
	{"3.4.2.4 record of unknown type", `U odd.example.test. 0 NONE TYPE65280 \# 3 0aff00`, dns.RcodeSuccess, `-odd.example.test. 300 CLASS1 TYPE65280 \# 3 0aff00`},
	{"3.4.2.4 record that is not there", "U a.example.test. 0 NONE A 192.0.2.99\nU nope.example.test. 0 NONE A 192.0.2.10", dns.RcodeSuccess, ""},
	{"3.4.2.4 SOA", "U example.test. 0 NONE SOA ns1.example.test. hostmaster.example.test. 10 900 600 86400 300", dns.RcodeSuccess, ""},
	{"3.4.2.4 one NS of the apex", "U example.test. 0 NONE NS ns2.example.test.", dns.RcodeSuccess, "-example.test. 3600 IN NS ns2.example.test."},
	{"3.4.2.4 the last NS of the apex", "U example.test. 0 NONE NS ns2.example.test.\nU example.test. 0 NONE NS ns1.example.test.", dns.RcodeSuccess, "-example.test. 3600 IN NS ns2.example.test."},
	{"3.4.2.4 NS of the apex, replaced", "U example.test. 3600 IN NS ns3.example.test.\nU example.test. 0 NONE NS ns2.example.test.\nU example.test. 0 NONE NS ns1.example.test.", dns.RcodeSuccess,
		"-example.test. 3600 IN NS ns2.example.test.\n-example.test. 3600 IN NS ns1.example.test.\n+example.test. 3600 IN NS ns3.example.test."},
	{"3.4.2.4 without rdata", "U a.example.test. 0 NONE A", dns.RcodeFormatError, ""},

	// 3.4.2, 3.6: order, and the serial.
	{"3.4.2 in order: add, then delete", "U new.example.test. 5 IN A 192.0.2.1\nU new.example.test. 0 ANY A", dns.RcodeSuccess, ""},
	{"3.4.2 in order: delete, then add", "U a.example.test. 0 ANY TXT\nU a.example.test. 300 IN TXT one", dns.RcodeSuccess, ""},
	{"3.6 nothing asked", "", dns.RcodeSuccess, ""},

	{"RFC 2181 10.2 several PTR records", "U p.example.test. 5 IN PTR a.example.test.\nU p.example.test. 5 IN PTR b.example.test.", dns.RcodeSuccess,
		"+p.example.test. 5 IN PTR a.example.test.\n+p.example.test. 5 IN PTR b.example.test."},
	{"RFC 4343 3 octets that differ as the cases of letters do", `U [x.example.test. 5 IN A 192.0.2.1
U {x.example.test. 5 IN A 192.0.2.1
U \193.example.test. 5 IN A 192.0.2.1
U \225.example.test. 5 IN A 192.0.2.1`, dns.RcodeSuccess,
		"+[x.example.test. 5 IN A 192.0.2.1\n+{x.example.test. 5 IN A 192.0.2.1\n+\\193.example.test. 5 IN A 192.0.2.1\n+\\225.example.test. 5 IN A 192.0.2.1"},

	// Names at their bounds.
	{"escaped labels", `U a\.b\000\001\255\\.example.test. 5 IN A 192.0.2.1`, dns.RcodeSuccess, `+a\.b\000\001\255\\.example.test. 5 IN A 192.0.2.1`},
	{"wildcard is a name", "U *.example.test. 5 IN A 192.0.2.1", dns.RcodeSuccess, "+*.example.test. 5 IN A 192.0.2.1"},
}

// The names of the scenarios begin with the section that they are about.
func TestUpdateClauses(t *testing.T) {
	standard.Requires(t, "RFC 2136", "1.1.1 equality", "1.1.2 case", "1.1.3 wildcards", "1.1.4 aliases", "1.1.5 single records",
		"2.4 current state", "2.4 non-terminals", "2.4.2 order", "2.5.1 duplicates", "2.5.2 missing",
		"3.1.1 one zone", "3.1.1 type", "3.1.1 authority", "3.2 in the zone",
		"3.2.1 form", "3.2.1 name in use", "3.2.1 set exists", "3.2.2 form", "3.2.2 name not in use", "3.2.2 set absent",
		"3.2.3 form", "3.2.3 set equal", "3.2.3 classes",
		"3.4.1 classes", "3.4.1 in the zone", "3.4.1 types", "3.4.1 TTL", "3.4.1 no data", "3.4.1 before",
		"3.4.2 order", "3.4.2.2 add", "3.4.2.2 SOA", "3.4.2.2 CNAME", "3.4.2.3 name", "3.4.2.3 set", "3.4.2.4 record", "3.4.2.5 done",
		"3.6 direction", "3.6 older SOA", "3.6 increment", "3.6 together", "7.6 zones")
	standard.Deviates(t, "RFC 2136", "3.1.1 authority", "A zone section of class ANY is FORMERR, as with BIND: no zone has that class.")
	standard.Deviates(t, "RFC 2136", "3.4.1 unrecognized types", "Only type 0 and types of queries and messages are refused. Data of other "+
		"unknown types are kept as octets, as RFC 3597 has it.")
	standard.Deviates(t, "RFC 2136", "3.4 after the prerequisites", "The update section is checked first: what is malformed is "+
		"FORMERR whatever the zone has.")
	standard.Requires(t, "RFC 8945", "4.1 not cached")
	standard.Requires(t, "RFC 2930", "2 not stored")
	standard.Requires(t, "RFC 1034", "3.6.2 alone")
	standard.Requires(t, "RFC 2181", "5 no duplicates", "5.2 one TTL", "8 TTL", "10.1 CNAME", "10.2 PTR", "11 any octets")
	standard.Requires(t, "RFC 3597", "3 opaque", "6 comparison")
	standard.Requires(t, "RFC 4343", "3 comparison", "3 any octet")
	for _, sc := range updateScenarios {
		t.Run(sc.name, func(t *testing.T) {
			z := openText(t, updateZone, nil)
			before := z.Snapshot()
			want, serial := texts(before), before.Serial()
			for line := range strings.Lines(sc.want) {
				line = strings.TrimSpace(line)
				switch {
				case strings.HasPrefix(line, "+"):
					want = append(want, line[1:])
				case strings.HasPrefix(line, "-"):
					i := slices.Index(want, line[1:])
					if i < 0 {
						t.Fatalf("%q is not there to go", line)
					}
					want = slices.Delete(want, i, i+1)
				default:
					serial = parseRR(t, "x. SOA . . "+strings.TrimPrefix(line, "SOA ")+" 0 0 0 0").(*dns.SOA).Serial
				}
			}
			slices.Sort(want)
			if sc.want != "" && serial == before.Serial() {
				serial++
			}
			if sc.rcode != dns.RcodeSuccess && sc.want != "" {
				t.Fatal("scenario contradicts itself")
			}

			r := apply(t, z, sc.script)

			after := z.Snapshot()
			verify(t, after)
			if r.Rcode != sc.rcode {
				t.Errorf("rcode %s, want %s (%v)", dns.RcodeToString[r.Rcode], dns.RcodeToString[sc.rcode], r.Err)
			}
			if (r.Err != nil) != (sc.rcode != dns.RcodeSuccess) {
				t.Errorf("error %v with rcode %s", r.Err, dns.RcodeToString[r.Rcode])
			}
			if got := texts(after); !slices.Equal(got, want) {
				t.Errorf("zone\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if after.Serial() != serial || r.Before != before.Serial() || r.After != serial || r.Changed != (sc.want != "") {
				t.Errorf("serial %d, want %d; result %+v", after.Serial(), serial, r)
			}
			if got, want := changed(t, before, r), slices.Collect(after.WireRecords()); !sameRecords(got, want) {
				t.Errorf("removed and added lead to\n%v\nnot to\n%v", got, want)
			}
			if sc.want == "" && after != before {
				t.Error("a state was published though nothing changed")
			}
		})
	}
}

// changed returns the records of a zone after what a result says was removed and added.
func changed(t *testing.T, before *Snapshot, r Result) []store.Record {
	t.Helper()
	records := slices.Collect(before.WireRecords())
	for _, gone := range r.Removed {
		i := slices.IndexFunc(records, func(r store.Record) bool { return sameRecords([]store.Record{r}, []store.Record{gone}) })
		if i < 0 {
			t.Fatalf("%v was removed and not there", gone)
		}
		records = slices.Delete(records, i, i+1)
	}
	return append(records, r.Added...)
}

// sameRecords compares sets of records.
func sameRecords(a, b []store.Record) bool {
	texts := func(records []store.Record) []string {
		var list []string
		for _, r := range records {
			list = append(list, fmt.Sprintf("%x %d %d %x", strings.ToLower(r.Name), r.Type, r.TTL, r.Data))
		}
		slices.Sort(list)
		return list
	}
	return slices.Equal(texts(a), texts(b))
}

func TestUpdateIsNotAQuery(t *testing.T) {
	z := openText(t, testApex, nil)
	for name, m := range map[string]*dns.Msg{
		"query":    new(dns.Msg).SetQuestion("example.test.", dns.TypeSOA),
		"response": func() *dns.Msg { m := message(t, ""); m.Response = true; return m }(),
	} {
		if r := z.Apply(t.Context(), &Update{Message: pack(t, m)}); r.Rcode != dns.RcodeFormatError {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// What the additional section of an update has does not get into the zone.
func TestAdditionalSectionIsIgnored(t *testing.T) {
	standard.Requires(t, "RFC 2136", "2.6 glue")
	z := openText(t, testApex, nil)
	m := message(t, "U sub.example.test. 5 IN NS ns.sub.example.test.")
	m.Extra = []dns.RR{parseRR(t, "ns.sub.example.test. 5 A 192.0.2.1"), parseRR(t, "ns.example.net. 5 A 192.0.2.1")}
	if r := z.Apply(t.Context(), &Update{Message: pack(t, m)}); r.Rcode != dns.RcodeSuccess || len(r.Added) != 2 { // SOA and NS
		t.Errorf("%+v", r)
	}
	if z.Snapshot().Exists("ns.sub.example.test.") {
		t.Error("the glue is in the zone")
	}
}

// An update as a program makes it.
func TestUpdateMadeByAProgram(t *testing.T) {
	z := openText(t, testApex, nil)
	m := new(dns.Msg).SetUpdate("example.test.")
	m.NameNotUsed([]dns.RR{parseRR(t, "new.example.test. A 192.0.2.1")})
	m.Insert([]dns.RR{parseRR(t, "new.example.test. 5 A 192.0.2.1"), parseRR(t, "new.example.test. 5 MX 0 x.")})
	m.Remove([]dns.RR{parseRR(t, "ns1.example.test. A 192.0.2.1")})
	if r := z.Apply(t.Context(), &Update{Message: pack(t, m)}); r.Rcode != dns.RcodeSuccess || !r.Changed {
		t.Fatalf("%+v", r)
	}
	want := []string{"example.test. 3600 IN NS ns1.example.test.", "new.example.test. 5 IN A 192.0.2.1", "new.example.test. 5 IN MX 0 x."}
	if got := texts(z.Snapshot()); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// Rdata that ends early is FORMERR, wherever it ends.
func TestUpdateTruncatedRdata(t *testing.T) {
	z := openText(t, testApex, nil)
	for _, tc := range []struct {
		rrtype uint16
		rdata  string
	}{
		{dns.TypeMX, "\x00\x0a"},
		{dns.TypeSRV, "\x00\x0a\x00\x00"},
		{dns.TypeSRV, "\x00\x0a\x00\x00\x00\x35"},
		{dns.TypeSOA, "\x01a\x00"},
		{dns.TypeDS, "\x00\x01"},
		{dns.TypeTLSA, "\x00\x01"},
		{dns.TypeNAPTR, "\x00\x01\x00\x01\x00\x00\x00"},
		{dns.TypeSVCB, "\x00\x01"},
		{dns.TypeRP, "\x00"},
	} {
		m := new(dns.Msg).SetUpdate("example.test.")
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		wire[9] = 1 // one record in the update section
		wire = append(wire, 0xc0, 12, byte(tc.rrtype>>8), byte(tc.rrtype), 0, 1, 0, 0, 0, 5, 0, byte(len(tc.rdata)))
		wire = append(wire, tc.rdata...)
		if r := z.Apply(t.Context(), &Update{Message: wire}); r.Rcode != dns.RcodeFormatError {
			t.Errorf("%s %q: %+v", dns.Type(tc.rrtype), tc.rdata, r)
		}
	}
	verify(t, z.Snapshot())
}

// A message that ends early or late is FORMERR.
func TestUpdateLength(t *testing.T) {
	standard.Requires(t, "RFC 1035", "4.1.1 FORMERR")
	z := openText(t, testApex, nil)
	octets := pack(t, message(t, "P ns1.example.test. 0 ANY A\nU a.example.test. 5 IN A 192.0.2.1"))
	for end := range octets {
		if r := z.Apply(t.Context(), &Update{Message: octets[:end]}); r.Rcode != dns.RcodeFormatError {
			t.Errorf("%d octets of %d: %+v", end, len(octets), r)
		}
	}
	if r := z.Apply(t.Context(), &Update{Message: append(octets, 0)}); r.Rcode != dns.RcodeFormatError {
		t.Errorf("an octet too many: %+v", r)
	}
}

// A name keeps the spelling in which it was entered while it has records, in the store, in transfers
// and in answers, whatever the spelling of later updates and queries.
func TestSpelling(t *testing.T) {
	standard.Requires(t, "RFC 1034", "3.1 case")
	standard.Requires(t, "RFC 1035", "2.3.3 case kept")
	standard.Requires(t, "RFC 4343", "4.1 output")
	memory := store.NewMemory(store.MemoryOptions{})
	z := openText(t, testApex+"Seed.Example.test. 60 IN A 192.0.2.1\n", func(c *Config) { c.Store = memory })
	check := func(want ...string) {
		t.Helper()
		verify(t, z.Snapshot())
		want = append(want, "example.test. 3600 IN NS ns1.example.test.", "ns1.example.test. 3600 IN A 192.0.2.1", "Seed.Example.test. 60 IN A 192.0.2.1")
		slices.Sort(want)
		if got := texts(z.Snapshot()); !slices.Equal(got, want) {
			t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	steps := []struct {
		script string
		want   []string
	}{
		{"U Host.EXAMPLE.test. 60 IN A 192.0.2.1", []string{"Host.EXAMPLE.test. 60 IN A 192.0.2.1"}},
		{"U HOST.example.test. 60 IN A 192.0.2.2", []string{"Host.EXAMPLE.test. 60 IN A 192.0.2.1", "Host.EXAMPLE.test. 60 IN A 192.0.2.2"}},
		{"U HOST.example.test. 0 ANY A\nU HOST.example.test. 60 IN A 192.0.2.3", []string{"Host.EXAMPLE.test. 60 IN A 192.0.2.3"}},
		{"U x.HOST.example.test. 60 IN A 192.0.2.4", []string{"Host.EXAMPLE.test. 60 IN A 192.0.2.3", "x.HOST.example.test. 60 IN A 192.0.2.4"}},
		{"U host.example.test. 0 ANY ANY", []string{"x.HOST.example.test. 60 IN A 192.0.2.4"}},
		{"U hosT.example.test. 60 IN A 192.0.2.5", []string{"hosT.example.test. 60 IN A 192.0.2.5", "x.HOST.example.test. 60 IN A 192.0.2.4"}},
		{"U host.example.test. 0 NONE A 192.0.2.5", []string{"x.HOST.example.test. 60 IN A 192.0.2.4"}},
		{"U host.example.test. 60 IN A 192.0.2.6", []string{"host.example.test. 60 IN A 192.0.2.6", "x.HOST.example.test. 60 IN A 192.0.2.4"}},
	}
	serial := z.Snapshot().Serial()
	start := z.Snapshot()
	for _, step := range steps {
		if r := apply(t, z, step.script); r.Rcode != dns.RcodeSuccess || !r.Changed {
			t.Fatalf("%s: %+v", step.script, r)
		}
		check(step.want...)
	}
	for _, name := range []string{"x.host.example.test.", "X.Host.Example.Test."} {
		if a := z.Snapshot().Lookup(name, dns.TypeA); len(a.Answer) != 1 || a.Answer[0].Header().Name != "x.HOST.example.test." {
			t.Errorf("%s: %+v", name, a)
		}
		sameAnswer(t, z.Snapshot(), name, dns.TypeA)
		sameAnswer(t, z.Snapshot(), "nope."+name, dns.TypeA)
	}
	// Every record goes in the spelling in which it came.
	replica := make(map[string]bool)
	for rr := range start.Records() {
		replica[text(rr)] = true
	}
	for c, err := range z.store.Changes(t.Context(), serial, z.Snapshot().Serial()) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Removed {
			if !replica[text(rrOf(r))] {
				t.Errorf("%v goes and was not there", rrOf(r))
			}
			delete(replica, text(rrOf(r)))
		}
		for _, r := range c.Added {
			replica[text(rrOf(r))] = true
		}
	}
	for rr := range z.Snapshot().Records() {
		if !replica[text(rr)] {
			t.Errorf("%v is not in the replica", rr)
		}
	}
	if len(replica) != z.Snapshot().Len() {
		t.Errorf("%d records in the replica, %d in the zone", len(replica), z.Snapshot().Len())
	}
	before := texts(z.Snapshot())
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	reopened, err := memory.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(Config{Origin: "example.test.", Store: reopened})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := texts(again.Snapshot()); !slices.Equal(got, before) {
		t.Errorf("reopened\n%s\nbefore\n%s", strings.Join(got, "\n"), strings.Join(before, "\n"))
	}
}

// Rdata is stored as it came, decompressed, and what BIND takes is taken.
func TestUpdateOctets(t *testing.T) {
	standard.Requires(t, "RFC 3597", "3 opaque", "4 decompression")
	z := openText(t, testApex, nil)
	for _, tc := range []struct {
		rrtype uint16
		rdata  string
		want   string // "" for rdata itself
		rcode  int
	}{
		{dns.TypeCAA, "\x00\x05issuea\\b", "", dns.RcodeSuccess},
		{dns.TypeCAA, "\x00\x05is uerx", "", dns.RcodeFormatError},
		{dns.TypeISDN, "\x04addr", "", dns.RcodeSuccess},
		{dns.TypeNXT, "\xc0\x0c\x40", "\x07example\x04test\x00\x40", dns.RcodeSuccess},
		{dns.TypeMX, "\x00\x0a\x01M\xc0\x0c", "\x00\x0a\x01M\x07example\x04test\x00", dns.RcodeSuccess},
		{dns.TypeAMTRELAY, "\x0a\x81\xcb\x00\x71\x0f", "", dns.RcodeSuccess},
		{65535, "\x01\x02", "", dns.RcodeSuccess},
		{dns.TypeDS, "\x00\x01\x0d", "", dns.RcodeFormatError},
	} {
		octets := pack(t, new(dns.Msg).SetUpdate("example.test."))
		octets[9] = 1 // one record in the update section
		octets = append(octets, 1, 'o', 0xc0, 12, byte(tc.rrtype>>8), byte(tc.rrtype), 0, 1, 0, 0, 0, 5, 0, byte(len(tc.rdata)))
		octets = append(octets, tc.rdata...)
		r := z.Apply(t.Context(), &Update{Message: octets})
		if r.Rcode != tc.rcode {
			t.Errorf("%s %x: %+v", dns.Type(tc.rrtype), tc.rdata, r)
		}
		if r.Rcode != dns.RcodeSuccess {
			continue
		}
		if tc.want == "" {
			tc.want = tc.rdata
		}
		n, _ := z.Snapshot().node("o\x00")
		if got := n.set(tc.rrtype); got.count != 1 || string(got.first()) != tc.want {
			t.Errorf("%s %x: stored %x", dns.Type(tc.rrtype), tc.rdata, got.packed)
		}
		// A transfer has the same octets.
		for rr := range z.Snapshot().Records() {
			if rr.Header().Rrtype != tc.rrtype || rr.Header().Name != "o.example.test." {
				continue
			}
			if r, err := RecordOf(rr); err != nil || string(r.Data) != tc.want {
				t.Errorf("%s %x: transferred %x, %v", dns.Type(tc.rrtype), tc.rdata, r.Data, err)
			}
		}
	}
	verify(t, z.Snapshot())
}

func TestSerialArithmetic(t *testing.T) {
	standard.Requires(t, "RFC 2136", "3.6 direction")
	for _, tc := range []struct {
		a, b  uint32
		after bool
	}{
		{1, 0, true}, {0, 1, false}, {5, 5, false},
		{0, 0xffffffff, true}, {0xffffffff, 0, false},
		{1 << 31, 0, false}, {0, 1 << 31, false}, // RFC 1982 leaves it undefined
		{1<<31 - 1, 0, true}, {1<<31 + 1, 0, false},
	} {
		if got := serialAfter(tc.a, tc.b); got != tc.after {
			t.Errorf("%d after %d: %v", tc.a, tc.b, got)
		}
	}
}

func TestSerialSkipsZero(t *testing.T) {
	standard.Requires(t, "RFC 2136", "3.6 direction", "4.2 serial zero")
	z := openText(t, strings.Replace(testApex, " 10 900", " 4294967295 900", 1), nil)
	r := apply(t, z, "U new.example.test. 5 IN A 192.0.2.1")
	if r.Before != 4294967295 || r.After != 1 || z.Snapshot().Serial() != 1 {
		t.Errorf("%+v", r)
	}
}
