package admin

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
)

// TestConvertCorefile: a named.conf becomes a Corefile with zones, keytab and keys. What cannot be converted is named.
func TestConvertCorefile(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString([]byte("a secret of 32 octets, as it is."))
	conf := `options { tkey-gssapi-keytab "/etc/bind/dns.keytab"; directory "/var/cache/bind"; };
key "Ddns" { algorithm hmac-sha256; secret "` + secret + `"; };
zone "corp.example.com" { type primary; update-policy { grant CORP.EXAMPLE.COM ms-self . A AAAA; grant ddns zonesub ANY; }; };
zone "static.example.com" { type primary; };
zone "local.test" { update-policy local; };
zone "Corp.Example.com." { update-policy { grant * tcp-self . PTR; }; };
zone "2.0.192.in-addr.arpa" { update-policy { grant * tcp-self . PTR; }; };
`
	const want = `corp.example.com {
    gsstsig {
        keytab /etc/bind/dns.keytab
        database /var/lib/coredns
        grant CORP.EXAMPLE.COM ms-self . A AAAA
        grant ddns zonesub ANY
    }
    tsig {
        secret ddns. SECRET
    }
    errors
}
2.0.192.in-addr.arpa {
    gsstsig {
        keytab /etc/bind/dns.keytab
        database /var/lib/coredns
        grant * tcp-self . PTR
    }
    tsig {
        secret ddns. SECRET
    }
    errors
}
`
	status, out, err := run(t, "convert", "-corefile", writeFile(t, conf))
	if status != ExitNo || out != strings.ReplaceAll(want, "SECRET", secret) {
		t.Errorf("exit status %d:\n%s", status, out)
	}
	for _, words := range []string{"zone local.test is left out", "zone Corp.Example.com. is left out: it is in the file before"} {
		if !strings.Contains(err, words) {
			t.Errorf("%q is not in %q", words, err)
		}
	}
	servers, failure := corefile.ReadFile(writeFile(t, out))
	if failure != nil || len(servers) != 2 || len(servers[0].Block.Rules) != 2 || servers[1].Origins[0] != "2.0.192.in-addr.arpa." {
		t.Errorf("read again: %v, %+v", failure, servers)
	}

	status, out, err = run(t, "convert", "-corefile", writeFile(t, "zone a.test { update-policy { grant x zonesub; }; };"))
	if status != ExitOK || err != "" || !strings.Contains(out, "keytab "+convertedKeytab+"\n") || strings.Contains(out, "tsig {\n        secret") {
		t.Errorf("without keytab and keys: exit status %d:\n%s%s", status, out, err)
	}
	for name, test := range map[string]struct{ text, says string }{
		"rules alone":   {"grant x zonesub;", "needs the zone statement"},
		"a bad key":     {`key a { algorithm hmac-md5; secret "aGlkZGVu"; }; zone a { update-policy { grant x zonesub; }; };`, ":1: client: key a.: algorithm \"hmac-md5.\" is not supported. Fix: make a key for hmac-sha256"},
		"half a key":    {`key a { secret "aGlkZGVu"; }; zone a { update-policy { grant x zonesub; }; };`, "not of the form key NAME"},
		"no policy":     {"zone a { type primary; };", "no update-policy"},
		"open comment":  {"/*", "comment is not closed"},
		"a broken rule": {"zone a { update-policy { grant x nothing; }; };", "not a rule type"},
	} {
		status, out, err := run(t, "convert", "-corefile", writeFile(t, test.text))
		if status != ExitNo || out != "" || !strings.Contains(err, test.says) || strings.Contains(err, "aGlkZGVu") {
			t.Errorf("%s: exit status %d: %s%s", name, status, out, err)
		}
	}
}
