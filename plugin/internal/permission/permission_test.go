package permission

import (
	"os"
	"path/filepath"
	"slices"
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

// TestDecideWithoutSID: who asks about a machine of Active Directory need not know the SID that its names are recorded with. A
// ticket that names no account, and one with another SID, get nothing by that.
func TestDecideWithoutSID(t *testing.T) {
	const sid = "S-1-5-21-1-2-3-1104"
	z, err := zone.Open(zone.Config{
		Origin: "example.test.", Store: store.NewMemory(store.MemoryOptions{}),
		Seed: func() ([]store.Record, error) {
			return zone.ParseSeed(strings.NewReader("@ 300 SOA ns1 h 1 2 3 4 5\n@ 300 NS ns1\nns1 300 A 192.0.2.1\na 300 A 192.0.2.2\n"),
				zone.SeedConfig{Origin: "example.test.", File: "seed"})
		},
		Owners: []store.Owner{{Name: "\x01a\x07example\x04test\x00", Principal: "A$@EXAMPLE.TEST " + sid}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	realms := []string{"EXAMPLE.TEST", "example.test"}
	rules, err := policy.New(policy.Config{Realms: realms})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		who, name string
		change    func(id *policy.Identity)
		allow     bool
	}{
		{"a$@EXAMPLE.TEST", "A.example.test.", nil, true},
		{"A$@EXAMPLE.TEST", "_ssh._tcp.a.example.test.", nil, true},
		{"A$@EXAMPLE.TEST", "ns1.example.test.", nil, false},
		{"B$@EXAMPLE.TEST", "a.example.test.", nil, false},
		{"A$@example.test", "a.example.test.", nil, false},
		{"A$@EXAMPLE.TEST", "a.example.test.", func(id *policy.Identity) { id.RealmNamesAccounts = true }, false},
		{"A$@EXAMPLE.TEST", "a.example.test.", func(id *policy.Identity) { id.Account = "eve" }, false},
		{"A$@EXAMPLE.TEST", "b.example.test.", func(id *policy.Identity) { id.SID = "S-1-5-21-1-2-3-1105" }, true},
		{"key.", "a.example.test.", nil, false},
	} {
		id, err := Identity(test.who, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if test.change != nil {
			test.change(&id)
		}
		update, err := Change(test.name, "A", nil, false)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Decide(realms, rules, z, id, update)
		if err != nil || d.Allow != test.allow {
			t.Errorf("%s at %s: %+v, %v", test.who, test.name, d, err)
		}
		noted := slices.ContainsFunc(d.Notes, func(note string) bool { return strings.Contains(note, sid) })
		if want := test.allow && id.SID == ""; noted != want {
			t.Errorf("%s at %s: notes %q", test.who, test.name, d.Notes)
		}
	}
}

// TestDecideOfGroups: a question that names no group is answered for a client that is in none, and a note says where members of one
// that a rule names are decided on otherwise.
func TestDecideOfGroups(t *testing.T) {
	z, err := zone.Open(zone.Config{Origin: "example.test.", Store: store.NewMemory(store.MemoryOptions{}), Seed: func() ([]store.Record, error) {
		return zone.ParseSeed(strings.NewReader("@ 300 SOA ns1 h 1 2 3 4 5\n@ 300 NS ns1\nns1 300 A 192.0.2.1\n"), zone.SeedConfig{Origin: "example.test.", File: "seed"})
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var rules []policy.Rule
	for i, words := range []string{"a@EXAMPLE.TEST name first.example.test A", "sid:S-1-5-21-1-2-3-513 zonesub ANY", "sid:S-1-5-21-1-2-3-512 name late.example.test ANY", "EXAMPLE.TEST owner . A",
		"sid:S-1-5-21-1-2-3-512 name ns1.example.test ANY"} {
		r, err := policy.ParseRule(strings.Fields(words), "Corefile:7", i == 1)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, r)
	}
	decisions, err := policy.New(policy.Config{Realms: []string{"EXAMPLE.TEST"}, Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		who, name string
		groups    []string
		allow     bool
		note      string
	}{
		{"a@EXAMPLE.TEST", "first.example.test.", nil, true, ""},
		{"a@EXAMPLE.TEST", "late.example.test.", nil, true, "a member of S-1-5-21-1-2-3-513 may not, by \"Corefile:7: deny sid:S-1-5-21-1-2-3-513 zonesub ANY\""},
		{"a@EXAMPLE.TEST", "ns1.example.test.", nil, false, "a member of S-1-5-21-1-2-3-512 may, by \"Corefile:7: grant sid:S-1-5-21-1-2-3-512 name ns1"},
		{"a@EXAMPLE.TEST", "late.example.test.", []string{"S-1-5-21-1-2-3-513"}, false, ""},
		{"key.", "late.example.test.", nil, false, ""},
	} {
		id, err := Identity(test.who, "", test.groups)
		if err != nil {
			t.Fatal(err)
		}
		update, err := Change(test.name, "A", nil, false)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Decide([]string{"EXAMPLE.TEST"}, decisions, z, id, update)
		if err != nil || d.Allow != test.allow {
			t.Errorf("%s at %s: %+v, %v", test.who, test.name, d, err)
		}
		if notes := strings.Join(d.Notes, "\n"); !strings.Contains(notes, test.note) || (notes == "") != (test.note == "") {
			t.Errorf("%s at %s: notes %q", test.who, test.name, notes)
		}
	}
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
