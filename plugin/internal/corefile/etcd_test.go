package corefile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// readBlock reads a Corefile of one gsstsig block with these lines after the keytab, which is in line 3.
func readBlock(t *testing.T, lines ...string) (*Block, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "Corefile")
	text := "example.test {\ngsstsig {\nkeytab dns.keytab\n" + strings.Join(lines, "\n") + "\n}\n}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	servers, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	return servers[0].Block, nil
}

// TestEtcd reads what a block says of etcd, and names the line and the fix where it is wrong.
func TestEtcd(t *testing.T) {
	const one = "etcd https://10.0.0.1:2379"
	for name, test := range map[string]struct {
		lines []string
		want  string // in the error; empty if there is none
	}{
		"one member":            {[]string{one}, ""},
		"by address and name":   {[]string{"etcd https://10.0.0.1:2379 https://[2001:db8::1]:2379 https://etcd3.example.test:2379/"}, ""},
		"everything":            {[]string{"etcd_prefix /dns", one, "etcd_tls a.crt a.key ca.crt", "etcd_credentials etcd.user", "etcd_server ns1"}, ""},
		"authority alone":       {[]string{one, "etcd_tls ca.crt"}, ""},
		"plain":                 {[]string{"etcd http://127.0.0.1:2379"}, ""},
		"no member":             {[]string{"etcd"}, ":4 - Error during parsing: etcd needs the URLs"},
		"no URL":                {[]string{"etcd 10.0.0.1:2379"}, "etcd: "},
		"another scheme":        {[]string{"etcd unix:///run/etcd.sock"}, `"unix:///run/etcd.sock" has neither https:// nor http://`},
		"no port":               {[]string{"etcd https://10.0.0.1"}, "needs a host and a port"},
		"a path":                {[]string{"etcd https://10.0.0.1:2379/v3"}, "has more than a host and a port"},
		"a password":            {[]string{"etcd https://root:secret@10.0.0.1:2379"}, "the file of etcd_credentials"},
		"a password, no URL":    {[]string{"etcd https://root:secret%zz@10.0.0.1:2379"}, `"10.0.0.1:2379" is not a URL`},
		"a password, no scheme": {[]string{"etcd root:secret@10.0.0.1:2379"}, `"10.0.0.1:2379" has neither https:// nor http://`},
		"mixed":                 {[]string{one + " http://10.0.0.2:2379"}, "Fix: use https for all"},
		"too many":              {[]string{"etcd" + strings.Repeat(" https://10.0.0.1:2379", 17)}, "17 members, of at most 16"},
		"twice":                 {[]string{one, one}, "etcd is given twice"},
		"and database":          {[]string{"database zones", one}, ":5 - Error during parsing: etcd and database exclude each other"},
		"database and":          {[]string{one, "database zones"}, ":5 - Error during parsing: database and etcd exclude each other"},
		"prefix without slash":  {[]string{one, "etcd_prefix dns"}, "etcd_prefix needs"},
		"prefix of everything":  {[]string{one, "etcd_prefix /"}, "etcd_prefix needs"},
		"prefix alone":          {[]string{"etcd_prefix /dns/"}, ":4 - Error during parsing: etcd_prefix has no effect without etcd. Fix: "},
		"server alone":          {[]string{"database zones", "etcd_server ns1"}, ":5 - Error during parsing: etcd_server has no effect"},
		"TLS to plain":          {[]string{"etcd_tls ca.crt", "etcd http://10.0.0.1:2379"}, ":4 - Error during parsing: etcd_tls has no effect on the endpoint http://10.0.0.1:2379"},
		"TLS without authority": {[]string{one, "etcd_tls a.crt a.key"}, "etcd_tls CERT KEY CA"},
		"no credentials":        {[]string{one, "etcd_credentials"}, "first line"},
		"server of two words":   {[]string{one, "etcd_server ns1 ns2"}, "etcd_server needs one name"},
		"server with a slash":   {[]string{one, "etcd_server ns/1"}, "etcd_server needs one name"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := readBlock(t, test.lines...)
			switch {
			case test.want == "" && (err != nil || !b.OnEtcd()):
				t.Errorf("error %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want one with %q", err, test.want)
			case test.want != "" && strings.Contains(err.Error(), "secret"):
				t.Errorf("error %v tells a password", err)
			}
		})
	}
}

// TestEtcdKey: one connection serves blocks that say the same in another order, and no others.
func TestEtcdKey(t *testing.T) {
	read := func(lines ...string) *Etcd {
		b, err := readBlock(t, lines...)
		if err != nil {
			t.Fatal(err)
		}
		return &b.Etcd
	}
	first := read("etcd https://a.test:2379 https://b.test:2379", "etcd_tls ca.crt")
	if read("etcd_tls ca.crt", "etcd_prefix /gsstsig", "etcd https://b.test:2379/ https://a.test:2379 https://a.test:2379").Key() != first.Key() {
		t.Error("the order and the default prefix make a difference")
	}
	for _, other := range []*Etcd{
		read("etcd https://a.test:2379", "etcd_tls ca.crt"),
		read("etcd https://a.test:2379 https://b.test:2379"),
		read("etcd https://a.test:2379 https://b.test:2379", "etcd_tls ca.crt", "etcd_prefix /other/"),
		read("etcd https://a.test:2379 https://b.test:2379", "etcd_tls ca.crt", "etcd_credentials user"),
		read("etcd https://a.test:2379 https://b.test:2379", "etcd_tls ca.crt", "etcd_server ns1"),
	} {
		if first.Key() == other.Key() {
			t.Errorf("%v is taken for %v", other, first)
		}
	}
}
