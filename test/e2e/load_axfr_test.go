//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/test/named"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// TestLoadFromBIND takes a zone of several messages from a running BIND: without a signature, signed with the key that
// tsig-keygen made, and signed by GSS-TSIG. What is loaded is then served, and is what BIND serves.
func TestLoadFromBIND(t *testing.T) {
	t.Parallel()
	if err := process.Require("tsig-keygen"); err != nil {
		t.Fatal(err)
	}
	config, err := shared.realm.Config()
	if err != nil {
		t.Fatal(err)
	}
	statement, err := exec.Command("tsig-keygen", "-a", "hmac-sha256", "transfer.example").Output()
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(t.TempDir(), "transfer.key")
	if err := os.WriteFile(keyFile, statement, 0o600); err != nil {
		t.Fatal(err)
	}
	_, secret, _ := strings.Cut(string(statement), `secret "`)
	secret, _, _ = strings.Cut(secret, `"`)
	zone := largeSeed(5000) + `unknown IN TYPE65280 \# 4 c0000201
*.Wild IN TXT "a \"quoted\" string" second
_srv._tcp IN SRV 0 5 53 ns1
alias IN CNAME ns1
Sub IN NS ns.sub
ns.sub IN A 192.0.2.9
sub IN DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000001
`
	bind := startNamed(t, named.Config{
		Keytab: shared.keytabs, Krb5Config: config, Keys: map[string]string{"transfer.example": secret},
		Zones: []named.Zone{
			{Name: forwardZone, Text: zone, Statement: "allow-transfer { any; };"},
			{Name: "hmac.test", Text: seed("ns1.example.test"), Statement: `allow-transfer { key transfer.example; };`},
			{Name: "gss.test", Text: seed("ns1.example.test"), Statement: fmt.Sprintf(`allow-transfer { key "%s\@%s"; };`, host1, realmName)},
		},
	})
	source := "axfr://" + bind.Address.String()
	cache := logIn(t, host1).cache
	gss := []string{"-ccache", cache, "-service", "DNS/ns1.example.test"}
	hmac := []string{"-key", keyFile}
	keytab, err := shared.realm.Keytab(filepath.Join(t.TempDir(), "client.keytab"), host1)
	if err != nil {
		t.Fatal(err)
	}
	byKeytab := []string{"-keytab", keytab, "-principal", host1, "-service", "DNS/ns1.example.test"}

	want, serial := transferred(t, bind.Address, forwardZone)
	for name, sign := range map[string][]string{"unsigned": nil, "HMAC": hmac, "GSS-TSIG": gss, "GSS-TSIG by keytab": byKeytab} {
		t.Run(name, func(t *testing.T) {
			directory := t.TempDir()
			output, status := command(t, directory, slices.Concat([]string{"load", "-database", directory}, sign, []string{forwardZone, source})...)
			if said := fmt.Sprintf("zone %s.: %d records, serial %d, ", forwardZone, len(want), serial+1); status != 0 || !strings.Contains(output, said) {
				t.Fatalf("exit status %d: %s\nwant %s", status, output, said)
			}
			s := startBlock(t, forwardZone, []string{"database " + directory}, []string{"transfer {\n        to *\n    }"}, nil)
			got, gotSerial := transferred(t, s.Address, forwardZone)
			if gotSerial != serial+1 {
				t.Errorf("serial %d, want %d", gotSerial, serial+1)
			}
			notSOA := func(lines []string) []string {
				return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return strings.Contains(line, "\tsoa\t") })
			}
			if got, want := notSOA(got), notSOA(want); !slices.Equal(got, want) {
				t.Errorf("%d records are served, BIND serves %d", len(got), len(want))
			}
		})
	}

	for _, test := range []struct {
		zone   string
		sign   []string
		status int
		says   string
	}{
		{"hmac.test", hmac, 0, "2 records"},
		{"hmac.test", nil, 1, "the server answers REFUSED. Fix: permit the transfer at the server"},
		{"hmac.test", gss, 1, "REFUSED"},
		{"gss.test", gss, 0, "2 records"},
		{"gss.test", hmac, 1, "REFUSED"},
		{"none.test", nil, 1, "the server answers NOTAUTH"},
	} {
		directory := t.TempDir()
		output, status := command(t, directory, slices.Concat([]string{"load", "-database", directory}, test.sign, []string{test.zone, source})...)
		if status != test.status || !strings.Contains(output, test.says) {
			t.Errorf("%s %q: exit status %d: %s", test.zone, test.sign, status, output)
		}
	}
}

// TestLoadFromCoreDNS takes a zone from a server of this kind, which signs by GSS-TSIG too.
func TestLoadFromCoreDNS(t *testing.T) {
	t.Parallel()
	s := startCoreDNS(t, server.Config{Corefile: blockOf(forwardZone, []string{"file db"}, []string{"transfer {\n        to *\n    }"}),
		Files: map[string]string{"db": largeSeed(5000)}, Probe: forwardZone})
	directory := t.TempDir()
	output, status := command(t, directory, "load", "-database", directory, "-ccache", logIn(t, host1).cache, "-service", "DNS/ns1.example.test",
		forwardZone, "axfr://"+s.Address.String())
	if status != 0 || !strings.Contains(output, "5003 records") {
		t.Errorf("exit status %d: %s", status, output)
	}
}
