//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// controlled is a server that is administered by its control socket.
type controlled struct {
	*server.Server
	t *testing.T
}

// must runs a command for the server that has to succeed.
func (s controlled) must(input string, args ...string) string {
	s.t.Helper()
	output, status := commandWith(s.t, s.Dir(), input, args...)
	if status != 0 {
		s.t.Fatalf("%q: exit status %d:\n%s", args, status, output)
	}
	return output
}

// state is the zone and the process as status has them.
func (s controlled) state(args ...string) (state struct {
	PID   int
	Ready bool
	Zones []struct{ Zone, Frozen string }
}) {
	s.t.Helper()
	output := s.must("", append([]string{"status", forwardZone, "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(output), &state); err != nil || len(state.Zones) != 1 || state.Zones[0].Zone != forwardZone+"." {
		s.t.Fatalf("%v:\n%s", err, output)
	}
	return state
}

// TestControl administers a server by its socket while clients update: over a kill, after which the socket is left, and a reload
// that moves it.
func TestControl(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	dir, err := os.MkdirTemp("", "control") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	database := "database " + filepath.Join(dir, "zones")
	socket, moved := filepath.Join(dir, "zones", "control.sock"), filepath.Join(dir, "moved.sock")
	corefile := secureBlock(database)
	first, second := logIn(t, host1), logIn(t, host2)
	s := controlled{startCoreDNS(t, server.Config{Corefile: corefile, Probe: forwardZone}), t}
	update := func(who login, rcode, line string) {
		t.Helper()
		if outcome := nsupdate(ctx, t, s.Address, "-g", who.env, line); outcome.Rcode != rcode {
			t.Errorf("%s, %s: %s, want %s\n%s", who.principal, line, outcome.Rcode, rcode, outcome.Output)
		}
	}
	shows := func(words ...string) {
		t.Helper()
		output, status := commandWith(t, s.Dir(), "", "show", forwardZone, "www")
		for _, w := range words {
			if status != 0 || !strings.Contains(output, w) {
				t.Errorf("exit status %d, %q is not in:\n%s", status, w, output)
			}
		}
	}

	if state := s.state(); !state.Ready || state.PID != s.PID() || state.Zones[0].Frozen != "" {
		t.Errorf("%+v, process %d", state, s.PID())
	}
	if info, err := os.Stat(socket); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("%v, %v", info, err)
	}
	s.must("update add admin.example.test 300 A 192.0.2.9\nsend\n", "update", forwardZone)
	expect(t, s.Address, "admin.example.test", dns.TypeA, "192.0.2.9")
	update(first, "NOERROR", "update add www.example.test 300 A 192.0.2.80")
	shows("192.0.2.80", host1+"@"+realmName)
	s.must("", "own", "www.example.test", host2+"@"+realmName)
	update(first, "REFUSED", "update add www.example.test 300 A 192.0.2.81")
	update(second, "NOERROR", "update add www.example.test 300 A 192.0.2.82")
	s.must("", "freeze", forwardZone)
	if s.state().Zones[0].Frozen == "" {
		t.Error("the zone is not frozen")
	}
	update(second, "REFUSED", "update add www.example.test 300 A 192.0.2.83")

	// Killed: the socket is left. What needs no server works on the database.
	s.Kill()
	if _, err := os.Lstat(socket); err != nil {
		t.Errorf("the socket went with the process: %v", err)
	}
	if output, status := commandWith(t, s.Dir(), "", "status"); status != 1 || !strings.Contains(output, "the server is not running") {
		t.Errorf("status without a server: exit status %d:\n%s", status, output)
	}
	shows("192.0.2.80", "192.0.2.82", host2+"@"+realmName)
	s.must("update add stopped.example.test 300 A 192.0.2.10\n", "update", forwardZone)
	s = controlled{startCoreDNS(t, server.Config{Corefile: corefile, Probe: forwardZone}), t}
	if state := s.state(); state.PID != s.PID() || state.Zones[0].Frozen != "" {
		t.Errorf("after the kill: %+v, process %d", state, s.PID())
	}
	shows("192.0.2.80", "192.0.2.82", host2+"@"+realmName)
	expect(t, s.Address, "stopped.example.test", dns.TypeA, "192.0.2.10")
	update(second, "NOERROR", "update add www.example.test 300 A 192.0.2.83")

	// A reload moves the socket, and keeps what was done by the former one.
	s.must("", "freeze", forwardZone)
	if err := s.Reload(ctx, secureBlock(database, "control "+moved)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the former socket is there: %v", err)
	}
	for _, args := range [][]string{nil, {"-control", moved}} {
		if state := s.state(args...); state.PID != s.PID() || state.Zones[0].Frozen == "" {
			t.Errorf("%q after the reload: %+v, process %d", args, state, s.PID())
		}
	}
	if output, status := commandWith(t, s.Dir(), "", "status", "-control", socket); status != 1 || !strings.Contains(output, "the server is not running") {
		t.Errorf("status by the former socket: exit status %d:\n%s", status, output)
	}
	s.must("", "thaw", forwardZone)
	update(second, "NOERROR", "update add www.example.test 300 A 192.0.2.84")
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(moved); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket outlives the server: %v", err)
	}
}
