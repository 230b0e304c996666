package admin

import (
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const (
	transferKey    = "transfer.example."
	transferSecret = "a secret of 32 octets, as it is."
)

// transferred is the zone of the primary server in these tests: signed, and with a record that is outside of it.
var transferred = []string{
	"example.test. 300 IN SOA old.example.test. hostmaster.example.test. 41 900 600 86400 300",
	"example.test. 300 IN NS old.example.test.",
	"example.test. 300 IN DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==",
	"old.example.test. 300 IN A 192.0.2.53",
	"Host.example.test. 300 IN A 192.0.2.7",
	"host.example.test. 300 IN TYPE65280 \\# 2 0102",
	"outside.test. 300 IN A 192.0.2.8",
	"old.example.test. 300 IN NSEC example.test. A NSEC",
	"example.test. 300 IN SOA old.example.test. hostmaster.example.test. 41 900 600 86400 300",
}

// primary is a server that gives its zone away, unless it must be asked with the key.
func primary(t *testing.T, keyed bool) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var zone []dns.RR
	for _, line := range transferred {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		zone = append(zone, rr)
	}
	s := &dns.Server{Listener: listener, TsigSecret: map[string]string{transferKey: base64.StdEncoding.EncodeToString([]byte(transferSecret))}}
	s.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetReply(r)
		signed := r.IsTsig() != nil && w.TsigStatus() == nil
		if keyed && !signed {
			m.Rcode = dns.RcodeRefused
			_ = w.WriteMsg(m)
			return
		}
		for _, rr := range zone {
			m.Answer = []dns.RR{rr}
			if signed {
				m.SetTsig(transferKey, dns.HmacSHA256, 300, int64(r.IsTsig().TimeSigned)) // WriteMsg takes it away again
			}
			if w.WriteMsg(m) != nil {
				return // the client refuses the transfer
			}
			w.TsigTimersOnly(true)
		}
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.ActivateAndServe()
	}()
	t.Cleanup(func() { _ = s.Shutdown(); <-done })
	return listener.Addr().String()
}

func keyFile(t *testing.T, statement string) string {
	t.Helper()
	return writeFile(t, fmt.Sprintf(statement, base64.StdEncoding.EncodeToString([]byte(transferSecret))))
}

const keyStatementText = "# made by tsig-keygen\nkey \"transfer.example\" {\n\talgorithm hmac-sha256;\n\tsecret \"%s\";\n};\n"

// TestLoadFromServer: load takes a zone from a server that has it. What it takes is as from a master file.
func TestLoadFromServer(t *testing.T) {
	open, closed := primary(t, false), primary(t, true)
	for name, args := range map[string][]string{
		"unsigned": {"axfr://" + open},
		"signed":   {"-key", keyFile(t, keyStatementText), "axfr://" + closed + "/"},
		// It answers signed requests alike.
		"signed, though not needed": {"-key", keyFile(t, keyStatementText), "axfr://" + open},
	} {
		t.Run(name, func(t *testing.T) {
			directory := t.TempDir()
			status, out, err := run(t, append([]string{"load", "-database", directory, "-owners", "krb5:EXAMPLE.TEST", "-served", "50",
				"-primary", "ns1.example.test", "example.test"}, args...)...)
			if status != ExitOK || !strings.Contains(out, "zone example.test.: 6 records, serial 51") {
				t.Fatalf("exit status %d: %s%s", status, out, err)
			}
			for _, words := range []string{"2 records of a signed zone", "1 record outside the zone is left out, the first of them at outside.test."} {
				if !strings.Contains(err, words) {
					t.Errorf("%q is not in %q", words, err)
				}
			}
			_, dumped, _ := run(t, "dump", "-database", directory, "example.test")
			for _, line := range []string{
				"example.test. 300 IN SOA ns1.example.test. hostmaster.example.test. 51 900 600 86400 300",
				"example.test. 300 IN NS old.example.test.", "example.test. 300 IN NS ns1.example.test.",
				"old.example.test. 300 IN A 192.0.2.53", "Host.example.test. 300 IN A 192.0.2.7", `Host.example.test. 300 IN TYPE65280 \# 2 0102`,
				";gsstsig: owner host.example.test. host/host.example.test@EXAMPLE.TEST",
			} {
				if !strings.Contains(dumped, line+"\n") {
					t.Errorf("%q is not in\n%s", line, dumped)
				}
			}
		})
	}
}

// TestReplaceNS: with -replace-ns the new primary server is the only name server of the zone.
func TestReplaceNS(t *testing.T) {
	directory := t.TempDir()
	status, out, err := run(t, "load", "-database", directory, "-primary", "ns1.example.test", "-replace-ns", "example.test", "axfr://"+primary(t, false))
	if status != ExitOK || !strings.Contains(out, "5 records") {
		t.Fatalf("exit status %d: %s%s", status, out, err)
	}
	_, dumped, _ := run(t, "dump", "-database", directory, "example.test")
	if strings.Count(dumped, " IN NS ") != 1 || !strings.Contains(dumped, "example.test. 300 IN NS ns1.example.test.\n") {
		t.Errorf("dumped:\n%s", dumped)
	}
	// One that is there already stays.
	again := t.TempDir()
	if status, out, err := run(t, "load", "-database", again, "-primary", "OLD.example.test", "example.test", "axfr://"+primary(t, false)); status != ExitOK || !strings.Contains(out, "5 records") {
		t.Errorf("exit status %d: %s%s", status, out, err)
	}
}

// TestLoadFromServerRefuses: what is wrong is named, and no database is made.
func TestLoadFromServerRefuses(t *testing.T) {
	open, closed := primary(t, false), primary(t, true)
	for name, test := range map[string]struct {
		args   []string
		status int
		says   []string
	}{
		"without the key": {[]string{"axfr://" + closed}, ExitNo, []string{"axfr://" + closed + ": the server answers REFUSED", "Fix: permit the transfer"}},
		"another secret": {[]string{"-key", writeFile(t, `key transfer.example { algorithm hmac-sha256; secret "AAAA"; };`), "axfr://" + closed},
			ExitNo, []string{"axfr://" + closed + ": "}},
		"nobody there":     {[]string{"axfr://127.0.0.1:1"}, ExitNo, []string{"axfr://127.0.0.1:1: ", "refused"}},
		"no host":          {[]string{"axfr:///"}, ExitUsage, []string{"not of the form axfr://HOST[:PORT]"}},
		"a path":           {[]string{"axfr://" + open + "/x"}, ExitUsage, []string{"not of the form"}},
		"no such key file": {[]string{"-key", "/nonexistent/key", "axfr://" + open}, ExitNo, []string{"/nonexistent/key"}},
		"key and Kerberos": {[]string{"-key", "k", "-gss", "axfr://" + open}, ExitUsage, []string{"exclude each other"}},
		"two credentials":  {[]string{"-ccache", "c", "-keytab", "k", "-principal", "p", "axfr://" + open}, ExitUsage, []string{"exclude each other"}},
		"half a keytab":    {[]string{"-keytab", "k", "axfr://" + open}, ExitUsage, []string{"belong together"}},
		"a file":           {[]string{"-key", "k", writeFile(t, master)}, ExitUsage, []string{"not for a FILE"}},
		"an address":       {[]string{"-gss", "axfr://" + open}, ExitNo, []string{"not by its address", "Fix: write the server's host name, or name its principal by -service DNS/HOST"}},
		"no ticket":        {[]string{"-ccache", "/nonexistent/cache", "-krb5conf", writeFile(t, "[libdefaults]\n"), "-service", "DNS/x.test", "axfr://" + open}, ExitNo, []string{"/nonexistent/cache", "Fix: get a ticket by kinit"}},
		"LDAP by a key":    {[]string{"-key", "k", "ldap://dc1.corp.test"}, ExitUsage, []string{"-key is for axfr"}},
		"LDAP, no host":    {[]string{"ldap:///DC=corp"}, ExitUsage, []string{"ldap://HOST[:PORT][/DN]"}},
		"LDAP, an address": {[]string{"ldap://127.0.0.1:1"}, ExitNo, []string{"ldap://127.0.0.1:1: 127.0.0.1: Kerberos knows the server by its name", "-service ldap/HOST"}},
		"no krb5.conf":     {[]string{"-ccache", "/nonexistent/cache", "-krb5conf", "/nonexistent/krb5.conf", "ldap://dc1.corp.test"}, ExitNo, []string{"/nonexistent/krb5.conf", "Fix: name the krb5.conf"}},
		"LDAP, no ticket":  {[]string{"-ccache", "/nonexistent/cache", "-krb5conf", writeFile(t, "[libdefaults]\n"), "ldap://dc1.corp.test"}, ExitNo, []string{"/nonexistent/cache", "Fix: get a ticket by kinit"}},
		"no primary":       {[]string{"-replace-ns", "axfr://" + open}, ExitUsage, []string{"-replace-ns needs -primary"}},
		"a bad primary":    {[]string{"-primary", "a..b", "axfr://" + open}, ExitNo, []string{`primary server "a..b"`}},
	} {
		directory := t.TempDir()
		status, out, err := run(t, append([]string{"load", "-database", directory, "example.test"}, test.args...)...)
		if status != test.status {
			t.Errorf("%s: exit status %d: %s%s", name, status, out, err)
		}
		for _, words := range test.says {
			if !strings.Contains(err, words) {
				t.Errorf("%s: %q is not in %q", name, words, err)
			}
		}
		if status, _, _ := run(t, "dump", "-database", directory, "example.test"); status != ExitNo {
			t.Errorf("%s: there is a database", name)
		}
	}
	if status, _, err := run(t, "load", "-database", t.TempDir(), "other.test", "axfr://"+open); status != ExitNo || !strings.Contains(err, "the zone does not begin with its SOA record") {
		t.Errorf("another zone: exit status %d: %s", status, err)
	}
}

// TestKeyFiles: a key statement is read in BIND's forms, and nothing of a wrong file is printed.
func TestKeyFiles(t *testing.T) {
	for name, statement := range map[string]string{
		"as tsig-keygen prints it": keyStatementText,
		"in one line":              `key transfer.example. { secret %s; algorithm "HMAC-SHA256"; };`,
		"among others":             "options { key-directory \"key\"; };\n// a comment\n" + keyStatementText + `server 192.0.2.1 { keys { transfer.example; }; };`,
	} {
		key, err := readKeyFile(keyFile(t, statement))
		if err != nil || key.Name() != transferKey {
			t.Errorf("%s: %v", name, err)
		}
	}
	const hidden = "aGlkZGVu"
	for name, test := range map[string]struct{ text, says string }{
		"nothing":        {"", "has 0 key statements"},
		"two keys":       {`key a { algorithm hmac-sha256; secret ` + hidden + `; }; key b { algorithm hmac-sha256; secret ` + hidden + `; };`, "has 2 key statements"},
		"no algorithm":   {`key a { secret "` + hidden + `"; };`, "not of the form"},
		"no secret":      {`key a { algorithm hmac-sha256; };`, "not of the form"},
		"another clause": {`key a { algorithm hmac-sha256; secret ` + hidden + `; other x; };`, "not of the form"},
		"no semicolon":   {`key a { algorithm hmac-sha256; secret ` + hidden + ` };`, "not of the form"},
		"no end":         {"\nkey a { algorithm hmac-sha256; secret " + hidden + `; }`, ":2: not of the form"},
		"no base64":      {`key a { algorithm hmac-sha256; secret "!` + hidden + `"; };`, "is not base64"},
		"MD5":            {`key a { algorithm hmac-md5; secret ` + hidden + `; };`, "is not supported"},
		"cut off":        {`key a {`, "not of the form"},
		"far too long":   {strings.Repeat("#", maxKeyFile+1), "more than"},
	} {
		_, err := readKeyFile(writeFile(t, test.text))
		if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), hidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
