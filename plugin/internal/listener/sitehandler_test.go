package listener

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// realmOf makes the server that the next probe of that label registers, and returns what negotiates with it.
func realmOf(t *testing.T, label string) func(port, name string) (*dns.TKEY, provider) {
	t.Helper()
	host := label + ".example.org"
	server, keys := kerberosServer(t, host, time.Now)
	probeServers.Store(label, server)
	t.Cleanup(func() { probeServers.Delete(label) })
	return func(port, name string) (*dns.TKEY, provider) {
		t.Helper()
		client, token := initiate(t, host, keys)
		answer := ask(t, "tcp", local(port), tkeyQuery(name, dns.ClassANY, false, token))
		reply := answer.Answer[0].(*dns.TKEY)
		inner, err := hex.DecodeString(reply.Key)
		if err != nil {
			t.Fatal(err)
		}
		if reply.Error == 0 {
			if _, err := client.Init(inner); err != nil {
				t.Fatal(err)
			}
		}
		return reply, provider{client}
	}
}

func seedZone(t *testing.T, origin string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "db")
	text := "$ORIGIN " + origin + "\n@ 60 IN SOA ns hostmaster 1 60 60 60 60\n@ 60 IN NS ns\nns 60 IN A 127.0.0.1\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A client chooses the name of its context. It does not get that of a static key, and other blocks, where its principal
// has proven nothing, do not take it for one.
func TestContextIsNoKeyOfAnotherBlock(t *testing.T) {
	port := freePort(t)
	negotiate := realmOf(t, "one")
	start(t, fmt.Sprintf(`
		one.org:%[1]s {
			bind 127.0.0.1
			probe one
		}
		dyn.test:%[1]s sub.one.org:%[1]s {
			bind 127.0.0.1
			tsig {
				secret %[2]s %[3]s
				secret free.test. %[3]s
				require all
				require_opcode all
			}
			probe dyn
			file %[4]s sub.one.org
			transfer {
				to *
			}
		}`, port, keyName, keySecret, seedZone(t, "sub.one.org.")))

	for _, name := range []string{keyName, "KEY.Test."} {
		if reply, _ := negotiate(port, name); reply.Error != dns.RcodeBadName {
			t.Errorf("context for the name %s of a static key: TKEY error %d", name, reply.Error)
		}
	}
	reply, key := negotiate(port, "mine.test.")
	if reply.Error != 0 {
		t.Fatalf("TKEY error %d", reply.Error)
	}
	update := func() *dns.Msg {
		m := new(dns.Msg)
		m.SetUpdate("dyn.test.")
		return m
	}
	for what, m := range map[string]*dns.Msg{
		"update":                  update(),
		"query":                   query("x.dyn.test.", dns.TypeTXT),
		"transfer":                query("sub.one.org.", dns.TypeAXFR),
		"query in the child zone": query("ns.sub.one.org.", dns.TypeA),
		"mixed case":              query("NS.Sub.One.Org.", dns.TypeA),
	} {
		if got := signedBy(t, key, "tcp", port, "mine.test.", m); got.Rcode != dns.RcodeNotAuth || len(got.Answer) != 0 {
			t.Errorf("%s:\n%v", what, got)
		}
	}
	if got := signedBy(t, key, "tcp", port, "mine.test.", query("x.one.org.", dns.TypeTXT)); texts(got) != "one mine.test." {
		t.Errorf("in its own block:\n%v", got)
	}
	// CoreDNS asks the parent zone for DS.
	if got := signedBy(t, key, "tcp", port, "mine.test.", query("sub.one.org.", dns.TypeDS)); texts(got) != "one mine.test." {
		t.Errorf("DS:\n%v", got)
	}
	if got := ask(t, "tcp", local(port), signed(update())); got.Rcode != dns.RcodeSuccess {
		t.Errorf("update signed by the static key:\n%v", got)
	}
}

// tsig in the block of a context takes it, in each of the block's zones and views.
func TestContextIsAKeyOfItsBlock(t *testing.T) {
	port := freePort(t)
	outside, inside := realmOf(t, "outside"), realmOf(t, "inside")
	start(t, strings.NewReplacer("PORT", port, "TSIG", "tsig {\nsecret "+keyName+" "+keySecret+"\nrequire all\nrequire_opcode all\n}").Replace(`
		one.org:PORT two.org:PORT {
			bind 127.0.0.1
			view inside {
				expr name() startsWith 'in.'
			}
			TSIG
			probe inside
		}
		one.org:PORT two.org:PORT {
			bind 127.0.0.1
			TSIG
			probe outside
		}`))
	_, in := inside(port, "in.test.")
	_, out := outside(port, "out.test.")
	for _, zone := range []string{"one.org.", "two.org."} {
		for question, want := range map[string][2]string{
			"in." + zone:  {"inside in.test.", ""},
			"out." + zone: {"", "outside out.test."},
		} {
			for i, got := range []*dns.Msg{
				signedBy(t, in, "tcp", port, "in.test.", query(question, dns.TypeTXT)),
				signedBy(t, out, "tcp", port, "out.test.", query(question, dns.TypeTXT)),
			} {
				if texts(got) != want[i] || want[i] == "" && got.Rcode != dns.RcodeNotAuth {
					t.Errorf("%s by context %d:\n%v", question, i, got)
				}
			}
			if got := ask(t, "tcp", local(port), query(question, dns.TypeTXT)); got.Rcode != dns.RcodeRefused {
				t.Errorf("%s unsigned:\n%v", question, got)
			}
		}
		m := new(dns.Msg)
		m.SetUpdate(zone)
		if got := signedBy(t, out, "tcp", port, "out.test.", m); got.Rcode != dns.RcodeSuccess {
			t.Errorf("update of %s:\n%v", zone, got)
		}
	}
}

// A reload gives a static key the name of a context that is there already.
func TestContextGivesWayToAStaticKey(t *testing.T) {
	port := freePort(t)
	negotiate := realmOf(t, "one")
	corefile := fmt.Sprintf("one.org:%s {\nbind 127.0.0.1\nprobe one\n", port)
	r := start(t, corefile+"}")
	reply, key := negotiate(port, keyName)
	if reply.Error != 0 {
		t.Fatalf("TKEY error %d", reply.Error)
	}
	if got := signedBy(t, key, "tcp", port, keyName, query("x.one.org.", dns.TypeTXT)); texts(got) != "one "+keyName {
		t.Fatalf("got:\n%v", got)
	}
	if err := r.reload(corefile + tsigBlock + "}"); err != nil {
		t.Fatal(err)
	}
	m := query("x.one.org.", dns.TypeTXT)
	m.SetTsig(keyName, "gss-tsig.", 300, time.Now().Unix())
	c := dns.Client{Net: "tcp", TsigProvider: key, Timeout: 5 * time.Second}
	got, _, _ := c.Exchange(m, local(port)) // BADKEY is not signed
	if got == nil || got.Rcode != dns.RcodeNotAuth || got.IsTsig() == nil || got.IsTsig().Error != dns.RcodeBadKey {
		t.Errorf("got:\n%v", got)
	}
	if got := ask(t, "tcp", local(port), signed(query("x.one.org.", dns.TypeTXT))); texts(got) != "one "+keyName {
		t.Errorf("the static key:\n%v", got)
	}
}
