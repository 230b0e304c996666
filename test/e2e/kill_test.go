//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// killRounds is how often TestKill kills the server; the environment variable KILL_ROUNDS asks for more.
const killRounds = 50

// killWriters is how many clients update at the same time.
const killWriters = 16

// writer is a client that replaces one record again and again and adds a new name each time, both in one update.
type writer struct {
	name         string
	acknowledged int          // the last value that was answered NOERROR
	attempted    int          // the last value that was sent
	lost         map[int]bool // values that were sent and never answered
}

// TestKill kills the server at random moments while clients update. Whatever was acknowledged is there after the next
// start, whole; what was not acknowledged is there whole or not at all.
func TestKill(t *testing.T) {
	rounds := killRounds
	if text := os.Getenv("KILL_ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	corefile := fmt.Sprintf(`%s {
    bind 127.0.0.1
    tsig {
        secret %s %s
    }
    gsstsig {
        keytab %s
        database %s
        grant %s zonesub ANY
    }
    transfer {
        to *
    }
    errors
}
`, forwardZone, peerKey, peerSecret, shared.keytab, filepath.Join(t.TempDir(), "zones"), peerKey)
	binary, err := shared.coredns()
	if err != nil {
		t.Fatal(err)
	}
	writers := make([]*writer, killWriters)
	for i := range writers {
		writers[i] = &writer{name: fmt.Sprintf("writer%d", i), lost: make(map[int]bool)}
	}
	total := 0
	for round := range rounds {
		s, err := server.Start(shared.ctx, server.Config{Binary: binary, Corefile: corefile, Probe: forwardZone})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, w := range writers {
			w.check(t, s.Address, round)
		}
		total += killDuring(t, s, writers)
		if t.Failed() {
			return
		}
	}
	s := startCoreDNS(t, server.Config{Corefile: corefile, Probe: forwardZone})
	present := make(map[string]bool)
	transfer := &dns.Transfer{}
	envelopes, err := transfer.In(new(dns.Msg).SetAxfr(forwardZone+"."), s.Address.String())
	if err != nil {
		t.Fatal(err)
	}
	for e := range envelopes {
		if e.Error != nil {
			t.Fatal(e.Error)
		}
		for _, rr := range e.RR {
			present[rr.Header().Name] = true
		}
	}
	for _, w := range writers {
		w.check(t, s.Address, rounds)
		for value := 1; value <= w.acknowledged; value++ {
			if name := w.mark(value); !present[name] && !w.lost[value] {
				t.Errorf("%s was acknowledged and is lost", name)
			}
		}
	}
	t.Logf("%d rounds, %d acknowledged updates", rounds, total)
}

// killDuring lets the writers loose, kills the server after a random time, and returns how many updates it acknowledged.
func killDuring(t *testing.T, s *server.Server, writers []*writer) int {
	t.Helper()
	var group sync.WaitGroup
	var mu sync.Mutex
	acknowledged := 0
	for _, w := range writers {
		group.Go(func() {
			n, err := w.write(s.Address)
			mu.Lock()
			defer mu.Unlock()
			acknowledged += n
			if err != nil {
				t.Error(err)
			}
		})
	}
	<-time.After(time.Duration(rand.IntN(400)) * time.Millisecond)
	s.Kill()
	group.Wait()
	return acknowledged
}

// mark is the name that an update with that value adds.
func (w *writer) mark(value int) string {
	return fmt.Sprintf("%s-%d.%s.", w.name, value, forwardZone)
}

// write sends updates until the server is gone.
func (w *writer) write(address netip.AddrPort) (acknowledged int, err error) {
	conn, err := dns.DialTimeout("tcp", address.String(), 5*time.Second)
	if err != nil {
		return 0, nil // killed before it began
	}
	defer conn.Close()
	for {
		// What was sent without an answer may be there, so the next value is another one.
		value := max(w.acknowledged, w.attempted) + 1
		record := &dns.TXT{
			Hdr: dns.RR_Header{Name: w.name + "." + forwardZone + ".", Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60},
			Txt: []string{strconv.Itoa(value)},
		}
		m := new(dns.Msg).SetUpdate(forwardZone + ".")
		m.RemoveRRset([]dns.RR{record})
		m.Insert([]dns.RR{record, &dns.TXT{
			Hdr: dns.RR_Header{Name: w.mark(value), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{"x"},
		}})
		w.attempted = value
		reply, err := exchangeSigned(conn, m, false)
		if err != nil {
			w.lost[value] = true
			return acknowledged, nil // killed
		}
		if reply.Rcode != dns.RcodeSuccess {
			return acknowledged, errors.New(w.name + ": " + dns.RcodeToString[reply.Rcode])
		}
		w.acknowledged = value
		acknowledged++
	}
}

// check compares what the server has with what it acknowledged.
func (w *writer) check(t *testing.T, address netip.AddrPort, round int) {
	t.Helper()
	found := values(t, address, w.name+"."+forwardZone, dns.TypeTXT)
	value := 0
	if len(found) == 1 {
		value, _ = strconv.Atoi(strings.Trim(found[0], `"`))
	}
	// A value that was sent and never answered may have come to be, and stays until a later one is applied.
	if len(found) > 1 || value != w.acknowledged && (value < w.acknowledged || !w.lost[value]) {
		t.Fatalf("round %d: %s is %q; acknowledged %d, attempted %d", round, w.name, found, w.acknowledged, w.attempted)
	}
	if value > 0 {
		if marks := values(t, address, strings.TrimSuffix(w.mark(value), "."), dns.TypeTXT); len(marks) != 1 {
			t.Fatalf("round %d: half of the update that made %s %d is there", round, w.name, value)
		}
	}
}
