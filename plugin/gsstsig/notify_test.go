package gsstsig

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// TestNotifierCoalesces: any number of changes during a NOTIFY cause one more NOTIFY.
func TestNotifierCoalesces(t *testing.T) {
	sent := make(chan string)
	n := &notifier{send: func(origin string) error {
		sent <- origin
		return errors.New("no answer")
	}}
	n.changed("example.test.")
	want(t, "the first", <-sent, "example.test.")
	for range 1000 {
		n.changed("example.test.")
	}
	want(t, "the second", <-sent, "example.test.")
	n.changed("example.org.")
	want(t, "another zone", <-sent, "example.org.")
}

// TestNotifyFailuresAreLogged: each secondary that does not accept a NOTIFY has a line with the fix, and no line for the same again
// at once.
func TestNotifyFailuresAreLogged(t *testing.T) {
	answering := func(rcode int) string {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
			_ = w.WriteMsg(new(dns.Msg).SetRcode(r, rcode)) // the client gives up, and the test fails
		})}
		go func() { _ = server.ActivateAndServe() }() // ends with Shutdown
		t.Cleanup(func() { _ = server.Shutdown() })
		return conn.LocalAddr().String()
	}
	good, refuses, lacks, fails, none := answering(dns.RcodeSuccess), answering(dns.RcodeRefused), answering(dns.RcodeNotAuth), answering(dns.RcodeServerFailure), freeAddress(t)
	s := start(t, strings.Replace(transferCorefile, "to *", "to "+strings.Join([]string{good, refuses, lacks, fails, none}, " "), 1))
	host := s.context("host/client1.example.test")
	failed := func() float64 {
		return metric(t, "coredns_gsstsig_notifies_total", "zone", "example.test.", "result", "failed")
	}
	for round := range 2 {
		before := failed()
		want(t, "update", s.signed(host, message(t, "example.test.", "+a.example.test. "+[]string{"300", "400"}[round]+" A 192.0.2.1")), dns.RcodeSuccess)
		for failed() == before {
			time.Sleep(time.Millisecond)
		}
	}
	s.stop()
	for _, words := range [][]string{
		{refuses, " has not accepted NOTIFY: REFUSED; it finds the change at its next refresh. Fix: name the address that this server sends from"},
		{lacks, " has not accepted NOTIFY: NOTAUTH; it finds the change at its next refresh. Fix: add the zone to that server"},
		{fails, " has not accepted NOTIFY: SERVFAIL; it finds the change at its next refresh. Fix: read that server's log"},
		{none, " has not accepted NOTIFY: read udp ", "connection refused; it finds the change at its next refresh. Fix: start that server"},
	} {
		lines := logged.lines(append(words, "[WARNING]", "zone example.test.: the secondary 127.0.0.1:", ", or take its address out of *transfer*")...)
		if len(lines) != 1 {
			t.Errorf("%q is in %d lines: %q", words, len(lines), lines)
		}
	}
	if lines := logged.lines(good); len(lines) != 0 {
		t.Errorf("the one that accepts: %q", lines)
	}
}

// TestNotifyFailures: what is logged from round to round.
func TestNotifyFailures(t *testing.T) {
	refused := func(address string) error {
		return errors.New(`notify for zone "a.test." was not accepted by "` + address + `": rcode was "REFUSED"`)
	}
	silent := func(port string) error {
		return errors.New(`notify for zone "a.test." was not accepted by "192.0.2.1:53": "read udp 192.0.2.9:` + port + `->192.0.2.1:53: i/o timeout"`)
	}
	var f notifyFailures
	now := time.Now()
	for i, round := range []struct {
		after time.Duration
		zone  string
		err   error
		want  []string // address and severity
	}{
		{0, "a.test.", nil, nil},
		{1, "a.test.", errors.Join(errors.Join(nil, silent("1")), refused("192.0.2.2:53")), []string{"warning 192.0.2.1:53", "warning 192.0.2.2:53"}},
		{1, "a.test.", errors.Join(errors.Join(nil, silent("2")), refused("192.0.2.2:53")), nil},
		{1, "b.test.", errors.Join(nil, silent("3")), []string{"warning 192.0.2.1:53"}},
		{1, "a.test.", errors.Join(refused("192.0.2.1:53"), refused("192.0.2.2:53")), []string{"warning 192.0.2.1:53"}},
		{1, "a.test.", errors.Join(refused("192.0.2.2:53")), []string{"ok 192.0.2.1:53"}},
		{repeatedAfter, "a.test.", errors.Join(refused("192.0.2.2:53")), []string{"warning 192.0.2.2:53"}},
		{1, "a.test.", refused("192.0.2.2:53"), nil},
		{1, "a.test.", nil, []string{"ok 192.0.2.2:53"}},
		{1, "a.test.", nil, nil},
		{1, "a.test.", errors.New("of another\nform"), []string{"warning NOTIFY:"}},
		{1, "a.test.", errors.New("of another\nform"), nil},
		{1, "a.test.", nil, nil},
		{1, "a.test.", refused("192.0.2.2:53"), []string{"warning 192.0.2.2:53"}},
	} {
		now = now.Add(round.after)
		var got []string
		for _, finding := range f.take(round.zone, round.err, now) {
			if text := finding.String(); strings.Contains(text, "\n") || !strings.HasPrefix(text, "zone "+round.zone+": ") || (finding.Severity == diagnose.Warning) != strings.Contains(text, "Fix: ") {
				t.Errorf("round %d: %q", i, text)
			}
			words := strings.Fields(finding.Problem)
			at := slices.IndexFunc(words, func(word string) bool { return strings.HasPrefix(word, "192.0.2.") || word == "NOTIFY:" })
			got = append(got, string(finding.Severity)+" "+words[at])
		}
		if !slices.Equal(got, round.want) {
			t.Errorf("round %d: %q, want %q", i, got, round.want)
		}
	}
}
