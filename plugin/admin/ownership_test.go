package admin

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

const unownedZone = `$ORIGIN corp.test.
@ 300 SOA ns1 hostmaster 1 3600 600 86400 60
@ 300 NS ns1
ns1 300 A 192.0.2.53
client1 300 A 192.0.2.1
AveryLongHostname01 300 AAAA 2001:db8::1
pc.lab 300 A 192.0.2.2
www 300 CNAME client1
_ssh._tcp 300 SRV 0 0 22 client1
sub 300 NS ns.sub
ns.sub 300 A 192.0.2.54
1.rev 300 PTR client1
2.rev 300 PTR averylonghostname01
3.rev 300 PTR client1
3.rev 300 PTR www
4.rev 300 PTR client1
4.rev 300 TXT x
5.rev 300 PTR x.other.test.
`

// loadedOwners loads the zone with some flags, and returns the owners that a dump has.
func loadedOwners(t *testing.T, flags ...string) map[string]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(file, []byte(unownedZone), 0o600); err != nil {
		t.Fatal(err)
	}
	database := t.TempDir()
	arguments := append(append([]string{"load", "-database", database}, flags...), "corp.test", file)
	if status, _, err := run(t, arguments...); status != ExitOK {
		t.Fatal(err)
	}
	status, out, err := run(t, "dump", "-database", database, "-o", "json", "corp.test")
	if status != ExitOK {
		t.Fatal(err)
	}
	var dump dumpJSON
	if err := json.Unmarshal([]byte(out), &dump); err != nil {
		t.Fatal(err)
	}
	owners := map[string]string{}
	for _, owner := range dump.Owners {
		owners[strings.TrimSuffix(owner.Name, ".corp.test.")] = owner.Principal
	}
	return owners
}

func TestLoadOwners(t *testing.T) {
	const first = "first-come:"
	for _, tt := range []struct {
		flags []string
		want  map[string]string
	}{
		{nil, nil},
		{[]string{"-unowned", "closed"}, nil},
		{[]string{"-unowned", "first-come"}, map[string]string{
			"ns1": first, "client1": first, "averylonghostname01": first, "pc.lab": first, "www": first,
			"_ssh._tcp": first, "1.rev": first, "2.rev": first, "3.rev": first, "4.rev": first, "5.rev": first,
		}},
		{[]string{"-owners", "krb5:CORP.TEST"}, map[string]string{
			"ns1": "host/ns1.corp.test@CORP.TEST", "client1": "host/client1.corp.test@CORP.TEST",
			"averylonghostname01": "host/averylonghostname01.corp.test@CORP.TEST", "pc.lab": "host/pc.lab.corp.test@CORP.TEST",
			"1.rev": "host/client1.corp.test@CORP.TEST", "2.rev": "host/averylonghostname01.corp.test@CORP.TEST",
			"5.rev": "host/x.other.test@CORP.TEST",
		}},
		{[]string{"-owners", "ms:CORP.TEST", "-unowned", "first-come"}, map[string]string{
			"ns1": "NS1$@CORP.TEST", "client1": "CLIENT1$@CORP.TEST",
			"averylonghostname01": "AVERYLONGHOSTNA$@CORP.TEST", "pc.lab": first, "www": first, "_ssh._tcp": first,
			"1.rev": "CLIENT1$@CORP.TEST", "2.rev": "AVERYLONGHOSTNA$@CORP.TEST", "3.rev": first, "4.rev": first, "5.rev": first,
		}},
	} {
		got := loadedOwners(t, tt.flags...)
		for name := range tt.want {
			if got[name] != tt.want[name] {
				t.Errorf("%v: %s: %q, want %q", tt.flags, name, got[name], tt.want[name])
			}
		}
		for name := range got {
			if tt.want[name] == "" {
				t.Errorf("%v: %s: %q", tt.flags, name, got[name])
			}
		}
	}
	for _, flags := range [][]string{{"-unowned", "open"}, {"-owners", "CORP.TEST"}, {"-owners", "krb5:"}, {"-owners", "ms:a@B"}, {"-owners", "ms:.."}} {
		if status, _, _ := run(t, append(append([]string{"load", "-database", t.TempDir()}, flags...), "corp.test", "-")...); status != ExitUsage {
			t.Errorf("%v: exit status %d", flags, status)
		}
	}
}

// TestLoadKeepsOwners: what a dump says of owners stays, tombstones too.
func TestLoadKeepsOwners(t *testing.T) {
	address := store.Record{Name: "\x01A\x04corp\x04test\x00", Type: dns.TypeA, Class: dns.ClassINET, Data: []byte{192, 0, 2, 1}}
	given := []store.Owner{{Name: "\x01a\x04corp\x04test\x00", Principal: "alice@CORP.TEST"}, {Name: "\x01b\x04corp\x04test\x00", Principal: "bob@CORP.TEST", Deleted: time.Unix(1, 0)}}
	o := ownership{firstComeFirst: true, machines: machineForm{realm: "CORP.TEST"}}
	got, err := o.assign("corp.test.", []store.Record{address}, given)
	if err != nil || !slices.Equal(got, given) {
		t.Errorf("%v, %v", got, err)
	}
}
