package gsstsig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns/caddy"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/krb5test"
)

// write puts a file into the test's temporary directory.
func write(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const exampleZone = `$TTL 300
@ SOA ns1.example.test. hostmaster.example.test. 7 900 600 86400 300
@ NS ns1.example.test.
ns1 A 192.0.2.53
fixed A 192.0.2.99
`

// TestCorefile sets up server blocks, good and bad. A bad one must say what is wrong, and where.
func TestCorefile(t *testing.T) {
	dnsKeytab := krb5test.New(t, "EXAMPLE.TEST", "DNS/ns1.example.test", "dns/ns2.example.test").Keytab()
	hostKeytab := krb5test.New(t, "EXAMPLE.TEST", "host/ns1.example.test").Keytab()
	garbage := write(t, "garbage.keytab", "this is not a keytab")
	empty := write(t, "empty.keytab", "")
	seed := write(t, "db.example.test", exampleZone)
	noSOA := write(t, "db.nosoa", "$TTL 300\n@ NS ns1.example.test.\n")
	capaths := write(t, "krb5.conf", "[capaths]\n\tPARTNER.TEST = {\n\t\tEXAMPLE.TEST = MIDDLE.TEST\n\t}\n")
	broken := write(t, "db.broken", exampleZone+"bad A not-an-address\n")

	one := []string{"example.test.:53"}
	two := []string{"example.test.:53", "2.0.192.in-addr.arpa.:53"}
	tests := map[string]struct {
		keys []string
		body string
		want string // in the error; empty if there is none
	}{
		"smallest":               {one, "keytab " + dnsKeytab, ""},
		"several keytabs":        {one, "keytab " + dnsKeytab + " " + hostKeytab, ""},
		"all properties":         {two, "keytab " + dnsKeytab + "\nrealm EXAMPLE.TEST PARTNER.TEST\nprincipal DNS/ns1.example.test\nfile " + seed + " example.test\nupdates nonsecure-and-secure\ngrant EXAMPLE.TEST ms-self . A AAAA\ndeny * name critical.example.test ANY", ""},
		"no keytab":              {one, "updates secure", "keytab is missing"},
		"keytab without file":    {one, "keytab", "keytab needs one or more files"},
		"keytab that is missing": {one, "keytab /nonexistent/dns.keytab", "/nonexistent/dns.keytab"},
		"keytab of garbage":      {one, "keytab " + garbage, garbage},
		"no DNS principal":       {one, "keytab " + hostKeytab, "host/ns1.example.test@EXAMPLE.TEST"},
		"the block's line":       {one, "keytab " + hostKeytab, "Testfile:1"},
		"principal not there":    {one, "keytab " + dnsKeytab + "\nprincipal DNS/other.example.test", "DNS/other.example.test is not in the keytab"},
		"principal malformed":    {one, "keytab " + dnsKeytab + "\nprincipal DNS/a@B@C", "Testfile:3"},
		"realm with a name":      {one, "keytab " + dnsKeytab + "\nrealm user@EXAMPLE.TEST", "is a principal, not a realm"},
		"realm without name":     {one, "keytab " + dnsKeytab + "\nrealm", "realm needs"},
		"mode unknown":           {one, "keytab " + dnsKeytab + "\nupdates sometimes", "sometimes"},
		"mode twice":             {one, "keytab " + dnsKeytab + "\nupdates secure\nupdates none", "twice"},
		"mode of a zone":         {two, "keytab " + dnsKeytab + "\nupdates secure\nupdates nonsecure-and-secure 2.0.192.in-addr.arpa", ""},
		"mode of another zone":   {two, "keytab " + dnsKeytab + "\nupdates secure other.test", "other.test. is not a zone of this server block"},
		"mode of a zone twice":   {two, "keytab " + dnsKeytab + "\nupdates none example.test\nupdates secure example.test", "twice for zone example.test."},
		"seed missing":           {one, "keytab " + dnsKeytab + "\nfile /nonexistent/db", "/nonexistent/db"},
		"seed without SOA":       {one, "keytab " + dnsKeytab + "\nfile " + noSOA, noSOA},
		"seed broken":            {one, "keytab " + dnsKeytab + "\nfile " + broken, broken},
		"seed without its zone":  {two, "keytab " + dnsKeytab + "\nfile " + seed, "2 zones"},
		"seed of another zone":   {two, "keytab " + dnsKeytab + "\nfile " + seed + " other.test", "not a zone of this server block"},
		"seed twice":             {one, "keytab " + dnsKeytab + "\nfile " + seed + "\nfile " + seed, "has a file already"},
		"keytab empty":           {one, "keytab " + empty, "plugin/gsstsig: Testfile:1: keytab " + empty + ": it is empty. Fix: "},
		"keytab is a directory":  {one, "keytab " + filepath.Dir(empty), "plugin/gsstsig: Testfile:1: keytab " + filepath.Dir(empty) + ": it is a directory. Fix: "},
		"empty argument":         {one, "keytab \"\"", "Testfile:2 - Error during parsing: keytab: an argument is empty"},
		"a rule's line, once":    {one, "keytab " + dnsKeytab + "\ngrant EXAMPLE.TEST no-such-rule . A", "plugin/gsstsig: Testfile:3 - Error during parsing: grant EXAMPLE.TEST no-such-rule . A: "},
		"rule types":             {one, "keytab " + dnsKeytab + "\ngrant EXAMPLE.TEST no-such-rule . A", "krb5-self, "},
		"a zone's name, once":    {one, "keytab " + dnsKeytab + "\nfile /nonexistent/db", "plugin/gsstsig: Testfile:1: zone example.test.: master file: open /nonexistent/db"},
		"rule malformed":         {one, "keytab " + dnsKeytab + "\ngrant EXAMPLE.TEST no-such-rule . A", "no-such-rule"},
		"status page":            {one, "keytab " + dnsKeytab + "\nstatus localhost:9154", ""},
		"status without port":    {one, "keytab " + dnsKeytab + "\nstatus localhost", "not an address with a port"},
		"status on a word":       {one, "keytab " + dnsKeytab + "\nstatus localhost:page", "not an address with a port"},
		"status everywhere":      {one, "keytab " + dnsKeytab + "\nstatus :9154", "write localhost:9154"},
		"status nowhere":         {one, "keytab " + dnsKeytab + "\nstatus", "status needs one address"},
		"status twice":           {one, "keytab " + dnsKeytab + "\nstatus localhost:9154\nstatus localhost:9155", "status is given twice"},
		"log refused":            {one, "keytab " + dnsKeytab + "\nlog refused warning", ""},
		"log at no level":        {one, "keytab " + dnsKeytab + "\nlog refused loud", `unknown level "loud"`},
		"log of what":            {one, "keytab " + dnsKeytab + "\nlog accepted info", "log refused LEVEL"},
		"log twice":              {one, "keytab " + dnsKeytab + "\nlog refused info\nlog refused error", "log refused is given twice"},
		"limits":                 {one, "keytab " + dnsKeytab + "\nlimit rrset-records 10\nlimit zone-records 1000", ""},
		"proxies":                {one, "keytab " + dnsKeytab + "\nproxies dhcp$@EXAMPLE.TEST sid:S-1-5-21-1-2-3-1102 key.dhcp.", ""},
		"proxies, no identity":   {one, "keytab " + dnsKeytab + "\nproxies sid:1102", "sid:1102"},
		"proxies, unsigned":      {one, "keytab " + dnsKeytab + "\nproxies anonymous", "anonymous"},
		"reclaim":                {one, "keytab " + dnsKeytab + "\nreclaim never", ""},
		"reclaim what":           {one, "keytab " + dnsKeytab + "\nreclaim sometimes", `unknown word "sometimes"; the words are hosts, always, never`},
		"reclaim, no word":       {one, "keytab " + dnsKeytab + "\nreclaim", "hosts, always, never"},
		"reclaim twice":          {one, "keytab " + dnsKeytab + "\nreclaim hosts\nreclaim always", "given twice"},
		"limits of clients":      {one, "keytab " + dnsKeytab + "\nlimit contexts 100\nlimit principal-contexts 10\nlimit half-open 10\nlimit source-half-open 5\nlimit handshakes 1\nlimit handshake-queue 10\nlimit handshake-failures 10\nlimit source-errors 10\nlimit connections 10\nlimit source-connections 5", ""},
		"limit unknown":          {one, "keytab " + dnsKeytab + "\nlimit everything 10", `unknown limit "everything"`},
		"limit of nothing":       {one, "keytab " + dnsKeytab + "\nlimit zone-records 0", "at least 1"},
		"limit twice":            {one, "keytab " + dnsKeytab + "\nlimit queue 10\nlimit queue 20", "limit queue is given twice"},
		"tombstones":             {one, "keytab " + dnsKeytab + "\ntombstones 24h", ""},
		"tombstones of nothing":  {one, "keytab " + dnsKeytab + "\ntombstones 0s", "from 1s to 36500d"},
		"tombstones in days":     {one, "keytab " + dnsKeytab + "\ntombstones 7d", ""},
		"aging":                  {one, "keytab " + dnsKeytab + "\naging 7d 168h", ""},
		"aging of a zone":        {two, "keytab " + dnsKeytab + "\naging 7d 7d\naging 1h 1h 2.0.192.in-addr.arpa", ""},
		"aging of another zone":  {two, "keytab " + dnsKeytab + "\naging 7d 7d other.test", "other.test. is not a zone of this server block"},
		"aging twice":            {one, "keytab " + dnsKeytab + "\naging 7d 7d\naging 7d 7d", "twice"},
		"aging of a zone twice":  {two, "keytab " + dnsKeytab + "\naging 7d 7d example.test\naging 7d 7d example.test", "twice for zone example.test."},
		"aging, one interval":    {one, "keytab " + dnsKeytab + "\naging 7d", "aging 7d 7d [ZONE...]"},
		"aging in minutes":       {one, "keytab " + dnsKeytab + "\naging 7d 90m", `"90m" is not a number of whole hours or days`},
		"aging at once":          {one, "keytab " + dnsKeytab + "\naging 0d 7d", `"0d" is not`},
		"aging of a zone alone":  {one, "keytab " + dnsKeytab + "\naging example.test 7d", `"example.test" is not`},
		"field options":          {one, "keytab " + dnsKeytab + "\nkrb5conf " + capaths + "\ntransit trust-kdc\nenctypes aes256-sha1 aes128-cts-hmac-sha256-128\nallow_rc4\nclockskew 60s\nlifetime 30m", ""},
		"krb5conf missing":       {one, "keytab " + dnsKeytab + "\nkrb5conf /nonexistent/krb5.conf", "/nonexistent/krb5.conf"},
		"transit unknown":        {one, "keytab " + dnsKeytab + "\ntransit never", "trust-kdc"},
		"enctype DES":            {one, "keytab " + dnsKeytab + "\nenctypes des-cbc-crc", "does not know"},
		"enctype RC4":            {one, "keytab " + dnsKeytab + "\nenctypes arcfour-hmac", "allow_rc4"},
		"allow_rc4 with a word":  {one, "keytab " + dnsKeytab + "\nallow_rc4 yes", "takes no arguments"},
		"clockskew of nothing":   {one, "keytab " + dnsKeytab + "\nclockskew 0", "from 1s to 36500d"},
		"lifetime of a century":  {one, "keytab " + dnsKeytab + "\nlifetime 36500d", "more than the 68 years"},
		"property unknown":       {one, "keytab " + dnsKeytab + "\nallow all", `unknown property "allow"`},
		"arguments":              {one, "", "takes no arguments"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			input := "gsstsig {\n" + test.body + "\n}"
			if name == "arguments" {
				input = "gsstsig example.test"
			}
			c := caddy.NewTestController("dns", input)
			c.ServerBlockKeys = test.keys
			err := current.setup(c)
			t.Cleanup(func() { releaseAll(t) })
			switch {
			case test.want == "" && err != nil:
				t.Errorf("unexpected error: %v", err)
			case test.want != "" && err == nil:
				t.Errorf("no error, want one with %q", test.want)
			case test.want != "" && !strings.Contains(err.Error(), test.want):
				t.Errorf("error %q does not say %q", err, test.want)
			}
		})
	}
}

// TestUnsetVariable: where a line of the block refers to a variable that is not set, the error names it, whether the line is
// wrong by itself or names a file that is missing.
func TestUnsetVariable(t *testing.T) {
	t.Setenv("GSSTSIG_TEST_SET", "set")
	for name, test := range map[string]struct{ line, says string }{
		"by itself":   {"keytab {$GSSTSIG_TEST_UNSET}", "keytab: an argument is empty"},
		"in a path":   {"keytab /nonexistent/{$GSSTSIG_TEST_UNSET}.keytab", "/nonexistent/.keytab"},
		"of Windows'": {"keytab /nonexistent/{%GSSTSIG_TEST_UNSET%}.keytab", "/nonexistent/.keytab"},
		"one is set":  {"keytab /nonexistent/{$GSSTSIG_TEST_SET}.keytab", ""},
	} {
		text := "other.test:0 {\n\twhoami\n}\nexample.test:0 {\n\tbind 127.0.0.1\n\tgsstsig {\n\t\tupdates secure\n\t\t" + test.line + "\n\t}\n}\n"
		file := write(t, "Corefile", text+"# {$GSSTSIG_TEST_COMMENT}\n")
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = caddy.Start(caddy.CaddyfileInput{Filepath: file, Contents: content, ServerTypeName: "dns"})
		if err == nil {
			t.Fatalf("%s: CoreDNS starts", name)
		}
		const variable = "the environment variable GSSTSIG_TEST_UNSET, used in line 8, is not set: "
		if named := strings.Contains(err.Error(), variable); named != (test.says != "") {
			t.Errorf("%s: the error names the variable: %t: %v", name, named, err)
		}
		if !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "COMMENT") || strings.Count(err.Error(), file) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// releaseAll releases the blocks of all configurations, as stopping CoreDNS does.
func releaseAll(t *testing.T) {
	t.Helper()
	if err := current.releaseOthers(nil); err != nil {
		t.Error(err)
	}
	current.mu.Lock()
	defer current.mu.Unlock()
	if len(current.contexts) != 0 || len(current.zones) != 0 {
		t.Errorf("%d tables of contexts and %d zones are left", len(current.contexts), len(current.zones))
	}
}
