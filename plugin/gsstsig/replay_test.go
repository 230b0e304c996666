package gsstsig

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/gsstsigtest"
	"github.com/gsstsig/coredns-gsstsig/internal/test/relay"
	"github.com/gsstsig/coredns-gsstsig/internal/test/transcript"
)

// TestReplay sends the server the recorded messages of real clients, and compares its replies with the recorded ones, octet by
// octet where they are signed: the tokens of the handshakes, the RCODEs and the signatures. See testdata/transcripts/README.md.
func TestReplay(t *testing.T) {
	eachTranscript(t, func(r *replay) {
		for i, e := range r.recorded.Exchanges {
			r.exchange(i, e)
		}
	})
}

// TestReplayAltered is an attacker between client and server, who sends an altered copy before each signed message, and each
// handshake and each signed message again afterwards. The server acts on none of these, and the client's replies stay the same.
func TestReplayAltered(t *testing.T) {
	eachTranscript(t, func(r *replay) {
		for i, e := range r.recorded.Exchanges {
			request := new(dns.Msg)
			if err := request.Unpack(e.Request); err != nil {
				r.t.Fatal(err)
			}
			signature, err := gsstsigtest.FindSignature(e.Request)
			if err != nil {
				r.t.Fatal(err)
			}
			if signature != nil {
				at := bytes.LastIndex(e.Request, signature.MAC)
				// The message, the MAC's header, its sequence number, and its checksum.
				for _, octet := range []int{3, at + 2, at + 15, at + 16, at + len(signature.MAC) - 1} {
					altered := e
					altered.Network, altered.Request = "udp", bytes.Clone(e.Request)
					altered.Request[octet] ^= 1
					r.refused(i, altered)
				}
			}
			r.exchange(i, e)
			if signature != nil || request.Question[0].Qtype == dns.TypeTKEY {
				again := e
				again.Network = "udp"
				r.refused(i, again)
			}
		}
	})
}

// eachTranscript runs a test with each transcript, and compares the zones afterwards with the recorded ones.
func eachTranscript(t *testing.T, run func(*replay)) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			recorded, err := transcript.Parse(string(text))
			if err != nil {
				t.Fatal(err)
			}
			r := newReplay(t, recorded)
			run(r)
			for _, z := range recorded.Zones {
				conn, err := net.Dial("tcp", r.server.address)
				if err != nil {
					t.Fatal(err)
				}
				now, err := transcript.Transfer(conn, z.Origin)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(now.Records, z.Records) {
					t.Errorf("afterwards %s has\n%s\nand not\n%s", z.Origin, strings.Join(now.Records, "\n"), strings.Join(z.Records, "\n"))
				}
			}
		})
	}
}

// replay is a server that has its time and its randomness from a transcript.
type replay struct {
	t           *testing.T
	recorded    *transcript.Transcript
	server      *coredns
	now         atomic.Int64 // in seconds since 1970
	random      fixedRandom
	connections map[int]net.Conn
}

// newReplay starts the server as it was when the transcript began.
func newReplay(t *testing.T, recorded *transcript.Transcript) *replay {
	r := &replay{t: t, recorded: recorded, connections: make(map[int]net.Conn)}
	// A process of its own, with a replay cache of its own: the same authenticators come in each run of the test.
	p := newProcess()
	p.now = func() time.Time { return time.Unix(r.now.Load(), 0) }
	p.random = &r.random
	p.registerer = prometheus.NewRegistry()
	before := current
	current = p
	t.Cleanup(func() { current = before })
	dir := t.TempDir()
	r.server = &coredns{t: t, keytab: filepath.Join(dir, "keytab"), directory: dir, address: freeAddress(t)}
	seed := filepath.Join(dir, "seed")
	for path, content := range map[string][]byte{r.server.keytab: recorded.Keytab, seed: []byte(recorded.Seed)} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.server.restart(strings.NewReplacer("{SEED}", seed, "{ADDRESS}", "127.0.0.1").Replace(recorded.Corefile))
	t.Cleanup(r.server.stop)
	t.Cleanup(func() {
		for _, conn := range r.connections {
			conn.Close()
		}
	})
	return r
}

// exchange sends a recorded request, and checks for the recorded reply and, for an update, the recorded principal in the log.
func (r *replay) exchange(number int, e relay.Exchange) {
	r.t.Helper()
	request, reply := new(dns.Msg), new(dns.Msg)
	if err := request.Unpack(e.Request); err != nil {
		r.t.Fatalf("exchange %d: the request: %v", number, err)
	}
	if err := reply.Unpack(e.Reply); err != nil {
		r.t.Fatalf("exchange %d: the reply: %v", number, err)
	}
	if now, ok := transcript.Time(reply); ok {
		r.now.Store(now.Unix())
	}
	random, err := transcript.Random(r.recorded.Keytab, request, reply)
	if err != nil {
		r.t.Fatalf("exchange %d: %v", number, err)
	}
	r.random.set(random)
	identity := "anonymous"
	if request.IsTsig() != nil {
		identity = r.recorded.Principal
		if reply.IsTsig() == nil {
			r.t.Errorf("exchange %d: a reply to a signed request that is not signed", number)
		}
	}
	applied := func() int {
		return len(logged.lines("update zone=", fmt.Sprintf("identity=%q", identity), "rcode=NOERROR"))
	}
	before := applied()
	got := r.send(e)
	now := new(dns.Msg)
	if err := now.Unpack(got); err != nil {
		r.t.Fatalf("exchange %d: %v", number, err)
	}
	// How names are compressed in a reply that is not signed is the server's choice, and may change.
	if same := bytes.Equal(got, e.Reply); !same && (reply.IsTsig() != nil || now.String() != reply.String()) {
		r.t.Fatalf("exchange %d: to\n%v\nthe server says\n%v\nand not, as recorded,\n%v\n%x\n%x", number, request, now, reply, got, e.Reply)
	}
	if request.Opcode == dns.OpcodeUpdate && reply.Rcode == dns.RcodeSuccess && applied() != before+1 {
		r.t.Errorf("exchange %d: the log does not name %s", number, identity)
	}
	if left := r.random.left(); left != 0 {
		r.t.Errorf("exchange %d: the server drew %d octets less than it did when it was recorded", number, left)
	}
}

// refused sends a request that is not to be acted on: a signature that is wrong or was seen before is BADSIG, a key's name
// that is taken BADNAME, and neither reply is signed.
func (r *replay) refused(number int, e relay.Exchange) {
	r.t.Helper()
	reply := new(dns.Msg)
	if err := reply.Unpack(r.send(e)); err != nil {
		r.t.Fatalf("exchange %d: %v", number, err)
	}
	if reply.Question[0].Qtype == dns.TypeTKEY {
		if tkey, ok := reply.Answer[0].(*dns.TKEY); !ok || tkey.Error != dns.RcodeBadName || reply.IsTsig() != nil {
			r.t.Errorf("exchange %d: the handshake again gets %v", number, reply)
		}
		return
	}
	tsig := reply.IsTsig()
	if reply.Rcode != dns.RcodeNotAuth || tsig == nil || tsig.Error != dns.RcodeBadSig || tsig.MACSize != 0 {
		r.t.Errorf("exchange %d: altered or again it gets %v", number, reply)
	}
}

// send sends octets over the connection that they came over, and returns those of the reply.
func (r *replay) send(e relay.Exchange) []byte {
	r.t.Helper()
	conn := r.connections[e.Connection]
	if conn == nil || e.Network == "udp" {
		var err error
		if conn, err = net.Dial(e.Network, r.server.address); err != nil {
			r.t.Fatal(err)
		}
		if e.Network == "udp" {
			defer conn.Close()
		} else {
			r.connections[e.Connection] = conn
		}
	}
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		r.t.Fatal(err)
	}
	framed := &dns.Conn{Conn: conn, UDPSize: dns.MaxMsgSize}
	if _, err := framed.Write(e.Request); err != nil {
		r.t.Fatal(err)
	}
	reply := make([]byte, dns.MaxMsgSize)
	n, err := framed.Read(reply)
	if err != nil {
		r.t.Fatal(err)
	}
	return reply[:n]
}

// fixedRandom is a source of randomness that gives what it was set to, and an error when that is used up.
type fixedRandom struct {
	mu     sync.Mutex
	octets bytes.Reader // guarded by mu
}

func (f *fixedRandom) Read(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.octets.Read(b)
}

func (f *fixedRandom) set(octets []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.octets.Reset(octets)
}

func (f *fixedRandom) left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.octets.Len()
}
