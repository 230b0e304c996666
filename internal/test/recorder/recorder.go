// Package recorder records transcripts (package transcript) of real clients and the server, for the test of plugin/gsstsig
// that replays them.
//
// Every run of the end-to-end tests records, and compares what happened with what is kept. With the flag -record it is
// kept instead.
package recorder

import (
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/relay"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
	"github.com/gsstsig/coredns-gsstsig/internal/test/transcript"
)

var keep = flag.Bool("record", false, "keep the transcripts of this run in place of those before")

// directory of the transcripts, from that of a package two levels below the module's.
const directory = "../../plugin/gsstsig/testdata/transcripts"

// Setup is what the server starts with. Each client that is recorded meets a fresh one.
type Setup struct {
	Binary   string   // CoreDNS
	Corefile string   // see transcript.Transcript
	Zones    []string // of the Corefile
	Seed     string   // master file of the first of them
	Keytab   string   // path

	// On is where the server runs, and Address where clients find it there; nil is this machine, and a free port.
	On      Machine
	Address netip.AddrPort
}

// Machine is one with a network of its own, such as a node.Node.
type Machine interface {
	Start(*exec.Cmd) (*process.Process, error)
	Dial(network, address string) (net.Conn, error)
	Listen(network, address string) (net.Listener, error)
	ListenPacket(network, address string) (net.PacketConn, error)
}

// innerPort is that of the server behind the relay, on a machine of its own.
const innerPort = 5300

// Client is who is recorded.
type Client struct {
	tested.Client
	Name      string // of the file
	Options   string // of the client, for the reader
	Principal string // that signs, with realm
}

// Record starts a server, has run do something with a client that asks the server at the address that run is told, and
// keeps what they said to each other or compares it with what is kept.
func Record(t *testing.T, setup Setup, client Client, run func(t *testing.T, address netip.AddrPort)) {
	t.Helper()
	recorded := &transcript.Transcript{
		Client:    strings.TrimSpace(client.Client.Name+" "+client.Options) + ", version: " + client.Version(),
		Principal: client.Principal, Corefile: setup.Corefile, Seed: setup.Seed,
	}
	var err error
	if recorded.Keytab, err = os.ReadFile(setup.Keytab); err != nil {
		t.Fatal(err)
	}
	s := setup.start(t)
	between, err := relay.Start(setup.relay(s.Address, func(e relay.Exchange) {
		if wanted(e.Request) {
			recorded.Exchanges = append(recorded.Exchanges, e)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer between.Close()
	run(t, between.Address)
	between.Close() // nothing is added any more
	for _, origin := range setup.Zones {
		dial := net.Dial
		if setup.On != nil {
			dial = setup.On.Dial
		}
		conn, err := dial("tcp", s.Address.String())
		if err != nil {
			t.Fatal(err)
		}
		z, err := transcript.Transfer(conn, dns.Fqdn(origin))
		if err != nil {
			t.Fatal(err)
		}
		recorded.Zones = append(recorded.Zones, z)
	}
	renumber(recorded.Exchanges)
	if t.Failed() {
		t.Logf("the server said:\n%s", s.Log())
		return
	}
	compare(t, filepath.Join(directory, client.Name+".txt"), recorded)
}

func (setup Setup) start(t *testing.T) *server.Server {
	t.Helper()
	config := server.Config{Binary: setup.Binary, Files: map[string]string{"seed": setup.Seed}, Probe: setup.Zones[0]}
	listen := "127.0.0.1"
	if setup.On != nil {
		inner := netip.AddrPortFrom(setup.Address.Addr(), innerPort)
		config.Place = &server.Place{Address: inner, Start: setup.On.Start, Dial: setup.On.Dial}
		listen = inner.Addr().String()
	}
	config.Corefile = strings.NewReplacer(":{PORT}", "", "{ADDRESS}", listen, "{KEYTAB}", setup.Keytab, "{SEED}", "seed").Replace(setup.Corefile)
	s, err := server.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (setup Setup) relay(to netip.AddrPort, observe func(relay.Exchange)) relay.Config {
	config := relay.Config{Server: to, Observe: observe}
	if setup.On != nil {
		config.Dial, config.Listen, config.ListenPacket = setup.On.Dial, setup.On.Listen, setup.On.ListenPacket
		config.Address = setup.Address
	}
	return config
}

// wanted tells whether a message is one of the protocol: a handshake, an update, or how the client finds zone and server.
// Looking up KDCs and the like is not.
func wanted(request []byte) bool {
	m := new(dns.Msg)
	if m.Unpack(request) != nil || len(m.Question) != 1 {
		return true
	}
	switch m.Question[0].Qtype {
	case dns.TypeTKEY, dns.TypeSOA, dns.TypeNS:
		return true
	}
	return m.Opcode != dns.OpcodeQuery
}

// renumber counts the connections that are left from 1.
func renumber(exchanges []relay.Exchange) {
	var seen []int
	for i := range exchanges {
		number := &exchanges[i].Connection
		if *number == 0 {
			continue
		}
		if !slices.Contains(seen, *number) {
			seen = append(seen, *number)
		}
		*number = slices.Index(seen, *number) + 1
	}
}

// compare keeps a transcript, or wants it to be one of the same events as the one that is kept.
func compare(t *testing.T, path string, recorded *transcript.Transcript) {
	t.Helper()
	if *keep {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(recorded.Text()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := transcript.Parse(string(text))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if got, want := recorded.Outline(), kept.Outline(); !slices.Equal(got, want) {
		t.Errorf("this time it was\n%s\nand not as kept in %s\n%s\nSay -record to keep what it is now.",
			strings.Join(got, "\n"), path, strings.Join(want, "\n"))
	}
	if got, want := fmt.Sprint(recorded.Zones), fmt.Sprint(kept.Zones); got != want {
		t.Errorf("the zones afterwards are\n%s\nand not as kept in %s\n%s\nSay -record to keep what they are now.", got, path, want)
	}
}
