package gsstsig

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/plugin/admin"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/control"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

// socketPath is a short path: that of a socket has little room.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// TestControlAcrossReloads: one socket stays across reloads, moves where a reload moves it, comes back after one that fails, and
// goes with the server.
func TestControlAcrossReloads(t *testing.T) {
	first, second := socketPath(t), socketPath(t)
	block := func(path string) string {
		return "example.test:{PORT} {\n\tgsstsig {\n\t\tkeytab {KEYTAB}\n\t\tcontrol " + path + "\n\t}\n}\n" +
			"example.org:{PORT} {\n\tgsstsig {\n\t\tkeytab {KEYTAB}\n\t}\n}\n"
	}
	s := start(t, block(first))
	zones := func(path string) int {
		t.Helper()
		c := control.NewClient(path)
		defer c.Close()
		state, err := control.Call[view.Status](t.Context(), c, "status", view.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return len(state.Zones)
	}
	gone := func(path string) {
		t.Helper()
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v", path, err)
		}
	}
	reload := func(corefile string) {
		t.Helper()
		if err := s.reload(corefile); err != nil {
			t.Fatal(err)
		}
	}
	if n := zones(first); n != 2 {
		t.Errorf("%d zones", n)
	}
	c := control.NewClient(first)
	defer c.Close()
	if _, err := control.Call[view.Zone](t.Context(), c, "freeze", view.ZoneRequest{Zone: "example.test"}); err != nil {
		t.Fatal(err)
	}
	reload(block(first))
	if state, err := control.Call[view.Status](t.Context(), c, "status", view.StatusRequest{Zone: "example.test."}); err != nil || state.Zones[0].Frozen == nil {
		t.Errorf("after a reload on the same connection: %+v, %v", state.Zones, err)
	}
	reload(block(second))
	gone(first)
	if n := zones(second); n != 2 {
		t.Errorf("%d zones", n)
	}
	if err := os.WriteFile(first, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.instance.Restart(s.input(block(first))); err == nil || !strings.Contains(err.Error(), "another kind") {
		t.Errorf("a reload with a socket that cannot be made: %v", err)
	}
	if n := zones(second); n != 2 {
		t.Errorf("%d zones", n)
	}
	reload(block("off"))
	gone(second)
	reload(block(second))
	s.stop()
	gone(second)
}

// TestOperationsWhileTheSocketMoves: the socket that moves waits for operations under way, and these do not wait for it.
func TestOperationsWhileTheSocketMoves(t *testing.T) {
	start(t, "example.test:{PORT} {\n\tgsstsig {\n\t\tkeytab {KEYTAB}\n\t}\n}\n")
	current.control.mu.Lock()
	defer current.control.mu.Unlock()
	if zones := current.status().Zones; len(zones) != 1 {
		t.Errorf("%+v", zones)
	}
}

// TestControlSocketInAnOpenDirectory: where others can put another socket in its place, a warning says so.
func TestControlSocketInAnOpenDirectory(t *testing.T) {
	for mode, warnings := range map[fs.FileMode]int{0o700: 0, 0o755: 0, 0o777 | fs.ModeSticky: 0, 0o777: 1, 0o770: 1} {
		path := socketPath(t)
		if err := os.Chmod(filepath.Dir(path), mode); err != nil {
			t.Fatal(err)
		}
		start(t, "example.test:{PORT} {\n\tgsstsig {\n\t\tkeytab {KEYTAB}\n\t\tcontrol "+path+"\n\t}\n}\n")
		if lines := logged.lines("control socket "+path, "others can write to "+filepath.Dir(path)); len(lines) != warnings {
			t.Errorf("%v: %q", mode, lines)
		}
	}
}

// TestOperationsAreDocumented: docs/administration.md has every operation with the fields of its request.
func TestOperationsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/administration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| operation | fields of the request |")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Count(table, "\n") - 1 // the line below the heading
	for operation, fields := range new(process).operations().Requests() {
		rows--
		if row := "\n| `" + operation + "` | " + fields + " | "; !strings.Contains(table, row) {
			t.Errorf("docs/administration.md lacks %q", row)
		}
	}
	if rows != 0 {
		t.Errorf("docs/administration.md has %d rows too many", rows)
	}
}

// TestControlAdministers: the administrator changes what clients may not, is refused what a rule denies, and leaves lines in the
// log.
func TestControlAdministers(t *testing.T) {
	path := socketPath(t)
	s := start(t, "example.test:{PORT} {\n\tgsstsig {\n\t\tkeytab {KEYTAB}\n\t\tcontrol "+path+"\n\t\tdeny administrator name locked.example.test ANY\n"+
		"\t\tgrant EXAMPLE.TEST owner .\n\t}\n}\n")
	c := control.NewClient(path)
	defer c.Close()
	add := func(name string) (view.Applied, error) {
		return control.Call[view.Applied](t.Context(), c, "update", view.Update{Zone: "example.test", Updates: []view.Instruction{
			{Name: name, Class: "IN", Type: "A", TTL: 60, Data: "192.0.2.9"},
		}})
	}
	a, err := add("admin.example.test.")
	if err != nil || !a.Changed || len(a.Added) != 1 || !a.Added[0].Static {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := add("locked.example.test."); err == nil || !strings.Contains(err.Error(), "REFUSED") || !strings.Contains(err.Error(), "deny administrator") {
		t.Errorf("denied: %v", err)
	}
	if _, err := add("a.example.org."); err == nil || !strings.Contains(err.Error(), "NOTZONE") {
		t.Errorf("outside: %v", err)
	}
	for _, words := range [][]string{{"update", `identity="administrator"`, "transport=control", "rcode=NOERROR", "admin.example.test."},
		{"update", `identity="administrator"`, "rcode=REFUSED", "deny administrator"}} {
		if lines := logged.lines(words...); len(lines) != 1 {
			t.Errorf("%q is in %d lines: %q", words, len(lines), lines)
		}
	}

	// A client's name: shown with its owner and its context, given away, frozen.
	client := s.context("host/client1.example.test")
	update := func(name string) int {
		m := new(dns.Msg).SetUpdate("example.test.")
		m.Insert([]dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: []byte{192, 0, 2, 7}}})
		return s.signed(client, m)
	}
	if rcode := update("client1.example.test."); rcode != dns.RcodeSuccess {
		t.Fatalf("update: %s", dns.RcodeToString[rcode])
	}
	contexts, err := control.Call[[]view.Context](t.Context(), c, "contexts", struct{}{})
	if err != nil || len(contexts) != 1 || contexts[0].Principal != "host/client1.example.test@EXAMPLE.TEST" || contexts[0].Messages != 1 || contexts[0].Used == nil {
		t.Errorf("%+v, %v", contexts, err)
	}
	var offered bytes.Buffer
	for offered.Len() < len(":4\n")+1 { // it has little time, for a busy machine
		offered.Reset()
		admin.Run("coredns gsstsig", []string{"__complete", "gsstsig", "contexts", "-control", path, "-drop", ""}, admin.Streams{Out: &offered, Err: io.Discard})
	}
	if offered.String() != strings.ToLower(contexts[0].Key)+"\nhost/client1.example.test@EXAMPLE.TEST\n:4\n" {
		t.Errorf("completion of -drop: %q, context %+v", &offered, contexts[0])
	}
	o, err := control.Call[view.Ownership](t.Context(), c, "own", view.OwnRequest{Name: "client1.example.test", Owner: "host/client2.example.test@EXAMPLE.TEST"})
	if err != nil || o.Before != "host/client1.example.test@EXAMPLE.TEST" {
		t.Errorf("%+v, %v", o, err)
	}
	lines := len(logged.lines("update", `identity="administrator"`))
	o, err = control.Call[view.Ownership](t.Context(), c, "own", view.OwnRequest{Name: "client1.example.test", Owner: "host/client2.example.test@EXAMPLE.TEST"})
	if err != nil || o.Changed() || len(logged.lines("update", `identity="administrator"`)) != lines {
		t.Errorf("the owner that it has already: %+v, %v", o, err)
	}
	if _, err := control.Call[view.Ownership](t.Context(), c, "own", view.OwnRequest{Name: "locked.example.test", Owner: "host/client2.example.test@EXAMPLE.TEST"}); err == nil {
		t.Error("the owner of a denied name was changed")
	}
	if _, err := control.Call[view.Zone](t.Context(), c, "freeze", view.ZoneRequest{Zone: "example.test"}); err != nil {
		t.Fatal(err)
	}
	frozen := func() int {
		return len(logged.lines("rcode=REFUSED", "the zone is frozen", "coredns gsstsig thaw example.test."))
	}
	before := frozen()
	if rcode := update("other.example.test."); rcode != dns.RcodeRefused || frozen() != before+1 {
		t.Errorf("frozen: %s", dns.RcodeToString[rcode])
	}
	if _, err := add("admin2.example.test."); err != nil {
		t.Errorf("the administrator, frozen: %v", err)
	}
	if z, err := control.Call[view.Zone](t.Context(), c, "thaw", view.ZoneRequest{Zone: "example.test"}); err != nil || z.Frozen != nil {
		t.Errorf("%+v, %v", z, err)
	}
	if dropped, err := control.Call[[]view.Context](t.Context(), c, "drop", view.DropRequest{Word: "host/client1.example.test@EXAMPLE.TEST"}); err != nil || len(dropped) != 1 {
		t.Errorf("%+v, %v", dropped, err)
	}
	if _, err := client.Update(t.Context(), new(dns.Msg).SetUpdate("example.test.")); err == nil || !strings.Contains(err.Error(), "BADKEY") {
		t.Errorf("after its context was dropped: %v", err)
	}
}
