package admin

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/krb5test"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// A wrongCorefile is a Corefile with one mistake, in which KEYTAB, DIR and @ stand for the keytab, a directory of files and the
// server block's usual beginning.
type wrongCorefile struct {
	text     string
	severity diagnose.Severity
	line     string // of the finding's subject, "" for the whole Corefile, "-" for none
	says     string // in the finding's problem or fix, separated by bars
}

// usual is how the server blocks begin: the next line is the sixth.
const usual = "example.test:5399 {\n\tbind 127.0.0.1\n\tgsstsig {\n\t\tkeytab KEYTAB\n\t\tdatabase DIR/data\n"

var wrongCorefiles = map[string]wrongCorefile{
	// The whole Corefile.
	"no server block":           {"# nothing\n", "error", "", "no server block|write a server block"},
	"no gsstsig":                {".:5399 {\n\twhoami\n}\n", "error", "", "no server block has gsstsig|-conf"},
	"unknown directive":         {"example.test:5399 {\n\tcahce\n}\n", "error", "2", "unknown directive \"cahce\"|coredns -plugins"},
	"brace of the block":        {"@\twhoami\n}\n", "error", "6", "unknown property \"whoami\"; gsstsig knows"},
	"property as directive":     {"@\t}\n\taging 7d 7d\n}\n", "error", "7", "unknown directive \"aging\"|move the line into the braces after gsstsig"},
	"second unknown directive":  {"@\t}\n\tcahce\n}\n.:5399 {\n\twhoareyou\n}\n", "error", "10", "unknown directive \"whoareyou\""},
	"import of nothing":         {"import DIR/none.conf\n", "error", "1", "import not found"},
	"zone is no name":           {strings.Replace("@\t}\n}\n", "@", strings.Replace(usual, "example.test:", "example..test:", 1), 1), "error", "1", "example..test|ZONE:PORT"},
	"port is too large":         {strings.Replace("@\t}\n}\n", "@", strings.Replace(usual, ":5399", ":99999", 1), 1), "error", "1", "99999 is not a port"},
	"port is a word":            {strings.Replace("@\t}\n}\n", "@", strings.Replace(usual, ":5399", ":dns", 1), 1), "error", "1", "what follows the colon is not a port"},
	"network is too long":       {strings.Replace("@\t}\n}\n", "@", strings.Replace(usual, "example.test:", "10.0.0.0/33:", 1), 1), "warning", "1", "takes 10.0.0.0/33. as the name of the zone|192.0.2.0/24"},
	"network by its name":       {strings.Replace("@\t}\n}\n", "@", strings.Replace(usual, "example.test:", "2.0.192.in-addr.arpa/24:", 1), 1), "warning", "1", "takes 2.0.192.in-addr.arpa/24. as the name of the zone"},
	"zone of RFC 2317":          {strings.Replace("@\t}\n}\n", "@", strings.Replace(usual, "example.test:", "0/25.2.0.192.in-addr.arpa:", 1), 1), "ok", "-", "which the keytab has a key for"},
	"zone is there twice":       {"@\t}\n}\n@\t}\n}\n", "error", "", "already defined|merge server blocks"},
	"interface is not there":    {strings.Replace("@\t}\n}\n", "@", strings.Replace(usual, "127.0.0.1", "eth99", 1), 1), "error", "2", "bind: not a valid IP address or interface|coredns.io/plugins/bind"},
	"address is another host's": {strings.Replace("@\t}\n}\n", "@", strings.Replace(usual, "127.0.0.1", "192.0.2.77", 1), 1), "error", "2", "cannot listen on 192.0.2.77|addresses of this machine"},
	"two databases":             {"@\t}\n}\n" + strings.NewReplacer("DIR/data", "DIR/data2", ":5399", ":5398").Replace(usual) + "\t}\n}\n", "warning", "-", "each in a copy of its own|add the same"},

	// Other directives.
	"transfer to nobody":        {"@\t}\n\ttransfer {\n\t}\n}\n", "error", "8", "transfer: 'to' is required|coredns.io/plugins/transfer"},
	"forward to a word":         {"@\t}\n\tforward . nonsense:abc:1\n}\n", "error", "7", "forward: |coredns.io/plugins/forward"},
	"forward to nobody":         {"@\t}\n\tforward .\n}\n", "error", "7", "forward: Wrong argument count"},
	"cache for a negative time": {"@\t}\n\tcache -5\n}\n", "error", "7", "cache TTL can not be zero or negative"},
	"certificate is missing":    {"@\t}\n\ttls DIR/none.pem DIR/none.key\n}\n", "error", "7", "tls: could not load TLS cert|put the file there"},
	"key of another":            {"@\t}\n\ttls DIR/valid.pem DIR/late.key\n}\n", "error", "7", "private key does not match|the key that the certificate was made for"},
	"key of tsig is no base64":  {"@\t}\n\ttsig {\n\t\tsecret key1. nonsense!\n\t}\n}\n", "error", "7", "key1. is not base64|tsig-keygen"},
	"keys of tsig differ": {"@\t}\n\ttsig {\n\t\tsecret key1. AAAA\n\t}\n}\nother.test:5399 {\n\tbind 127.0.0.1\n\ttsig {\n\t\tsecret key1. BBBB\n\t}\n\twhoami\n}\n", "error", "",
		"give the key key1. different secrets|different names"},
	"ready with properties":    {"@\t}\n\tready {\n\t\tmonitor continuously\n\t}\n}\n", "ok", "-", "which the keytab has a key for"},
	"health on a word":         {"@\t}\n\thealth localhost:abc\n}\n", "error", "7", "health cannot listen on \"localhost:abc\""},
	"prometheus on a word":     {"@\t}\n\tprometheus nonsense\n}\n", "error", "7", "prometheus: address nonsense"},
	"view is no expression":    {"@\t}\n\tview x {\n\t\texpr nonsense(\n\t}\n}\n", "error", "7", "view: unexpected token"},
	"zone file is missing":     {"@\t}\n}\nother.test:5399 {\n\tbind 127.0.0.1\n\tfile DIR/none\n}\n", "warning", "10", "no such file"},
	"DNS over HTTPS alone":     {strings.Replace("@\t}\n}\n", "@", strings.Replace(usual, "example", "https://example", 1), 1), "warning", "3", "no update can be made|or with tls://"},
	"DNS over HTTPS beside it": {strings.Replace("@\t}\n}\n", "@", strings.Replace(usual, "example", "https://example.test example", 1), 1), "warning", "3", "updates by https://example.test.:443 are refused"},
	"HTTPS without a key":      {strings.Replace("@\t}\n}\n", "@", strings.Replace(usual, "example", "https://example", 1), 1), "warning", "", "no certificate|tls CERTIFICATE KEY"},
	"TLS without a key":        {strings.Replace("@\t}\n}\n", "@", strings.Replace(usual, "example", "tls://example", 1), 1), "error", "", "no certificate|tls CERTIFICATE KEY"},
	"DNS over TLS alone":       {strings.Replace("@\t}\n\ttls DIR/valid.pem DIR/valid.key\n}\n", "@", strings.Replace(usual, "example", "tls://example", 1), 1), "ok", "-", "which the keytab has a key for"},
	"certificate has expired":  {strings.Replace("@\t}\n\ttls DIR/expired.pem DIR/expired.key\n}\n", "@", strings.Replace(usual, "example", "tls://example", 1), 1), "error", "7", "was valid until|renew the certificate"},
	"certificate of tomorrow":  {strings.Replace("@\t}\n\ttls DIR/early.pem DIR/early.key\n}\n", "@", strings.Replace(usual, "example", "tls://example", 1), 1), "error", "7", "is not valid before|set the clock"},
	"certificate expires soon": {strings.Replace("@\t}\n\ttls DIR/late.pem DIR/late.key\n}\n", "@", strings.Replace(usual, "example", "tls://example", 1), 1), "warning", "7", "is valid until|renew the certificate"},

	// Files of gsstsig.
	"keytab is missing":          {"example.test:5399 {\n\tgsstsig {\n\t}\n}\n", "error", "3", "keytab is missing|keytab FILE"},
	"keytab is no argument":      {"example.test:5399 {\n\tgsstsig {\n\t\tkeytab\n\t}\n}\n", "error", "3", "keytab needs one or more files"},
	"keytab is not there":        {strings.Replace(usual, "KEYTAB", "DIR/none", 1) + "\t}\n}\n", "error", "3", "keytab DIR/none: no such file|ktadd"},
	"keytab is a directory":      {strings.Replace(usual, "KEYTAB", "DIR", 1) + "\t}\n}\n", "error", "3", "it is a directory|keytab file in it"},
	"keytab is empty":            {strings.Replace(usual, "KEYTAB", "DIR/empty", 1) + "\t}\n}\n", "error", "3", "it is empty|ktadd"},
	"keytab is a text":           {strings.Replace(usual, "KEYTAB", "DIR/text", 1) + "\t}\n}\n", "error", "3", "this is not a keytab|klist"},
	"database is a file":         {strings.Replace(usual, "DIR/data", "DIR/text", 1) + "\t}\n}\n", "error", "3", "DIR/text is not a directory|name a directory"},
	"database is two":            {"@\t\tdatabase /a\n\t}\n}\n", "error", "6", "database is given twice"},
	"database has two words":     {"@\t\tdatabase /a /b\n\t}\n}\n", "error", "6", "database needs one directory"},
	"master file is not there":   {"@\t\tfile DIR/none\n\t}\n}\n", "error", "-", "master file: open DIR/none|correct the property file"},
	"master file is wrong":       {"@\t\tfile DIR/text\n\t}\n}\n", "error", "-", "DIR/text:1: |RFC 3597"},
	"master file is empty":       {"@\t\tfile DIR/empty\n\t}\n}\n", "error", "-", "no SOA record|correct the master file"},
	"master file is a directory": {"@\t\tfile DIR\n\t}\n}\n", "error", "-", "DIR: it is a directory|master file in it"},
	"master file of another":     {"@\t\tfile DIR/text other.test\n\t}\n}\n", "error", "6", "other.test. is not a zone of this server block"},
	"krb5conf is not there":      {"@\t\tkrb5conf DIR/none\n\t}\n}\n", "error", "3", "no such file|krb5conf"},
	"krb5conf is wrong":          {"@\t\tkrb5conf DIR/krb5\n\t}\n}\n", "error", "3", "DIR/krb5, line 1|krb5conf"},

	"control is a file":              {"@\t\tcontrol DIR/text\n\t}\n}\n", "error", "3", "there is a file of another kind|property control"},
	"control is too long":            {"@\t\tcontrol DIR/" + strings.Repeat("x", 104) + "\n\t}\n}\n", "error", "3", "too long for a unix socket|shorter one"},
	"control in no directory":        {"@\t\tcontrol DIR/none/x.sock\n\t}\n}\n", "warning", "3", "no such file|RuntimeDirectory="},
	"control in a file":              {"@\t\tcontrol DIR/text/x.sock\n\t}\n}\n", "error", "3", "not a directory|another path by the property control"},
	"two control sockets":            {"@\t\tcontrol DIR/a\n\t}\n}\nother.test:5399 {\n\tgsstsig {\n\t\tkeytab KEYTAB\n\t\tcontrol DIR/b\n\t}\n}\n", "error", "10", "control differs from that of the block in DIR/Corefile:3|write control once"},
	"status page of another host":    {"@\t\tstatus 192.0.2.77:9154\n\t}\n}\n", "error", "3", "status 192.0.2.77:9154: |address of this machine"},
	"status page in prometheus":      {"@\t\tstatus localhost:9154\n\t}\n\tprometheus 127.0.0.1:9154\n}\n", "error", "3", "prometheus in DIR/Corefile:8 has that address|a port that is free"},
	"status page in ready":           {"@\t\tstatus 127.0.0.1:8181\n\t}\n\tready :8181\n}\n", "error", "3", "ready in DIR/Corefile:8 has that address"},
	"status page in two ways":        {"@\t\tstatus localhost:9154\n\t}\n}\nother.test:5399 {\n\tgsstsig {\n\t\tkeytab KEYTAB\n\t\tstatus 127.0.0.1:9154\n\t}\n}\n", "error", "10", "status localhost:9154 in DIR/Corefile:3 is the same address|in one way"},
	"status page of two blocks":      {"@\t\tstatus localhost:9154\n\t}\n}\nother.test:5399 {\n\tgsstsig {\n\t\tkeytab KEYTAB\n\t\tstatus localhost:9154\n\t}\n}\n", "ok", "-", "which the keytab has a key for"},
	"status page beside prometheus":  {"@\t\tstatus localhost:9154\n\t}\n\tprometheus localhost:9153\n}\n", "ok", "-", "which the keytab has a key for"},
	"krb5conf is a directory":        {"@\t\tkrb5conf DIR\n\t}\n}\n", "error", "3", "it is a directory|krb5conf"},
	"krb5conf is a device":           {"@\t\tkrb5conf /dev/zero\n\t}\n}\n", "error", "3", "/dev/zero: it is not a regular file|krb5conf"},
	"master file is a device":        {"@\t\tfile /dev/zero\n\t}\n}\n", "error", "-", "/dev/zero: it is not a regular file|property file"},
	"master file includes a device":  {"@\t\tfile DIR/include\n\t}\n}\n", "error", "-", "/dev/zero: it is not a regular file"},
	"certificate of etcd is no file": {strings.Replace(usual, "database DIR/data", "etcd https://localhost:1", 1) + "\t\tetcd_tls /dev/zero\n\t}\n}\n", "error", "3", "/dev/zero: it is not a regular file|etcd_tls"},
	"certificate of etcd is missing": {strings.Replace(usual, "database DIR/data", "etcd https://localhost:1", 1) + "\t\tetcd_tls DIR/none\n\t}\n}\n", "error", "3", "etcd_tls: open DIR/none|put the file there"},
	"password of etcd is no file":    {strings.Replace(usual, "database DIR/data", "etcd https://localhost:1", 1) + "\t\tetcd_credentials /dev/zero\n\t}\n}\n", "error", "3", "/dev/zero: it is not a regular file|etcd_credentials"},

	// Words of gsstsig.
	"property":                {"@\t\tdatabse /x\n\t}\n}\n", "error", "6", "unknown property \"databse\"; gsstsig knows |allow_rc4, clockskew, control, database"},
	"argument":                {"example.test:5399 {\n\tgsstsig example.test {\n\t}\n}\n", "error", "2", "takes no arguments"},
	"mode":                    {"@\t\tupdates maybe\n\t}\n}\n", "error", "6", "gsstsig: updates: unknown mode \"maybe\"; the modes are none, secure, nonsecure-and-secure"},
	"mode of another":         {"@\t\tupdates secure other.test\n\t}\n}\n", "error", "6", "other.test. is not a zone"},
	"rule without type":       {"@\t\tgrant EXAMPLE.TEST\n\t}\n}\n", "error", "6", "a rule is IDENTITY RULETYPE"},
	"rule type":               {"@\t\tgrant EXAMPLE.TEST ms-itself . A\n\t}\n}\n", "error", "6", "\"ms-itself\" is not a rule type; the types are 6to4-self"},
	"record type":             {"@\t\tgrant EXAMPLE.TEST ms-self . AA\n\t}\n}\n", "error", "6", "\"AA\" is not a record type"},
	"rule without name":       {"@\t\tgrant * name A\n\t}\n}\n", "error", "6", "the name is missing"},
	"SID of a domain":         {"@\t\tgrant sid:S-1-5-21-1-2-3 zonesub\n\t}\n}\n", "error", "6", "SID of a domain|number of the group"},
	"SID with letters":        {"@\t\tdeny sid:S-1-5-21-a-b-c-512 zonesub\n\t}\n}\n", "error", "6", "it is not a SID|Get-ADGroup"},
	"wildcard of a realm":     {"@\t\tgrant *@EXAMPLE.TEST zonesub\n\t}\n}\n", "error", "6", "matches no principal|krb5- or ms- rule"},
	"deny of owner":           {"@\t\tdeny * owner .\n\t}\n}\n", "error", "6", "owner only grants|another type"},
	"principal as realm":      {"@\t\trealm bob@EXAMPLE.TEST\n\t}\n}\n", "error", "6", "is a principal, not a realm|what follows the @"},
	"realm in small letters":  {"@\t\trealm example.test\n\t}\n}\n", "error", "-", "the case of realms matters|write realm EXAMPLE.TEST"},
	"principal not in keytab": {"@\t\tprincipal DNS/other.example.test\n\t}\n}\n", "error", "3", "is not in the keytab|export its key"},
	"limit":                   {"@\t\tlimit quue 5\n\t}\n}\n", "error", "6", "unknown limit \"quue\"; the names are"},
	"limit of words":          {"@\t\tlimit queue many\n\t}\n}\n", "error", "6", "a number of at least 1, not \"many\""},
	"limit of a few too many": {"@\t\tlimit source-errors 1099511627777\n\t}\n}\n", "error", "6", "1099511627777 is too large a number|at most 1099511627776"},
	"limit of the most":       {"@\t\tlimit source-errors 1099511627776\n\t}\n}\n", "ok", "-", "which the keytab has a key for"},
	"limit of too many":       {"@\t\tlimit queue 99999999999999999999\n\t}\n}\n", "error", "6", "99999999999999999999 is too large a number"},
	"time of too much":        {"@\t\tlifetime 400000d\n\t}\n}\n", "error", "6", "lifetime needs a time from 1s to 36500d|not \"400000d\""},
	"aging of too much":       {"@\t\taging 7d 9000000h\n\t}\n}\n", "error", "6", "\"9000000h\" is not a number of whole hours or days, from 1h to 36500d"},
	"time of weeks":           {"@\t\ttombstones 7w\n\t}\n}\n", "error", "6", "tombstones needs a time|not \"7w\""},
	"encryption type":         {"@\t\tenctypes aes512\n\t}\n}\n", "error", "6", "does not know \"aes512\"|name one of aes128"},
	"RC4":                     {"@\t\tenctypes rc4-hmac\n\t}\n}\n", "error", "6", "does not take|allow_rc4"},
	"realm of require_pac":    {"@\t\trequire_pac OTHER.TEST\n\t}\n}\n", "error", "3", "OTHER.TEST are not accepted|property realm"},
	"reclaim":                 {"@\t\treclaim sometimes\n\t}\n}\n", "error", "6", "the words are hosts, always, never"},
	"transit":                 {"@\t\ttransit yes\n\t}\n}\n", "error", "6", "transit needs check"},
	"transfers":               {"@\t\ttransfers anonymous\n\t}\n}\n", "error", "6", "it does not sign"},
	"proxies":                 {"@\t\tproxies sid:x\n\t}\n}\n", "error", "6", "starts with S-1-"},
	"variable":                {"@\t\tfile {$GSSTSIG_TEST_NOTHING}\n\t}\n}\n", "error", "6", "GSSTSIG_TEST_NOTHING, used in line 6, is not set"},

	// Rules that never decide.
	"principal without realm": {"@\t\tgrant bob zonesub ANY\n\t}\n}\n", "warning", "6", "never decides|bob@EXAMPLE.TEST"},
	"name of a group":         {"@\t\tgrant \"Domain Admins\" zonesub ANY\n\t}\n}\n", "warning", "6", "named by its SID"},
	"realm that is not there": {"@\t\tgrant OTHER.TEST ms-self . A\n\t}\n}\n", "warning", "6", "not accepted"},
	"name of another zone":    {"@\t\tgrant * name www A\n\t}\n}\n", "warning", "6", "write www.example.test."},
	"deny behind a grant":     {"@\t\tgrant * zonesub ANY\n\t\tdeny * name x.example.test\n\t}\n}\n", "warning", "7", "in front of it, decides"},
	"key of another name":     {"@\t\tgrant key2. zonesub\n\t}\n\ttsig {\n\t\tsecret key1. AAAA\n\t}\n}\n", "warning", "6", "no such key"},
}

// TestWrongCorefiles: for each mistake there is a finding that says where it is, what it is, and how to mend it. File and line
// stand there once.
func TestWrongCorefiles(t *testing.T) {
	keytab := krb5test.New(t, "EXAMPLE.TEST", "DNS/ns1.example.test").Keytab()
	for name, test := range wrongCorefiles {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range map[string]string{"empty": "", "text": "this is a text\n", "krb5": "[capaths\n x\n", "include": "$INCLUDE /dev/zero\n"} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			now := time.Now()
			writeCertificate(t, dir, "valid", now.Add(-time.Hour), now.AddDate(1, 0, 0))
			writeCertificate(t, dir, "expired", now.Add(-2*time.Hour), now.Add(-time.Hour))
			writeCertificate(t, dir, "early", now.Add(time.Hour), now.AddDate(1, 0, 0))
			writeCertificate(t, dir, "late", now.Add(-time.Hour), now.AddDate(0, 0, 7))
			fill := strings.NewReplacer("KEYTAB", keytab, "DIR", dir)
			conf := filepath.Join(dir, "Corefile")
			if err := os.WriteFile(conf, []byte(fill.Replace(strings.ReplaceAll(test.text, "@\t", usual+"\t"))), 0o600); err != nil {
				t.Fatal(err)
			}
			status, out, errs := run(t, "check", "-offline", "-o", "json", "-conf", conf)
			var findings []diagnose.Finding
			if err := json.Unmarshal([]byte(out), &findings); err != nil {
				t.Fatalf("%v\n%s%s", err, out, errs)
			}
			if (status == ExitNo) != (test.severity == diagnose.Error) {
				t.Errorf("exit status %d", status)
			}
			subject := conf
			if test.line != "" {
				subject += ":" + test.line
			}
			found := slices.ContainsFunc(findings, func(f diagnose.Finding) bool {
				said := !slices.ContainsFunc(strings.Split(test.says, "|"), func(words string) bool {
					return !strings.Contains(f.Problem+"\n"+f.Fix, fill.Replace(words))
				})
				return said && f.Severity == test.severity && (f.Subject == subject || test.line == "-")
			})
			if !found {
				t.Errorf("no finding at %s says %q:\n%s", subject, test.says, out)
			}
			position := regexp.MustCompile(regexp.QuoteMeta(conf) + `:\d+`)
			for _, f := range findings {
				if f.Severity != diagnose.OK && f.Fix == "" && !strings.Contains(f.Problem, "Failed to open") {
					t.Errorf("without a fix: %+v", f)
				}
				if f.Subject == "" || strings.Contains(f.Subject+f.Problem+f.Fix, "Error during parsing") ||
					position.MatchString(f.Subject) && strings.Contains(f.Problem, f.Subject) || strings.Contains(f.Problem, "Fix:") {
					t.Errorf("twice, or nowhere: %+v", f)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
				t.Error("check made the database")
			}
		})
	}
}

// writeCertificate writes NAME.pem and NAME.key.
func writeCertificate(t *testing.T, dir, name string, from, until time.Time) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: until}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: certificate}, name + ".key": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
