package permission

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// TestIdentity: a principal needs its realm, and other senders have a form of their own.
func TestIdentity(t *testing.T) {
	for word, kind := range map[string]policy.Kind{
		"anonymous": policy.Anonymous, "Key1.": policy.Static, "a@EXAMPLE.TEST": policy.Kerberos, "host/a.example.test@EXAMPLE.TEST": policy.Kerberos,
	} {
		if id, err := Identity(word, "", nil); err != nil || id.Kind != kind {
			t.Errorf("%s: %+v, %v", word, id, err)
		}
	}
	for word, says := range map[string]string{"a": "needs its realm: a@REALM", "host/a.example.test": "needs its realm", "a@": "principal", "": "principal"} {
		if _, err := Identity(word, "", nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", word, err)
		}
	}
	if _, err := Identity("anonymous", "localhost", nil); err == nil || !strings.Contains(err.Error(), "is not an IP address") {
		t.Errorf("client: %v", err)
	}
}

// TestDecide: the realms of the handshake come first, then the rules, and what these permit a frozen zone refuses.
func TestDecide(t *testing.T) {
	z, err := zone.Open(zone.Config{Origin: "example.test.", Store: store.NewMemory(store.MemoryOptions{}), Seed: func() ([]store.Record, error) {
		return zone.ParseSeed(strings.NewReader("@ 300 SOA ns1 h 1 2 3 4 5\n@ 300 NS ns1\nns1 300 A 192.0.2.1\n"), zone.SeedConfig{Origin: "example.test.", File: "seed"})
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	rules, err := policy.New(policy.Config{Realms: []string{"EXAMPLE.TEST", "PARTNER.TEST"}})
	if err != nil {
		t.Fatal(err)
	}
	decide := func(who, name string) zone.Decision {
		t.Helper()
		id, err := Identity(who, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		update, err := Change(name, "A", nil, false)
		if err != nil {
			t.Fatal(err)
		}
		// The rules would permit what the handshake does not.
		d, err := Decide([]string{"EXAMPLE.TEST"}, rules, z, id, update)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	cases := func(permitted string) {
		t.Helper()
		for _, test := range []struct{ who, name, cause string }{
			{"a@EXAMPLE.TEST", "a.example.test.", permitted},
			{"a@EXAMPLE.TEST", "ns1.example.test.", policy.CauseProtected},
			{"a@PARTNER.TEST", "a.example.test.", causeRealm},
			{"anonymous", "a.example.test.", policy.CauseUnsigned},
		} {
			if d := decide(test.who, test.name); d.Cause != test.cause || d.Allow != (test.cause == "") {
				t.Errorf("%s at %s: %+v, want cause %q", test.who, test.name, d, test.cause)
			}
		}
	}
	cases("")
	if _, err := z.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	cases(zone.CauseFrozen)
}

// The status page asks with what its visitors type: nothing of it may open a file or add a record.
func TestChangeReadsOneRecordAndNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("octets-of-the-file 300 IN A 192.0.2.9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, q := range []struct{ name, data string }{
		{"$INCLUDE " + path + "\nx.example.test.", "192.0.2.1"},
		{"$INCLUDE " + path + " ;", "192.0.2.1"},
		{"$GENERATE 1-9 x$ A 192.0.2.$\n", "192.0.2.1"},
		{"a.example.test.", "192.0.2.1\n$INCLUDE " + path},
		{"a.example.test.", "\n$INCLUDE " + path},
		{"a.example.test.", "192.0.2.1\nb.example.test. A 192.0.2.2"},
		{"a.example.test.", "192.0.2.1 ; \n b.example.test. A 192.0.2.2"},
	} {
		records, err := Change(q.name, "A", []string{q.data}, false)
		text := ""
		for _, r := range records {
			text += r.String()
		}
		if err != nil {
			text += err.Error()
		}
		if strings.Contains(text, "octets-of-the-file") || strings.Contains(text, "192.0.2.9") {
			t.Errorf("%q %q: the file was read: %s", q.name, q.data, text)
		}
		if err == nil && !strings.HasPrefix(records[0].Header().Name, `\$`) && !strings.HasPrefix(records[0].Header().Name, "$") {
			t.Errorf("%q %q: %v, want an error", q.name, q.data, records)
		}
	}
	for _, name := range []string{"a.example.test", "A.example.test.", `a\032b.example.test.`} {
		if records, err := Change(name, "A", nil, false); err != nil || len(records) != 1 {
			t.Errorf("%s: %v, %v", name, records, err)
		}
		if records, err := Change(name, "A", nil, true); err != nil || len(records) != 1 {
			t.Errorf("deletion of %s: %v, %v", name, records, err)
		}
	}
}
