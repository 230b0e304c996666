//go:build e2e && linux

package ad

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/recipe"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
	zones "github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
)

const (
	movedZone = "moved.test"
	// hoursSince1601 is 1970-01-01, as Active Directory counts.
	hoursSince1601 = 3234576
	firstHour      = 480000 // of Unix time: in 2024
)

// movedRecord is a record in the directory. Data is as samba.dcerpc.dnsp takes it.
type movedRecord struct {
	Type  uint16 `json:"type"`
	Data  string `json:"data"`
	TTL   uint32 `json:"ttl"`
	Hours uint32 `json:"hours"` // since 1601; 0 is static

	want string // what dump prints for it; "" is Data
}

// movedNode is a name in the directory, made by an account.
type movedNode struct {
	Account string        `json:"account"`
	Name    string        `json:"name"`
	Records []movedRecord `json:"records"`
	Deleted uint64        `json:"deleted"` // of a tombstone, 100 ns since 1601

	owner string // account that must own it after load; "" is the administrator
}

// movedPlan is what testdata/zone.py does.
type movedPlan struct {
	Passwords map[string]string `json:"passwords"`
	Nodes     []movedNode       `json:"nodes"`
}

const movePassword = "Move-Passw0rd"

// movedNodes are 1,000 names of three machines, some of which are gone, and names of a user and of administrators.
func movedNodes() []movedNode {
	machines := []string{"MOVE1$", "MOVE2$", "MOVE3$"}
	var nodes []movedNode
	recent := time.Now().Add(-72 * time.Hour).Unix() // a tombstone expires
	for i := range 1000 {
		hours := uint32(hoursSince1601 + firstHour + i)
		n := movedNode{Account: machines[i%3], owner: machines[i%3], Name: fmt.Sprintf("Host%d", i), Records: []movedRecord{
			{Type: dns.TypeA, Data: fmt.Sprintf("10.9.%d.%d", i>>8, i&255), TTL: 1200, Hours: hours},
		}}
		switch i % 10 {
		case 1:
			n.Records = append(n.Records, movedRecord{Type: dns.TypeAAAA, Data: fmt.Sprintf("2001:db8::%x", i+1), TTL: 1200, Hours: hours + 7})
		case 2:
			n.Records = append(n.Records, movedRecord{Type: dns.TypeTXT, Data: "static text", want: `"static" "text"`, TTL: 300})
		case 3:
			n.Records[0] = movedRecord{Type: dns.TypePTR, Data: fmt.Sprintf("Host%d.moved.test", i), want: fmt.Sprintf("Host%d.moved.test.", i), TTL: 900, Hours: hours}
		case 4:
			n.Deleted, n.Records = uint64(recent/3600+hoursSince1601)*3600*10_000_000, []movedRecord{}
		}
		nodes = append(nodes, n)
	}
	static := func(rrtype uint16, data, want string) []movedRecord {
		return []movedRecord{{Type: rrtype, Data: data, want: want, TTL: 3600}}
	}
	return append(nodes,
		movedNode{Account: alice, owner: alice, Name: "alices", Records: static(dns.TypeA, "10.9.9.1", "")},
		movedNode{Account: administrator, Name: "www", Records: static(dns.TypeCNAME, "host0.moved.test", "host0.moved.test.")},
		movedNode{Account: administrator, Name: "*.dev", Records: static(dns.TypeMX, "10 www.moved.test", "10 www.moved.test.")},
		movedNode{Account: administrator, Name: "_sip._tcp", Records: static(dns.TypeSRV, "0 5 5060 host0.moved.test", "0 5 5060 host0.moved.test.")},
		movedNode{Account: administrator, Name: "unknown", Records: static(65280, "c0000201", `\# 4 c0000201`)},
		// A delegation, and what is below it, is the administrator's, though a machine made it.
		movedNode{Account: "MOVE1$", Name: "sub", Records: static(dns.TypeNS, "ns.sub.moved.test", "ns.sub.moved.test.")},
		movedNode{Account: "MOVE1$", Name: "ns.sub", Records: static(dns.TypeA, "10.9.9.2", "")},
	)
}

// TestMoveFromDirectory moves a zone of more than 1,000 names from the domain controller's directory, by LDAP that the
// controller wants signed. Records, their times and the owners of names are the same afterwards. The machines that own names
// then update them here, and others are refused.
func TestMoveFromDirectory(t *testing.T) {
	register(t)
	d := shared.domain
	passwords := map[string]string{alice: alicePassword, administrator: administratorPassword}
	for _, name := range []string{"move1", "move2", "move3"} {
		createComputer(t, name, movePassword)
		passwords[strings.ToUpper(name)+"$"] = movePassword
	}
	controller := addresses(dcOctet)[0].Addr().String()
	samba(t, "dns", "zonecreate", controller, movedZone, "-U", administrator+"%"+administratorPassword)
	samba(t, "dns", "zoneoptions", controller, movedZone, "--aging=1", "--norefreshinterval=72", "--refreshinterval=96",
		"-U", administrator+"%"+administratorPassword)
	nodes := movedNodes()
	plan, err := json.Marshal(movedPlan{passwords, nodes})
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("testdata/zone.py")
	if err != nil {
		t.Fatal(err)
	}
	cmd := d.dc.Command(testContext(t), "/usr/bin/python3", script, "dc1."+zone, movedZone)
	cmd.Stdin = strings.NewReader(string(plan))
	if said, err := d.dc.Output(cmd); err != nil || strings.TrimSpace(said) != fmt.Sprint(len(nodes)) {
		t.Fatalf("%v: %s", err, said)
	}

	administers := logIn(t, d.ns, bob, bobPassword)
	database := t.TempDir()
	run := func(args ...string) (string, error) {
		return d.ns.Output(administers.command(t, shared.binary, append([]string{"gsstsig"}, args...)...))
	}
	said, err := run("load", "-database", database, "-primary", "ns1."+zone, movedZone, "ldap://dc1."+zone)
	if err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{"updates secure " + movedZone, "aging 72h 96h " + movedZone} {
		if !strings.Contains(said, words) {
			t.Errorf("%q is not in %q", words, said)
		}
	}
	compareMoved(t, nodes, readMoved(t, disk.Path(database, movedZone)))

	t.Run("word for word", func(t *testing.T) { followMove(t, nodes) })

	// The lines that it prints are the last ones, and the block takes them.
	_, lines, _ := strings.Cut(said, "in Active Directory:\n")
	t.Run("afterwards", func(t *testing.T) { updateMoved(t, database, lines) })
	t.Run("refused", func(t *testing.T) {
		for name, test := range map[string]struct {
			args []string
			says string
		}{
			"another zone":        {[]string{"other.test", "ldap://dc1." + zone}, "no partition of the domain controller has the zone other.test"},
			"not a domain name":   {[]string{movedZone, "ldap://" + controller}, "not by its address. Fix: write the server's host name"},
			"another service":     {[]string{"-service", service, movedZone, "ldap://dc1." + zone}, "authentication to " + service},
			"another object":      {[]string{movedZone, "ldap://dc1." + zone + "/CN=Users," + base}, "is not the object of the zone"},
			"not LDAP":            {[]string{movedZone, "ldap://dc1." + zone + ":88"}, "ldap://dc1." + zone + ":88: "},
			"nobody on that port": {[]string{movedZone, "ldap://dc1." + zone + ":1"}, "refused"},
		} {
			said, err := run(append([]string{"load", "-database", t.TempDir()}, test.args...)...)
			if err == nil || !strings.Contains(err.Error()+said, test.says) {
				t.Errorf("%s: %v %s", name, err, said)
			}
		}
	})
}

// followMove does what docs/migration.md says, with the moved zone in the place of the domain's.
func followMove(t *testing.T, nodes []movedNode) {
	d := shared.domain
	const other = "_msdcs." + movedZone
	samba(t, "dns", "zonecreate", addresses(dcOctet)[0].Addr().String(), other, "-U", administrator+"%"+administratorPassword)
	blocks, err := recipe.Read("../../docs/migration.md", strings.NewReplacer(
		"update add ns1.corp.example.com", "update add ns1."+movedZone, "ns1.corp.example.com", "ns1."+zone,
		"dc1.corp.example.com", "dc1."+zone, "corp.example.com", movedZone, "CORP.EXAMPLE.COM", realm,
		"gsstsig check", "gsstsig check -offline", // another server runs on this machine
	))
	if err != nil {
		t.Fatal(err)
	}
	blocks = slices.DeleteFunc(blocks, func(b recipe.Block) bool { return b.Section != "From Active Directory" })
	const steps = 2 // it loads the zones, and then adds the server's address
	if len(blocks) != steps {
		t.Fatalf("the document has %d blocks of commands about Active Directory, want %d", len(blocks), steps)
	}
	database := t.TempDir()
	corefile := fmt.Sprintf("%s %s {\n    gsstsig {\n        keytab %s\n        database %s\n    }\n}\n", movedZone, other, d.keytab, database)
	if err := d.ns.WriteFile("/etc/coredns/Corefile", corefile, 0o644); err != nil {
		t.Fatal(err)
	}
	programs := t.TempDir()
	if err := os.Symlink(shared.binary, filepath.Join(programs, "coredns")); err != nil {
		t.Fatal(err)
	}
	lab := recipe.Lab{Machines: map[string]*node.Node{"ns1": d.ns}, Programs: programs, Input: administratorPassword + "\n"}
	if err := lab.Follow(testContext(t), blocks[:1]); err != nil {
		t.Fatal(err)
	}
	compareMoved(t, nodes, readMoved(t, disk.Path(database, movedZone)))
	if err := lab.Follow(testContext(t), blocks[1:]); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(disk.Path(database, other)); err != nil {
		t.Error(err)
	}
}

// readMoved reads a database.
func readMoved(t *testing.T, directory string) *zones.Snapshot {
	t.Helper()
	source, err := disk.OpenSnapshot(t.Context(), directory)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	snapshot, err := zones.Read(movedZone+".", source)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

// compareMoved compares what the directory was filled with and what was loaded from it.
func compareMoved(t *testing.T, nodes []movedNode, got *zones.Snapshot) {
	t.Helper()
	var want, have, wantOwners, haveOwners []string
	sids := make(map[string]string)
	for _, n := range nodes {
		full := n.Name + "." + movedZone + "."
		for _, r := range n.Records {
			data := r.want
			if data == "" {
				data = r.Data
			}
			hours := max(r.Hours, hoursSince1601) - hoursSince1601
			want = append(want, fmt.Sprint(full, " ", r.TTL, " ", dns.Type(r.Type), " ", data, " at ", hours))
		}
		if n.owner == "" {
			continue
		}
		if sids[n.owner] == "" {
			sids[n.owner] = sid(t, n.owner)
		}
		deleted := ""
		if n.Deleted != 0 {
			deleted = time.Unix(int64(n.Deleted/10_000_000)-hoursSince1601*3600, 0).UTC().Format(time.RFC3339)
		}
		wantOwners = append(wantOwners, fmt.Sprintf("%s %s@%s %s %s", strings.ToLower(full), strings.ToLower(n.owner), realm, sids[n.owner], deleted))
	}
	for r := range got.WireRecords() {
		if name := dnswire.NameText([]byte(r.Name)); name != movedZone+"." {
			have = append(have, fmt.Sprint(name, " ", r.TTL, " ", dnswire.TypeText(r.Type), " ", dnswire.TextOrGeneric(r.Type, r.Data), " at ", r.Hours))
		}
	}
	for o := range got.Owners() {
		deleted := ""
		if !o.Deleted.IsZero() {
			deleted = o.Deleted.UTC().Format(time.RFC3339)
		}
		// The directory spells the account as it was created.
		account, of, _ := strings.Cut(o.Principal, "@")
		haveOwners = append(haveOwners, fmt.Sprint(dnswire.NameText([]byte(o.Name)), " ", strings.ToLower(account), "@", of, " ", deleted))
	}
	for what, pair := range map[string][2][]string{"records": {have, want}, "owners": {haveOwners, wantOwners}} {
		slices.Sort(pair[0])
		slices.Sort(pair[1])
		if slices.Equal(pair[0], pair[1]) {
			t.Logf("%d %s are equal", len(pair[1]), what)
			continue
		}
		t.Errorf("%d %s, want %d", len(pair[0]), what, len(pair[1]))
		shown := 0
		for i := 0; i < max(len(pair[0]), len(pair[1])) && shown < 10; i++ {
			var a, b string
			if i < len(pair[0]) {
				a = pair[0][i]
			}
			if i < len(pair[1]) {
				b = pair[1][i]
			}
			if a != b {
				shown++
				t.Errorf("%q, want %q", a, b)
			}
		}
	}
}

// updateMoved serves the zone that was loaded, with the settings that it had, and has machines update it.
func updateMoved(t *testing.T, database, lines string) {
	d := shared.domain
	address := netip.AddrPortFrom(nsAddress.Addr(), 5353)
	corefile := fmt.Sprintf("%s {\n    gsstsig {\n        keytab %s\n        database %s\n%s    }\n    errors\n    log\n}\n", movedZone, d.keytab, database, lines)
	s, err := server.Start(shared.ctx, server.Config{Binary: shared.binary, Corefile: corefile, Probe: movedZone,
		Place: &server.Place{Address: address, Start: d.ns.Start, Dial: d.ns.Dial}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}()
	machines := make(map[string]login)
	for _, account := range []string{"MOVE1$", "MOVE2$", "MOVE3$"} {
		machines[account] = logIn(t, d.ns, account, movePassword)
	}
	machines[alice] = logIn(t, d.ns, alice, alicePassword)
	for _, row := range []struct{ account, rcode, command string }{
		{"MOVE1$", "NOERROR", "update add host0.moved.test 1200 A 10.9.200.0"},
		{"MOVE2$", "REFUSED", "update add host0.moved.test 1200 A 10.9.200.1"},
		{"MOVE2$", "NOERROR", "update delete host1.moved.test"},
		{"MOVE3$", "REFUSED", "update add host1.moved.test 1200 A 10.9.200.2"},
		{"MOVE3$", "NOERROR", "update add host2.moved.test 1200 TXT new"},
		{alice, "REFUSED", "update delete host2.moved.test"},
		{alice, "NOERROR", "update add alices.moved.test 1200 A 10.9.9.9"},
		// A tombstone waits for its owner.
		{"MOVE1$", "REFUSED", "update add host4.moved.test 1200 A 10.9.200.4"},
		{"MOVE2$", "NOERROR", "update add host4.moved.test 1200 A 10.9.200.4"},
		// What administrators made is closed, and so are the zone's name and its delegations.
		{"MOVE1$", "REFUSED", "update delete www.moved.test"},
		{"MOVE1$", "REFUSED", "update add moved.test 1200 A 10.9.200.5"},
		{"MOVE1$", "REFUSED", "update delete sub.moved.test"},
		{"MOVE1$", "REFUSED", "update delete ns.sub.moved.test"},
	} {
		l := machines[row.account]
		outcome, err := dnsutils.Update{Server: address, Auth: "-g", Zone: movedZone, Env: append(l.on.Env(), "KRB5CCNAME="+l.cache),
			Commands: []string{row.command}, On: l.on.Run}.Run(testContext(t))
		if err != nil || outcome.Rcode != row.rcode || !outcome.Signed {
			t.Errorf("%s, %q: %s, signed %v, %v; want %s\n%s", row.account, row.command, outcome.Rcode, outcome.Signed, err, row.rcode, outcome.Output)
		}
	}
}
