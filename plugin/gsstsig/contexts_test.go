package gsstsig

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/krb5test"
)

// contextsFile is where a stopped server leaves its contexts.
func (s *coredns) contextsFile() string {
	return filepath.Join(s.directory, "zones", "example.test", "contexts")
}

func absent(t *testing.T, file string) {
	t.Helper()
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v", file, err)
	}
}

// badKey sends an update in a context that the server must not know.
func (s *coredns) badKey(c *client.Context) {
	s.t.Helper()
	_, err := c.Update(s.t.Context(), message(s.t, "example.test.", "+client1.example.test. 300 A 192.0.2.99"))
	var refused *client.TSIGError
	if !errors.As(err, &refused) || int(refused.Code) != dns.RcodeBadKey {
		s.t.Errorf("got %v, want BADKEY", err)
	}
}

// TestContextsOutliveARestart: clients go on with their contexts after the server was stopped and started again, twice, and
// after reloads between.
func TestContextsOutliveARestart(t *testing.T) {
	s := start(t, durableCorefile)
	host := s.context("host/client1.example.test")
	want(t, "before", s.signed(host, message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.1")), dns.RcodeSuccess)
	for n := range 2 {
		if err := s.reload(durableCorefile + fmt.Sprintf("# %d\n", n)); err != nil {
			t.Fatal(err)
		}
		absent(t, s.contextsFile())
		s.stop()
		if info, err := os.Stat(s.contextsFile()); err != nil {
			t.Fatal(err)
		} else if info.Mode() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
		kept := len(logged.lines("contexts: 1 kept over the restart"))
		s.restart(durableCorefile)
		update := message(t, "example.test.", fmt.Sprintf("+client1.example.test. 300 A 192.0.2.%d", 2+n))
		want(t, "after", s.signed(host, update), dns.RcodeSuccess)
		want(t, "lines", len(logged.lines("contexts: 1 kept over the restart")), kept+1)
		absent(t, s.contextsFile())
	}
	// The names are still the client's.
	other := s.context("host/client2.example.test")
	want(t, "another client", s.signed(other, message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.66")), dns.RcodeRefused)
}

// TestContextsOutliveAFailedStart: a start that fails, for whatever reason, leaves the contexts to the next one.
func TestContextsOutliveAFailedStart(t *testing.T) {
	s := start(t, durableCorefile)
	host := s.context("host/client1.example.test")
	s.stop()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for what, block := range map[string]string{
		"a keytab":   "other.test:{PORT} {\n bind 127.0.0.1\n gsstsig {\n keytab /nonexistent\n }\n}\n",
		"an address": fmt.Sprintf("other.test:%d {\n bind 127.0.0.1\n whoami\n}\n", busy.Addr().(*net.TCPAddr).Port),
	} {
		if err := s.tryRestart(durableCorefile + block); err == nil {
			t.Fatalf("started without %s", what)
		}
		// The process would have ended. Here it goes on, and has to give up what the failed start has opened.
		if err := current.releaseOthers(nil); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(s.contextsFile()); err != nil {
			t.Fatalf("without %s: %v", what, err)
		}
	}
	s.restart(durableCorefile)
	want(t, "after", s.signed(host, message(t, "example.test.", "+client1.example.test. 300 A 192.0.2.1")), dns.RcodeSuccess)
}

// TestContextsOfSeveralBlocks: each block gets its own contexts back, also where blocks have the same keytab.
func TestContextsOfSeveralBlocks(t *testing.T) {
	second := krb5test.New(t, "OTHER.TEST", "DNS/ns1.other.test").Keytab()
	block := func(zone, keytab string) string {
		return fmt.Sprintf("%s:{PORT} {\n bind 127.0.0.1\n gsstsig {\n keytab %s\n database {DIR}\n }\n}\n", zone, keytab)
	}
	corefile := block("other.test", second) + block("example.test", "{KEYTAB}") + block("same.test", "{KEYTAB}")
	s := start(t, corefile)
	host := s.context("host/client1.example.test")
	s.stop()
	for zone, exists := range map[string]bool{"other.test": false, "example.test": true, "same.test": false} {
		if _, err := os.Stat(filepath.Join(s.directory, zone, "contexts")); (err == nil) != exists {
			t.Errorf("%s: %v", zone, err)
		}
	}
	s.restart(corefile)
	for origin, rcode := range map[string]int{"example.test.": dns.RcodeSuccess, "same.test.": dns.RcodeSuccess, "other.test.": dns.RcodeRefused} {
		want(t, origin, s.signed(host, message(t, origin, "+client1."+origin+" 300 A 192.0.2.1")), rcode)
	}
}

// TestContextsThatAreNotKept: what cannot be used is a line in the log, and never a failed start.
func TestContextsThatAreNotKept(t *testing.T) {
	foreign := krb5test.New(t, "OTHER.TEST", "DNS/ns1.example.test").Keytab()
	for _, test := range []struct {
		name     string
		corefile string // of the second start
		change   func(t *testing.T, file string)
		line     []string
	}{
		{"cut", durableCorefile, func(t *testing.T, file string) {
			if err := os.Truncate(file, 100); err != nil {
				t.Fatal(err)
			}
		}, []string{"[WARNING]", "contexts: those from before the restart cannot all be read", "contexts: the file is damaged: it ends after 0 of 1 contexts"}},
		{"changed", durableCorefile, func(t *testing.T, file string) {
			octets, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			octets[len(octets)-1] ^= 1
			if err := os.WriteFile(file, octets, 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"contexts: 0 kept over the restart, 1 that were damaged or of another database"}},
		{"of another key", strings.ReplaceAll(durableCorefile, "{KEYTAB}", foreign+"\nrealm EXAMPLE.TEST"), nil,
			[]string{"contexts: 0 kept over the restart, 1 of keys that are not in the keytab any more"}},
		{"of a realm that is not accepted any more", strings.ReplaceAll(durableCorefile, "keytab {KEYTAB}", "keytab {KEYTAB}\nrealm OTHER.TEST"), nil,
			[]string{"contexts: 0 kept over the restart, 1 of clients that are not accepted any more"}},
		{"no file", durableCorefile, func(t *testing.T, file string) {
			if err := os.Rename(file, filepath.Join(filepath.Dir(file), "kept")); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(file, 0o700); err != nil {
				t.Fatal(err)
			}
		}, []string{"[WARNING]", "contexts: those from before the restart cannot all be read", "it is no regular file"}},
		{"in memory", smallCorefile, nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, durableCorefile)
			host := s.context("host/client1.example.test")
			s.stop()
			if test.change != nil {
				test.change(t, s.contextsFile())
			}
			before := len(logged.lines(test.line...))
			s.restart(test.corefile)
			s.badKey(host)
			if test.line != nil {
				want(t, "lines", len(logged.lines(test.line...)), before+1)
			}
		})
	}
}

// TestContextsOfAnotherDatabase: the file of one server is of no use to another with the same keytab.
func TestContextsOfAnotherDatabase(t *testing.T) {
	s := start(t, durableCorefile)
	host := s.context("host/client1.example.test")
	s.stop()
	file, err := os.ReadFile(s.contextsFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Dir(s.contextsFile())); err != nil {
		t.Fatal(err)
	}
	s.restart(durableCorefile)
	s.stop()
	if err := os.WriteFile(s.contextsFile(), file, 0o600); err != nil {
		t.Fatal(err)
	}
	line := []string{"contexts: 0 kept over the restart, 1 that were damaged or of another database"}
	before := len(logged.lines(line...))
	s.restart(durableCorefile)
	s.badKey(host)
	want(t, "lines", len(logged.lines(line...)), before+1)
}

// TestContextsInMemory: a block without a database keeps nothing, and the directory stays empty.
func TestContextsInMemory(t *testing.T) {
	s := start(t, smallCorefile)
	host := s.context("host/client1.example.test")
	s.stop()
	if entries, err := os.ReadDir(s.directory); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
	s.restart(smallCorefile)
	s.badKey(host)
}
