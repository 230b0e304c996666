package extrablock

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
)

// block is the server block that is added, with its properties before gsstsig.
func block(key, bind string) string {
	return "\n" + key + " {\n" + bind + "\tgsstsig {\n\t\tkeytab /dns.keytab\n\t}\n}\n"
}

func TestAdd(t *testing.T) {
	zone0, zone1 := "0."+Zone, "1."+Zone
	tests := map[string]struct {
		corefile string
		added    []string
	}{
		"default port":       {". {\n}", []string{block(zone0, "")}},
		"a port":             {"example.org:1053 {\n}", []string{block(zone0+":1053", "")}},
		"any port":           {".:0 {\nwhoami\n}", []string{block(zone0+":0", "")}},
		"scheme":             {"dns://.:1053 {\n}", []string{block(zone0+":1053", "")}},
		"address range":      {"10.0.0.0/22:1053 {\n}", []string{block(zone0+":1053", "")}},
		"blocks on one port": {"a.test:0 {\n}\nb.test:0 {\n}", []string{block(zone0+":0", "")}},
		"several ports":      {"a.test:1053 b.test:1054 {\n}\nc.test:1053 {\n}", []string{block(zone0+":1053", ""), block(zone1+":1054", "")}},
		"other transports":   {"tls://.:1 https://.:2 https3://.:3 grpc://.:4 quic://.:5 {\n}", nil},
		"mixed transports":   {"tls://.:1853 .:1053 {\n}", []string{block(zone0+":1053", "")}},
		"bind":               {".:0 {\nbind 127.0.0.1 ::1\nwhoami\n}", []string{block(zone0+":0", "\tbind 127.0.0.1 ::1\n")}},
		"bind twice":         {".:0 {\nbind 127.0.0.1\nbind ::1\n}", []string{block(zone0+":0", "\tbind 127.0.0.1\n\tbind ::1\n")}},
		"bind except":        {".:0 {\nbind lo {\nexcept ::1\n}\n}", []string{block(zone0+":0", "\tbind lo {\n\texcept ::1\n\t}\n")}},
		"bind and none":      {"a.test:53 {\nbind 127.0.0.1\n}\nb.test:53 {\n}", []string{block(zone0+":53", "\tbind 127.0.0.1\n"), block(zone1+":53", "")}},
		"snippet":            {"(local) {\nbind 127.0.0.1\n}\n.:0 {\nimport local\n}", []string{block(zone0+":0", "\tbind 127.0.0.1\n")}},
		"comment at the end": {".:0 {\n} # that is all", []string{block(zone0+":0", "")}},
		"empty":              {"", nil},
		"no braces":          {".:0\nwhoami", nil},
		"not closed":         {".:0 {\nwhoami", nil},
		"broken address":     {".:port:0 {\n}", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			result, added := Add(test.corefile, "/dns.keytab")
			if want := test.corefile + strings.Join(test.added, ""); result != want {
				t.Errorf("the Corefile became\n%s\nwant\n%s", result, want)
			}
			if added != len(test.added) {
				t.Errorf("%d blocks added, want %d", added, len(test.added))
			}
		})
	}
}

func TestQuoted(t *testing.T) {
	for token, want := range map[string]string{
		"lo": "lo", "": `""`, "two words": `"two words"`, `a"b`: `"a\"b"`, "#1": `"#1"`,
	} {
		if got := quoted(token); got != want {
			t.Errorf("%q became %s, want %s", token, got, want)
		}
	}
}

func TestRecord(t *testing.T) {
	record := filepath.Join(t.TempDir(), "record")
	if seen, extended, err := Recorded(record); seen != 0 || extended != 0 || err != nil {
		t.Errorf("%d seen, %d extended, error %v; want nothing before the first", seen, extended, err)
	}
	for _, corefile := range []string{".:0 {\n}", "a.test:1 b.test:2 {\n}", "tls://.:0 {\n}"} {
		want, _ := Add(corefile, "/dns.keytab")
		if got := AddAndRecord(corefile, "/dns.keytab", record); got != want {
			t.Errorf("%q became %q, want %q", corefile, got, want)
		}
	}
	seen, extended, err := Recorded(record)
	if seen != 3 || extended != 2 || err != nil {
		t.Errorf("%d seen, %d extended, error %v; want 3, 2 and none", seen, extended, err)
	}
}

// TestDirective wants gsstsig once, and right in front of transfer, which takes its zones from it.
func TestDirective(t *testing.T) {
	if all := strings.Join(dnsserver.Directives, " "); strings.Count(all+" ", "gsstsig ") != 1 || !strings.Contains(all, " gsstsig transfer ") {
		t.Errorf("the order is %s", all)
	}
}
