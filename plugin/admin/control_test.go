package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/plugin/bind"
	clog "github.com/coredns/coredns/plugin/pkg/log"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5/krb5test"
	"github.com/gsstsig/coredns-gsstsig/internal/test/loopback"
	_ "github.com/gsstsig/coredns-gsstsig/plugin/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

// site is a server that runs in the test's process, with a database.
type site struct {
	t        *testing.T
	conf     string // Corefile
	dir      string // short, since a socket is in it
	instance *caddy.Instance
}

// newSite writes a Corefile; more are properties of its gsstsig block.
func newSite(t *testing.T, more string) *site {
	t.Helper()
	caddy.Quiet, dnsserver.Quiet = true, true
	clog.Discard()
	dir, err := os.MkdirTemp("", "admin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	port := freePort(t)
	s := &site{t: t, dir: dir, conf: filepath.Join(dir, "Corefile")}
	keytab := krb5test.New(t, "EXAMPLE.TEST", "DNS/ns1.example.test").Keytab()
	text := fmt.Sprintf("example.test:%s {\n\tbind 127.0.0.1\n\tgsstsig {\n\t\tkeytab %s\n\t\tdatabase %s\n%s\n\t}\n}\n", port, keytab, filepath.Join(dir, "db"), more)
	if err := os.WriteFile(s.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

// freePort returns a port of 127.0.0.1 that is free for TCP and UDP.
func freePort(t *testing.T) string {
	t.Helper()
	port, err := loopback.Port()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(int(port))
}

func (s *site) start() {
	s.t.Helper()
	text, err := os.ReadFile(s.conf)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.instance, err = caddy.Start(caddy.CaddyfileInput{Filepath: s.conf, Contents: text, ServerTypeName: "dns"}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) stop() {
	if s.instance == nil {
		return
	}
	for _, err := range s.instance.ShutdownCallbacks() {
		s.t.Error(err)
	}
	if err := s.instance.Stop(); err != nil {
		s.t.Error(err)
	}
	s.instance = nil
}

// command runs a command for the site with that standard input.
func (s *site) command(input string, args ...string) (status int, out, errs string) {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	args = append(args, "-conf", s.conf)
	status = Run("gsstsigctl", args, Streams{In: strings.NewReader(input), Out: &stdout, Err: &stderr})
	return status, stdout.String(), stderr.String()
}

// must runs a command that has to succeed.
func (s *site) must(input string, args ...string) string {
	s.t.Helper()
	status, out, errs := s.command(input, args...)
	if status != ExitOK {
		s.t.Fatalf("%v: exit status %d:\n%s%s", args, status, out, errs)
	}
	return out
}

// editor makes a shell script the editor; "$1" is the file, and ctl the commands for this site.
func (s *site) editor(script string) {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(s.dir, "editor")
	text := fmt.Sprintf("set -e\nctl() { %s=gsstsigctl '%s' \"$@\" -conf '%s'; }\n%s\n", asProgram, self, s.conf, script)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.t.Setenv("VISUAL", "")
	s.t.Setenv("EDITOR", "sh "+file)
	s.t.Setenv("TMPDIR", s.dir)
}

// state is the records of names, one a line, as show prints them in JSON.
func (s *site) state(names ...string) string {
	s.t.Helper()
	var lines []string
	for _, name := range names {
		_, out, _ := s.command("", "show", "example.test", name, "-o", "json")
		var list []view.Name
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			s.t.Fatalf("%v: %s", err, out)
		}
		for _, n := range list {
			for _, r := range n.Records {
				lines = append(lines, fmt.Sprintf("%s %d %s %s", strings.TrimSuffix(n.Name, ".example.test."), r.TTL, r.Type, r.Data))
			}
			if n.Owner != "" {
				lines = append(lines, strings.TrimSuffix(n.Name, ".example.test.")+" of "+n.Owner)
			}
		}
	}
	return strings.Join(lines, "\n")
}

const someNames = `update add a.example.test 60 A 192.0.2.1
update add a.example.test 60 A 192.0.2.2
update add b.example.test 60 TXT "one" "two"
send
`

const clientA = "host/a.example.test@EXAMPLE.TEST"

// TestCommandsOnServerAndDatabase: each command does the same with a server and, if it can do without, on the database.
func TestCommandsOnServerAndDatabase(t *testing.T) {
	for _, test := range []struct {
		name    string
		input   string
		args    []string
		status  int
		says    []string
		offline int // exit status while the server is stopped
		hint    string
	}{
		{"status", "", []string{"status"}, ExitOK, []string{"ready", "example.test.", "DNS/ns1.example.test@EXAMPLE.TEST", "contexts: 0 of 10000"}, ExitNo, "not running"},
		{"status of a zone", "", []string{"status", "Example.Test."}, ExitOK, []string{"default: grant EXAMPLE.TEST owner .", "5000000"}, ExitNo, "not running"},
		{"status of no zone", "", []string{"status", "example.org"}, ExitNo, []string{"zone example.org.: no gsstsig block has it"}, ExitNo, "not running"},
		{"status in JSON", "", []string{"status", "-o", "json"}, ExitOK, []string{`"zone": "example.test."`, `"database": "`}, ExitNo, "not running"},
		{"show", "", []string{"show", "example.test"}, ExitOK, []string{"a.example.test.", "192.0.2.2", "static", `"one" "two"`, "SOA"}, ExitOK, ""},
		{"show a name", "", []string{"show", "example.test", "b"}, ExitOK, []string{"b.example.test.", "TXT"}, ExitOK, ""},
		{"show no name", "", []string{"show", "example.test", "c"}, ExitNo, []string{"c.example.test. has neither records nor an owner"}, ExitNo, ""},
		{"show names of an owner", "", []string{"show", "example.test", "-owner", clientA}, ExitOK, []string{"no name in the zone example.test. belongs to " + clientA}, ExitOK, ""},
		{"show no zone", "", []string{"show", "example.org"}, ExitNo, []string{"no gsstsig block"}, ExitNo, ""},
		{"own", "", []string{"own", "a.example.test", clientA}, ExitOK, []string{"a.example.test. had no owner, and belongs to " + clientA + " now"}, ExitOK, ""},
		{"own by a SID", "", []string{"own", "a.example.test", "A$@EXAMPLE.TEST S-1-5-21-1-2-3-4"}, ExitOK, []string{"belongs to A$@EXAMPLE.TEST S-1-5-21-1-2-3-4 now"}, ExitOK, ""},
		{"own by a key", "", []string{"own", "a.example.test", "dhcp."}, ExitOK, []string{"belongs to key:dhcp. now"}, ExitOK, ""},
		{"own by the first", "", []string{"own", "a.example.test", "first-come"}, ExitOK, []string{"first-come:"}, ExitOK, ""},
		{"own without realm", "", []string{"own", "a.example.test", "host/a"}, ExitUsage, []string{"has no realm", "Fix: "}, ExitUsage, ""},
		{"own nothing", "", []string{"own", "c.example.test", clientA}, ExitNo, []string{"neither records nor a former owner"}, ExitNo, ""},
		{"own outside", "", []string{"own", "a.example.org", clientA}, ExitNo, []string{"in no zone"}, ExitNo, ""},
		{"own what is denied", "", []string{"own", "locked.example.test", clientA}, ExitNo, []string{"REFUSED", "deny administrator"}, ExitNo, ""},
		{"release nothing", "", []string{"release", "b.example.test"}, ExitNo, []string{"b.example.test. has no owner"}, ExitNo, ""},
		{"contexts", "", []string{"contexts"}, ExitOK, []string{"no client has a security context"}, ExitNo, "not running"},
		{"drop no context", "", []string{"contexts", "-drop", clientA}, ExitNo, []string{"no context has"}, ExitNo, "not running"},
		{"freeze", "", []string{"freeze", "example.test"}, ExitOK, []string{"is frozen", "updates are refused"}, ExitNo, "not running"},
		{"thaw", "", []string{"thaw", "example.test"}, ExitOK, []string{"is not frozen"}, ExitNo, "not running"},
		{"update", "update add c.example.test 60 A 192.0.2.3\n", []string{"update", "example.test"}, ExitOK, []string{"+ c.example.test. 60 A 192.0.2.3", "1 added"}, ExitOK, ""},
		{"update, prerequisite", "prereq nxdomain a.example.test\nupdate delete a.example.test\n", []string{"update", "example.test"}, ExitNo, []string{"YXDOMAIN"}, ExitNo, ""},
		{"update, denied", "add locked.example.test 60 A 192.0.2.3\n", []string{"update", "example.test"}, ExitNo, []string{"REFUSED", "Fix: change the rule"}, ExitNo, ""},
		{"update of nothing", "", []string{"update", "example.test"}, ExitNo, []string{"no update on standard input"}, ExitNo, ""},
		{"changes", "", []string{"changes", "example.test"}, ExitOK, []string{"serial 1 -> 2  by administrator", "+ a.example.test. 60 A 192.0.2.2"}, ExitOK, ""},
		{"changes from a serial", "", []string{"changes", "example.test", "2"}, ExitOK, nil, ExitOK, ""},
		{"changes from an unknown serial", "", []string{"changes", "example.test", "4000000000"}, ExitNo, []string{"does not reach back to serial 4000000000"}, ExitNo, ""},
		{"changes from a later serial", "", []string{"changes", "example.test", "77"}, ExitNo, []string{"serial 77 is in the future: the last change led to serial 2"}, ExitNo, ""},
		{"changes from no serial", "", []string{"changes", "example.test", "x"}, ExitUsage, []string{"not a serial"}, ExitUsage, ""},
		{"stale without aging", "", []string{"stale", "example.test"}, ExitNo, []string{"does not age", "Fix: "}, ExitNo, ""},
		{"stale, preview", "", []string{"stale", "example.test", "-intervals", "7d,36h", "-in", "30d"}, ExitOK, []string{"preview with the intervals 7d and 36h, which", "no record is stale, or becomes so within 30d", "nothing in its first 36h"}, ExitOK, ""},
		{"stale, preview in JSON", "", []string{"stale", "example.test", "-intervals", "7d,36h", "-o", "json"}, ExitOK, []string{`"preview": true`}, ExitOK, ""},
		{"stale, no interval", "", []string{"stale", "example.test", "-intervals", "7d"}, ExitUsage, []string{"7d,7d"}, ExitUsage, ""},
		{"stale, no unit", "", []string{"stale", "example.test", "-intervals", "7d,7d", "-in", "14"}, ExitUsage, []string{"write a unit, such as 14d"}, ExitUsage, ""},
		{"stale, interval without unit", "", []string{"stale", "example.test", "-intervals", "7d,7"}, ExitUsage, []string{"write a unit, such as 7d"}, ExitUsage, ""},
		{"stale, 0", "", []string{"stale", "example.test", "-intervals", "0,7d", "-in", "0"}, ExitOK, []string{"no record is stale\n"}, ExitOK, ""},
		{"scavenge without aging", "", []string{"scavenge", "example.test"}, ExitNo, []string{"does not age"}, ExitNo, "not running"},
		{"two dots", "", []string{"show", "example.test.."}, ExitUsage, []string{`zone "example.test.." is not a domain name: empty label`}, ExitUsage, ""},
		{"two dots of a name", "", []string{"own", "a..example.test", clientA}, ExitUsage, []string{`name "a..example.test" is not a domain name`}, ExitUsage, ""},
		{"no format", "", []string{"show", "example.test", "-o", "xml"}, ExitUsage, []string{"show: -o xml: must be text or json\n"}, ExitUsage, ""},
		{"no flag", "", []string{"show", "example.test", "-x"}, ExitUsage, []string{"unknown flag: -x\n"}, ExitUsage, ""},
		{"no flag of that name", "", []string{"show", "example.test", "-nothing"}, ExitUsage, []string{"unknown flag: -nothing\n"}, ExitUsage, ""},
		{"update of another zone", "add a.example.test 60 A 192.0.2.1\n", []string{"update", "example.org"}, ExitNo, []string{"not in the zone example.org. Fix: names are absolute"}, ExitNo, ""},
		{"too many words", "", []string{"freeze", "a", "b"}, ExitUsage, []string{"usage: "}, ExitUsage, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, "\t\tdeny administrator name locked.example.test ANY\n\t\tgrant EXAMPLE.TEST owner .")
			if strings.Contains(test.name, "status of a zone") {
				s = newSite(t, "")
			}
			s.start()
			s.must(someNames, "update", "example.test")
			status, out, errs := s.command(test.input, test.args...)
			if status != test.status {
				t.Errorf("exit status %d, want %d", status, test.status)
			}
			for _, words := range test.says {
				if !strings.Contains(out+errs, words) {
					t.Errorf("%q is not in:\n%s%s", words, out, errs)
				}
			}
			online := s.state("a", "b", "c")

			// The same on the database, as it was before.
			s.stop()
			if err := os.RemoveAll(filepath.Join(s.dir, "db")); err != nil {
				t.Fatal(err)
			}
			s.start()
			s.must(someNames, "update", "example.test")
			s.stop()
			status, out, errs = s.command(test.input, test.args...)
			if status != test.offline || !strings.Contains(errs, test.hint) {
				t.Errorf("stopped: exit status %d, want %d:\n%s%s", status, test.offline, out, errs)
			}
			if got := s.state("a", "b", "c"); test.hint == "" && got != online {
				t.Errorf("stopped:\n%s\nrunning:\n%s", got, online)
			}
		})
	}
}

// TestDamagedZoneIsTold: status and every command on a damaged zone say what is wrong, and the fix.
func TestDamagedZoneIsTold(t *testing.T) {
	s := newSite(t, "")
	s.start()
	s.stop()
	tables, err := filepath.Glob(filepath.Join(s.dir, "db", "example.test", "*", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("%v, %v", tables, err)
	}
	for _, table := range tables {
		if err := os.WriteFile(table, []byte("damage"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	for _, test := range []struct {
		args   []string
		input  string
		status int
		says   []string
	}{
		{[]string{"status"}, "", ExitOK, []string{": not ready", "error   zone example.test.: ", "Fix: ", "\nexample.test.  -       damaged  -"}},
		{[]string{"status", "example.test"}, "", ExitOK, []string{"error   zone example.test.: ", "Fix: ", "\nzone      example.test.", "updates   secure"}},
		{[]string{"status", "example.test", "-o", "json"}, "", ExitOK, []string{`"damaged": {`, `"fix": "`}},
		{[]string{"show", "example.test"}, "", ExitNo, []string{"zone example.test.: ", "Fix: "}},
		{[]string{"update", "example.test"}, someNames, ExitNo, []string{"zone example.test.: ", "Fix: "}},
		{[]string{"own", "a.example.test", clientA}, "", ExitNo, []string{"zone example.test.: ", "Fix: "}},
		{[]string{"freeze", "example.test"}, "", ExitNo, []string{"zone example.test.: ", "Fix: "}},
	} {
		status, out, errs := s.command(test.input, test.args...)
		for _, words := range append(test.says, "database damaged", "restore it from a dump", "then reload the Corefile") {
			if status != test.status || !strings.Contains(out+errs, words) {
				t.Errorf("%q: exit status %d, %q is not in:\n%s%s", test.args, status, words, out, errs)
			}
		}
	}
}

// TestOwnAndRelease: of tombstones too.
func TestOwnAndRelease(t *testing.T) {
	s := newSite(t, "")
	s.start()
	s.must(someNames, "update", "example.test")
	s.must("", "own", "a.example.test", clientA)
	s.must("update delete a.example.test\n", "update", "example.test")
	if out := s.must("", "show", "example.test", "-owner", clientA); !strings.Contains(out, "deleted") {
		t.Errorf("no tombstone:\n%s", out)
	}
	s.must("", "own", "a.example.test", "host/other@EXAMPLE.TEST")
	if out := s.must("", "release", "a.example.test"); !strings.Contains(out, "and is free now") {
		t.Error(out)
	}
	if status, _, _ := s.command("", "show", "example.test", "a"); status != ExitNo {
		t.Error("the tombstone is left")
	}
}

// TestOwnersThatCannotBe: an owner as show has it is taken, and one of a realm whose clients are not accepted causes a warning.
func TestOwnersThatCannotBe(t *testing.T) {
	s := newSite(t, "")
	both := func() {
		t.Helper()
		for _, test := range []struct{ owner, recorded, warning string }{
			{"key1.", "key:key1.", ""},
			{"key:key1.", "key:key1.", ""},
			{"first-come:", "first-come:", ""},
			{"a@EXAMPLE.TEST", "a@EXAMPLE.TEST", ""},
			{"a@EXAMPLE.TEST S-1-5-21-1-2-3-4", "a@EXAMPLE.TEST S-1-5-21-1-2-3-4", ""},
			{"a@example.test", "a@example.test", "warning: the realm is EXAMPLE.TEST: realms are compared with case. Fix: write the realm so"},
			{"a@OTHER.TEST", "a@OTHER.TEST", "warning: clients of the realm OTHER.TEST are not accepted, only those of EXAMPLE.TEST. Fix: "},
		} {
			status, out, errs := s.command("", "own", "a.example.test", test.owner)
			if status != ExitOK || !strings.Contains(out, "belongs to "+test.recorded) || test.warning == "" && strings.Contains(errs, "warning") || !strings.Contains(errs, test.warning) {
				t.Errorf("%s: exit status %d, %s%s", test.owner, status, out, errs)
			}
		}
	}
	s.start()
	s.must(someNames, "update", "example.test")
	both()
	s.stop()
	both()
	status, out, _ := s.command("", "own", "a.example.test", "b@OTHER.TEST", "-o", "json")
	var o view.Ownership
	if err := json.Unmarshal([]byte(out), &o); status != ExitOK || err != nil || !strings.Contains(o.Warning, "OTHER.TEST are not accepted") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// TestChanges: what happened, by whom, oldest first.
func TestChanges(t *testing.T) {
	s := newSite(t, "")
	s.start()
	s.must(someNames, "update", "example.test")
	s.must("", "own", "a.example.test", clientA)
	s.must("update delete a.example.test A 192.0.2.1\n", "update", "example.test")
	s.must("", "release", "a.example.test")
	var list []view.Change
	if err := json.Unmarshal([]byte(s.must("", "changes", "example.test", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range list {
		line := fmt.Sprintf("%d-%d %s -%d +%d", c.From, c.To, c.Author, len(c.Removed), len(c.Added))
		for _, o := range c.Owners {
			line += fmt.Sprintf(" %s:%s", o.Name, o.Owner)
		}
		if c.Time.IsZero() {
			t.Errorf("no time: %+v", c)
		}
		got = append(got, line)
	}
	want := "1-2 administrator -0 +3|2-3 administrator -1 +0"
	if strings.Join(got, "|") != want {
		t.Errorf("%q, want %s", got, want)
	}
	if out := s.must("", "changes", "example.test", "2"); strings.Contains(out, "1 -> 2") || !strings.Contains(out, "2 -> 3") {
		t.Error(out)
	}
	s.stop()
	if out := s.must("", "changes", "example.test"); !strings.Contains(out, "- a.example.test. 60 A 192.0.2.1") {
		t.Error(out)
	}
}

// TestNothingToShow: there is no head without names, and a name that is not there is an error.
func TestNothingToShow(t *testing.T) {
	s := newSite(t, "")
	s.start()
	for args, want := range map[string]int{"nothing": ExitNo, "-owner " + clientA: ExitOK} {
		status, out, errs := s.command("", append([]string{"show", "example.test"}, strings.Fields(args)...)...)
		if status != want || out != "" || errs == "" {
			t.Errorf("%s: exit status %d, %q, %q", args, status, out, errs)
		}
		if _, out, _ := s.command("", append([]string{"show", "example.test", "-o", "json"}, strings.Fields(args)...)...); out != "[]\n" {
			t.Errorf("%s: %q", args, out)
		}
	}
}

// TestFrozenIsTold: status says that clients' updates are refused, and for how long.
func TestFrozenIsTold(t *testing.T) {
	s := newSite(t, "")
	s.start()
	s.must("", "freeze", "example.test")
	var state view.Status
	if err := json.Unmarshal([]byte(s.must("", "status", "-o", "json")), &state); err != nil {
		t.Fatal(err)
	}
	if z := state.Zones[0]; z.Updates != "frozen" || z.Mode != "secure" || z.Frozen == nil || len(state.Findings) == 0 || !state.Ready {
		t.Errorf("%+v", state)
	}
	if out := s.must("", "status"); !strings.Contains(out, "warning zone example.test.: it is frozen since ") || !strings.Contains(out, "Fix: coredns gsstsig thaw example.test.") {
		t.Error(out)
	}
	if out := s.must("", "thaw", "example.test"); !strings.Contains(out, "updates secure") {
		t.Error(out)
	}
	s.must("", "freeze", "-all", "example.test")
	if out := s.must("", "status"); !strings.Contains(out, "all updates are refused, those of the administrator too") || !strings.Contains(out, "coredns gsstsig thaw -all example.test.") {
		t.Error(out)
	}
	if status, _, errs := s.command("", "thaw", "example.test"); status == ExitOK || !strings.Contains(errs, "coredns gsstsig thaw -all example.test.") {
		t.Errorf("%d, %q", status, errs)
	}
	if out := s.must("", "thaw", "-all", "example.test"); !strings.Contains(out, "updates secure") {
		t.Error(out)
	}
}

// TestScavengeTakesNothingStatic: records of the administrator never go.
func TestScavengeTakesNothingStatic(t *testing.T) {
	s := newSite(t, "\t\taging 1h 1h")
	s.start()
	s.must(someNames, "update", "example.test")
	if out := s.must("", "stale", "example.test", "-in", "100d"); strings.Contains(out, "a.example.test.") {
		t.Error(out)
	}
	if out := s.must("", "scavenge", "example.test"); !strings.Contains(out, "0 records removed") {
		t.Error(out)
	}
	// The zone has just been opened, so that nothing is taken for an hour. A preview is not about that.
	if out := s.must("", "stale", "example.test"); !strings.Contains(out, "nothing is taken before") || strings.Contains(out, "preview") {
		t.Error(out)
	}
	if out := s.must("", "stale", "example.test", "-intervals", "1h,2h"); strings.Contains(out, "before") || !strings.Contains(out, "preview") {
		t.Error(out)
	}
	if got := s.state("a"); got != "a 60 A 192.0.2.1\na 60 A 192.0.2.2" {
		t.Error(got)
	}
	// Nor is anything taken while the zone is frozen, or the server is stopped, whatever is due.
	s.must("", "freeze", "example.test")
	if out := s.must("", "stale", "example.test"); !strings.Contains(out, "frozen: nothing is taken before it was thawed, and 1h after") {
		t.Error(out)
	}
	if out := s.must("", "stale", "example.test", "-o", "json"); !strings.Contains(out, `"frozen": true`) {
		t.Error(out)
	}
	s.must("", "thaw", "example.test")
	s.stop()
	if out := s.must("", "stale", "example.test"); !strings.Contains(out, "nothing is taken before the server has run for 1h") {
		t.Error(out)
	}
}

// TestVersion: the version of the module is shown.
func TestVersion(t *testing.T) {
	for _, word := range []string{"version", "-version", "--version"} {
		if status, out, _ := run(t, word); status != ExitOK || !strings.HasPrefix(out, "coredns gsstsig ") || !strings.Contains(out, ", for CoreDNS 1.") {
			t.Errorf("%s: exit status %d, %q", word, status, out)
		}
	}
}

// TestEdit: what is saved is applied as one transaction, and nothing of what others have done meanwhile is lost.
func TestEdit(t *testing.T) {
	const other = `printf 'update add other.example.test 60 A 192.0.2.77\nupdate add a.example.test 60 AAAA 2001:db8::1\n' | ctl update example.test >/dev/null`
	for _, test := range []struct {
		name, script string
		status       int
		says         string
		state        string // of a, b, other
	}{
		{"nothing", "true", ExitOK, "nothing was edited", "a 60 A 192.0.2.1\na 60 A 192.0.2.2\nb 60 TXT \"one\" \"two\""},
		{"an address, TTL and a new name", `sed -i 's/192.0.2.2$/192.0.2.3/; s/^\(b.*\)60/\1 600/' "$1"; echo 'other 300 IN A 192.0.2.9' >> "$1"`, ExitOK, "2 records removed, 3 added",
			"a 60 A 192.0.2.1\na 60 A 192.0.2.3\nb 600 TXT \"one\" \"two\"\nother 300 A 192.0.2.9"},
		{"a name goes", `sed -i '/^a\.example/d' "$1"`, ExitOK, "2 records removed, 0 added", "b 60 TXT \"one\" \"two\""},
		{"an owner", `echo ';gsstsig: owner a.example.test. ` + clientA + `' >> "$1"`, ExitOK, "a.example.test. had no owner, and belongs to " + clientA + " now\nzone example.test.: 1 owner changed, serial 2",
			"a 60 A 192.0.2.1\na 60 A 192.0.2.2\na of " + clientA + "\nb 60 TXT \"one\" \"two\""},
		{"an owner without records", `echo ';gsstsig: owner c.example.test. ` + clientA + `' >> "$1"`, ExitNo, "has no records", "a 60 A 192.0.2.1\na 60 A 192.0.2.2\nb 60 TXT \"one\" \"two\""},
		{"an owner without realm", `echo ';gsstsig: owner a.example.test. foo' >> "$1"`, ExitNo, "has no realm. Fix: ", "a 60 A 192.0.2.1\na 60 A 192.0.2.2\nb 60 TXT \"one\" \"two\""},
		{"other names meanwhile", other + `; sed -i 's/192.0.2.2$/192.0.2.3/' "$1"`, ExitOK, "1 record removed, 1 added",
			"a 60 A 192.0.2.1\na 60 A 192.0.2.3\na 60 AAAA 2001:db8::1\nb 60 TXT \"one\" \"two\"\nother 60 A 192.0.2.77"},
		{"the same RRset meanwhile", `printf 'update add a.example.test 60 A 192.0.2.4\n' | ctl update example.test >/dev/null; sed -i 's/192.0.2.2$/192.0.2.3/' "$1"`, ExitNo,
			"now      60 192.0.2.4\n  edited   60 192.0.2.1\n  edited   60 192.0.2.3", "a 60 A 192.0.2.1\na 60 A 192.0.2.2\na 60 A 192.0.2.4\nb 60 TXT \"one\" \"two\""},
		{"the same new name meanwhile", other + `; echo 'other 300 IN A 192.0.2.9' >> "$1"`, ExitNo, "as read  (none)",
			"a 60 A 192.0.2.1\na 60 A 192.0.2.2\na 60 AAAA 2001:db8::1\nb 60 TXT \"one\" \"two\"\nother 60 A 192.0.2.77"},
		{"a CNAME beside a record that came meanwhile", other + `; echo 'other 300 IN CNAME a' >> "$1"`, ExitNo, "other.example.test. A:",
			"a 60 A 192.0.2.1\na 60 A 192.0.2.2\na 60 AAAA 2001:db8::1\nb 60 TXT \"one\" \"two\"\nother 60 A 192.0.2.77"},
		{"the owner meanwhile", `ctl own a.example.test host/x@EXAMPLE.TEST >/dev/null; echo ';gsstsig: owner a.example.test. ` + clientA + `' >> "$1"`, ExitNo, "the owner is host/x@EXAMPLE.TEST now, and was to be " + clientA,
			"a 60 A 192.0.2.1\na 60 A 192.0.2.2\na of host/x@EXAMPLE.TEST\nb 60 TXT \"one\" \"two\""},
		{"the SOA record while the serial goes on", other + `; sed -i 's/ 900 / 901 /' "$1"`, ExitOK, "serial ",
			"a 60 A 192.0.2.1\na 60 A 192.0.2.2\na 60 AAAA 2001:db8::1\nb 60 TXT \"one\" \"two\"\nother 60 A 192.0.2.77"},
		{"a syntax error", `echo 'c 60 IN A 192.0.2' >> "$1"`, ExitNo, "the text is kept in ", "a 60 A 192.0.2.1\na 60 A 192.0.2.2\nb 60 TXT \"one\" \"two\""},
		{"a CNAME beside others", `echo 'a 60 IN CNAME b' >> "$1"`, ExitNo, "CNAME and other data", "a 60 A 192.0.2.1\na 60 A 192.0.2.2\nb 60 TXT \"one\" \"two\""},
		{"the first line", `sed -i 1d "$1"`, ExitNo, "the first line is gone", "a 60 A 192.0.2.1\na 60 A 192.0.2.2\nb 60 TXT \"one\" \"two\""},
		{"no NS record", `sed -i '/ NS /d' "$1"`, ExitNo, "no NS record at the zone's name", "a 60 A 192.0.2.1\na 60 A 192.0.2.2\nb 60 TXT \"one\" \"two\""},
		{"an editor that fails", "exit 3", ExitNo, "nothing was changed: editor", "a 60 A 192.0.2.1\na 60 A 192.0.2.2\nb 60 TXT \"one\" \"two\""},
		{"an editor that fails later", `echo >> "$1"; exit 3`, ExitNo, "the text is kept in ", "a 60 A 192.0.2.1\na 60 A 192.0.2.2\nb 60 TXT \"one\" \"two\""},
	} {
		for _, running := range []bool{true, false} {
			if !running && strings.Contains(test.name, "while") {
				continue // the database would change under the same conditions
			}
			t.Run(fmt.Sprintf("%s, running %t", test.name, running), func(t *testing.T) {
				s := newSite(t, "")
				s.start()
				s.must(someNames, "update", "example.test")
				if !running {
					s.stop()
				}
				s.editor(test.script)
				status, out, errs := s.command("", "edit", "example.test")
				if status != test.status || !strings.Contains(out+errs, test.says) {
					t.Errorf("exit status %d, %q is not in:\n%s%s", status, test.says, out, errs)
				}
				if got := s.state("a", "b", "other"); got != test.state {
					t.Errorf("the zone is\n%s\nwant\n%s", got, test.state)
				}
				texts, err := filepath.Glob(filepath.Join(s.dir, "edit-*.zone"))
				want := test.status
				if strings.HasPrefix(test.says, "nothing was changed") {
					want = 0 // there is no work in it
				}
				if err != nil || len(texts) != want {
					t.Errorf("texts left: %q, %v", texts, err)
				}
			})
		}
	}
}

// TestEditInJSON: there is an answer if nothing was edited, if owners alone were, and if others have changed the same, whose answer has
// what the administrator wrote.
func TestEditInJSON(t *testing.T) {
	s := newSite(t, "")
	s.start()
	s.must(someNames, "update", "example.test")
	edit := func(script string, status int) (e view.Edited) {
		t.Helper()
		s.editor(script)
		got, out, errs := s.command("", "edit", "example.test", "-o", "json")
		if err := json.Unmarshal([]byte(out), &e); err != nil || got != status {
			t.Fatalf("exit status %d, %v:\n%s%s", got, err, out, errs)
		}
		return e
	}
	for _, script := range []string{"true", `echo '; a comment' >> "$1"`} {
		if e := edit(script, ExitOK); e.Changed || e.From != 2 || e.To != 2 || e.Removed == nil || e.Zone != "example.test." {
			t.Errorf("%s: %+v", script, e)
		}
	}
	owner := view.Ownership{Zone: "example.test.", Name: "a.example.test.", Owner: clientA}
	if e := edit(`echo ';gsstsig: owner a.example.test. `+clientA+`' >> "$1"`, ExitOK); !e.Changed || len(e.Owners) != 1 || e.Owners[0] != owner || len(e.Notes) != 0 {
		t.Errorf("%+v", e)
	}
	e := edit(`printf 'add a.example.test 60 A 192.0.2.4\n' | ctl update example.test >/dev/null; sed -i 's/192.0.2.2$/192.0.2.3/' "$1"`, ExitNo)
	if e.Changed || len(e.Conflicts) != 1 || strings.Join(e.Conflicts[0].Edited.Data, " ") != "192.0.2.1 192.0.2.3" {
		t.Errorf("%+v", e)
	}
	if text, err := os.ReadFile(e.File); err != nil || !strings.Contains(string(text), "192.0.2.3") {
		t.Errorf("%q: %v", e.File, err)
	}
}

// TestIgnoredLines: an update tells which of its lines RFC 2136 has servers ignore, and why.
func TestIgnoredLines(t *testing.T) {
	s := newSite(t, "")
	s.start()
	s.must(someNames, "update", "example.test")
	s.must("add alias.example.test 60 CNAME a.example.test.\n", "update", "example.test")
	const lines = "; a comment\nadd alias.example.test 60 A 192.0.2.5\nadd a.example.test 60 CNAME b.example.test.\nupdate add example.test 60 SOA a. b. 1 1 1 1 1\n" +
		"update delete example.test NS\nupdate delete example.test SOA\nadd c.example.test 60 A 192.0.2.6\n"
	for _, running := range []bool{true, false} {
		if !running {
			s.stop()
		}
		out := s.must(lines, "update", "example.test")
		for _, words := range []string{
			"ignored: line 2, add alias.example.test. 60 A 192.0.2.5: the name has a CNAME record",
			"ignored: line 3, add a.example.test. 60 CNAME b.example.test.: the name has other records",
			"ignored: line 4, add example.test. 60 SOA a. b. 1 1 1 1 1: the serial is not greater",
			"ignored: line 5, delete example.test. NS: the NS records",
			"ignored: line 6, delete example.test. SOA: a zone keeps its SOA record",
			"zone example.test.: 0 records removed, 1 added, serial ",
		} {
			if !strings.Contains(out, words) {
				t.Errorf("running %t: %q is not in:\n%s", running, words, out)
			}
		}
		s.must("delete c.example.test A\n", "update", "example.test")
		var a view.Applied
		if err := json.Unmarshal([]byte(s.must(lines, "update", "example.test", "-o", "json")), &a); err != nil || len(a.Ignored) != 5 || a.Ignored[0].Line != 2 || a.Ignored[0].Reason == "" {
			t.Errorf("running %t: %+v, %v", running, a, err)
		}
		s.must("delete c.example.test A\n", "update", "example.test")
	}
}

// TestEditLarge: an edit is not bound to what a message may have.
func TestEditLarge(t *testing.T) {
	s := newSite(t, "")
	s.start()
	const count = 5000
	s.editor(fmt.Sprintf(`i=0; while [ $i -lt %d ]; do echo "n$i 60 IN TXT some-text-of-some-length-$i"; i=$((i+1)); done >> "$1"`, count))
	if out := s.must("", "edit", "example.test"); !strings.Contains(out, fmt.Sprintf("%d added", count)) {
		t.Errorf("%.300s", out)
	}
	s.editor(`sed -i '/some-text/d' "$1"`)
	if out := s.must("", "edit", "example.test"); !strings.Contains(out, fmt.Sprintf("%d records removed", count)) {
		t.Errorf("%.300s", out)
	}
}

// TestNoSocket: the error says what to do.
func TestNoSocket(t *testing.T) {
	s := newSite(t, "\t\tcontrol off")
	s.start()
	if status, _, errs := s.command("", "status"); status != ExitNo || !strings.Contains(errs, "control is off") || !strings.Contains(errs, "Fix: ") {
		t.Errorf("exit status %d: %s", status, errs)
	}
	if status, _, errs := s.command("add a.example.test 60 A 192.0.2.1\n", "update", "example.test"); status != ExitNo || !strings.Contains(errs, "process") {
		t.Errorf("the database of a running server: exit status %d: %s", status, errs)
	}
	status, _, errs := run(t, "show", "-control", filepath.Join(s.dir, "nothing"), "example.test")
	if status != ExitNo || !strings.Contains(errs, "not running") {
		t.Errorf("exit status %d: %s", status, errs)
	}
	if status, _, errs := run(t, "status", "-conf", write(t, "")); status != ExitNo || !strings.Contains(errs, "no control socket") {
		t.Errorf("in memory: exit status %d: %s", status, errs)
	}
}

// TestReadUpdate: lines of nsupdate, and what is wrong with them.
func TestReadUpdate(t *testing.T) {
	for line, want := range map[string]string{
		"update add a.example.test 60 A 192.0.2.1":        "U a.example.test. 60 IN A 192.0.2.1",
		"add a.example.test. 1h IN TXT \"a ; b\"":         `U a.example.test. 3600 IN TXT "a ; b"`,
		"ttl 5\nadd a.example.test A 192.0.2.1":           "U a.example.test. 5 IN A 192.0.2.1",
		"update delete a.example.test":                    "U a.example.test. 0 ANY ANY",
		"update delete a.example.test A":                  "U a.example.test. 0 ANY A",
		"del a.example.test 60 IN A 192.0.2.1":            "U a.example.test. 0 NONE A 192.0.2.1",
		"prereq nxdomain a.example.test":                  "P a.example.test. 0 NONE ANY",
		"yxdomain a.example.test":                         "P a.example.test. 0 ANY ANY",
		"prereq nxrrset a.example.test A":                 "P a.example.test. 0 NONE A",
		"prereq yxrrset a.example.test IN A":              "P a.example.test. 0 ANY A",
		"prereq yxrrset a.example.test A 192.0.2.1\nquit": "P a.example.test. 0 IN A 192.0.2.1",
		"server ns1\nzone example.test\n; comment\n\nadd a.example.test 60 TYPE65280 \\# 1 00\nsend\nshow\n": `U a.example.test. 60 IN TYPE65280 \# 1 00`,
	} {
		u, err := readUpdate(strings.NewReader(line), "example.test.")
		var got []string
		for sign, list := range map[string][]view.Instruction{"P": u.Prerequisites, "U": u.Updates} {
			for _, in := range list {
				got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %d %s %s %s", sign, in.Name, in.TTL, in.Class, in.Type, in.Data)))
			}
		}
		if err != nil || strings.Join(got, "|") != want {
			t.Errorf("%q: %q, %v", line, got, err)
		}
	}
	for line, says := range map[string]string{
		"add a.example.test A 192.0.2.1":            "line 1: a.example.test. has no TTL",
		"add a.example.org 60 A 192.0.2.1":          "not in the zone",
		"add a.example.test 60 A 192.0.2":           "line 1: A 192.0.2: A: address",
		"add a.example.test 60 TXT \"a":             "line 1: TXT \"a: quoted string",
		"add a.example.test 60 A":                   "the data is missing",
		"add a.example.test 2147483648 A 192.0.2.1": `TTL "2147483648": more than 2147483647`,
		"add a.example.test 4294967296 A 192.0.2.1": `TTL "4294967296": `,
		"ttl 4000w": `TTL "4000w": more than`,
		"add a.example.test 60 ADDRESS 192.0.2.1": "not a type",
		"frobnicate a":                     "not a command of nsupdate",
		"zone example.org":                 "the update is for example.test.",
		"class CH":                         "class",
		"prereq nxdomain a.example.test A": "too much",
		"prereq nxrrset a.example.test A 192.0.2.1": "takes no data",
		"add": "a name is missing",
		"add a.example.test 60 A 192.0.2.1\nsend\nadd b.example.test 60 A 192.0.2.1":     "after send in line 2",
		"add a.example.test 60 TXT x\nadd a.example.test 60 A\nadd a.example.test 60 MX": "line 3",
		strings.Repeat("x", maxUpdateLine+1):                                             "token too long",
	} {
		if _, err := readUpdate(strings.NewReader(line), "example.test."); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %v", line, err)
		}
	}
}

// TestStoppedServerIsTold: a command that works on a database says so on standard error, and what it prints stays as it is.
func TestStoppedServerIsTold(t *testing.T) {
	s := newSite(t, "")
	s.start()
	s.must(someNames, "update", "example.test")
	s.editor(`echo 'd 60 A 192.0.2.4' >> "$1"`)
	for _, running := range []bool{true, false} {
		if !running {
			s.stop()
		}
		for _, test := range []struct {
			input, doing string
			args         []string
		}{
			{"", "reading", []string{"show", "example.test"}},
			{"", "reading", []string{"show", "example.test", "-o", "json"}},
			{"", "reading", []string{"changes", "example.test", "-o", "json"}},
			{"", "reading", []string{"stale", "example.test", "-intervals", "7d,7d"}},
			{"update add c.example.test 60 A 192.0.2.3\n", "changing", []string{"update", "example.test"}},
			{"", "changing", []string{"own", "a.example.test", clientA}},
			{"", "changing", []string{"release", "a.example.test"}},
			{"", "reading", []string{"edit", "example.test"}},
		} {
			line := fmt.Sprintf("note: the server is not running: %s the database %s\n", test.doing, filepath.Join(s.dir, "db", "example.test"))
			status, out, errs := s.command(test.input, test.args...)
			if status != ExitOK || strings.Contains(out, "not running") || strings.HasPrefix(errs, line) == running {
				t.Errorf("%v, running %v: exit status %d, want %q:\n%s%s", test.args, running, status, line, out, errs)
			}
		}
	}
}

// TestUnmetPrerequisite: it is told once.
func TestUnmetPrerequisite(t *testing.T) {
	s := newSite(t, "")
	s.start()
	s.must(someNames, "update", "example.test")
	want := "gsstsigctl update: zone example.test.: a prerequisite is not met (YXDOMAIN)\n"
	if _, _, errs := s.command("prereq nxdomain a.example.test\nupdate delete a.example.test\n", "update", "example.test"); errs != want {
		t.Errorf("%q, want %q", errs, want)
	}
}

// TestUnreadableCorefile: -control needs none.
func TestUnreadableCorefile(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "Corefile")
	if err := os.WriteFile(bad, []byte("example.test {\n\tgsstsig {\n\t\tupdates sometimes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, conf := range []string{bad, bad + ".missing"} {
		status, _, errs := run(t, "status", "-conf", conf)
		if status != ExitNo || !strings.Contains(errs, "-control PATH") || strings.Count(errs, "Fix: ") != 1 {
			t.Errorf("exit status %d: %s", status, errs)
		}
	}
}
