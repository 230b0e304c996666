package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/file"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/metadata"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/multisocket"
	"github.com/coredns/coredns/plugin/pkg/log"
	"github.com/coredns/coredns/plugin/pkg/nonwriter"
	_ "github.com/coredns/coredns/plugin/proxyproto"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/timeouts"
	_ "github.com/coredns/coredns/plugin/tls"
	_ "github.com/coredns/coredns/plugin/transfer"
	_ "github.com/coredns/coredns/plugin/tsig"
	_ "github.com/coredns/coredns/plugin/view"
	_ "github.com/coredns/coredns/plugin/whoami"
	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig"
	"github.com/gsstsig/coredns-gsstsig/internal/test/loopback"
)

const (
	keyName   = "key.test."
	keySecret = "c2VjcmV0IG9mIHRoZSB0ZXN0IGtleSwgMzIgb2N0ZXRz"
)

// probe is a plugin that does what a query's first label says, and takes its addresses over as gsstsig does:
//
//	probe LABEL
//
// It answers other queries with LABEL as TXT, and with the name of the key that signed.
type probe struct {
	next  plugin.Handler
	label string
	zones []string // that the cache plugin leaves alone
}

var (
	// probeServers are the servers that the next probes register with, by label.
	probeServers sync.Map
	// probeLimits are the limits of the next probes, by label.
	probeLimits sync.Map
	// probeAnswerers answer for the next probes by the shortcut, by label. Those of the label "cached" let caches answer.
	probeAnswerers sync.Map
	// probeCallbacks has functions that set the callbacks of a probe's block, by its label.
	probeCallbacks sync.Map
	// held is received from by queries for hold.<zone>, which tell entered first.
	held    = make(chan struct{})
	entered = make(chan struct{}, 100)
	// testProcess is what the probes of all tests share.
	testProcess = newProcess()
	counts      = &counter{n: make(map[string]int)}
)

func TestMain(m *testing.M) {
	log.Discard()
	caddy.Quiet, dnsserver.Quiet = true, true
	plugin.Register("probe", setupProbe)
	plugin.Register("keep", setupKeep)
	plugin.Register("status", setupStatus)
	i := slices.Index(dnsserver.Directives, "file")
	dnsserver.Directives = slices.Insert(dnsserver.Directives, i, "keep", "probe", "status")
	os.Exit(m.Run())
}

func setupProbe(c *caddy.Controller) error {
	p := &probe{}
	for c.Next() {
		if !c.Args(&p.label) {
			return c.ArgErr()
		}
	}
	dnsserver.GetConfig(c).AllowOpcode(dns.OpcodeUpdate)
	dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler {
		p.next = next
		return p
	})
	b := Block{Observer: counts, Plugin: "probe"}
	if s, ok := probeServers.Load(p.label); ok {
		b.Server = s.(*gsstsig.Server)
	}
	if l, ok := probeLimits.Load(p.label); ok {
		b.Limits = l.(Limits)
	}
	if a, ok := probeAnswerers.Load(p.label); ok {
		b.Answerer = a.(func(string) AnswerFunc)
		if p.label != "cached" {
			p.zones = plugin.OriginsFromArgsOrServerBlock(nil, c.ServerBlockKeys)
		}
	}
	if set, ok := probeCallbacks.Load(p.label); ok {
		set.(func(*Block))(&b)
	}
	return testProcess.register(c, b)
}

func (p *probe) Name() string { return "probe" }

func (p *probe) Ready() bool { return true }

func (p *probe) CacheBypassZones() []string { return p.zones }

func (p *probe) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	transaction, seen := TransactionFrom(ctx)
	m := new(dns.Msg)
	m.SetReply(r)
	who := "unseen"
	if seen {
		who = "unsigned"
	}
	if transaction != nil {
		who = transaction.Identity().KeyName
	}
	if r.Opcode == dns.OpcodeUpdate {
		if transaction == nil {
			return dns.RcodeRefused, nil
		}
		if strings.HasPrefix(r.Question[0].Name, "replayed.") {
			RefuseReplayed(ctx)
			return dns.RcodeNotAuth, nil
		}
		return 0, w.WriteMsg(m)
	}
	name := r.Question[0].Name
	txt := func(text ...string) {
		m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: text})
	}
	action, rest, _ := strings.Cut(strings.ToLower(name), ".")
	switch action {
	case "panic":
		panic("asked to")
	case "refuse":
		return dns.RcodeRefused, nil
	case "silent":
		return dns.RcodeSuccess, nil
	case "next":
		return plugin.NextOrFailure(p.Name(), p.next, ctx, w, r)
	case "hold":
		entered <- struct{}{}
		<-held
	case "big":
		n, _ := strconv.Atoi(strings.Split(rest, ".")[0])
		for i := range n {
			txt(fmt.Sprintf("%0100d", i))
		}
		return 0, w.WriteMsg(m)
	case "raw":
		txt("raw", who)
		wire, err := m.Pack()
		if err != nil {
			return dns.RcodeServerFailure, err
		}
		_, err = w.Write(wire)
		return 0, err
	case "twice":
		txt("first")
		err := w.WriteMsg(m)
		m.Answer = nil
		txt("second")
		return 0, errors.Join(err, w.WriteMsg(m))
	case "close":
		return 0, w.Close()
	case "from":
		who = w.RemoteAddr().String()
	}
	txt(p.label, who)
	return 0, w.WriteMsg(m)
}

// setupStatus sets up a plugin that answers with what TsigStatus says of a record that is there, and does not register. With
// an argument it takes updates, too.
func setupStatus(c *caddy.Controller) error {
	if c.Next() && c.NextArg() {
		dnsserver.GetConfig(c).AllowOpcode(dns.OpcodeUpdate)
	}
	dnsserver.GetConfig(c).AddPlugin(func(plugin.Handler) plugin.Handler { return statusPlugin{} })
	return nil
}

type statusPlugin struct{}

func (statusPlugin) Name() string { return "status" }

func (statusPlugin) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	m := new(dns.Msg).SetReply(r)
	if strings.HasPrefix(strings.ToLower(r.Question[0].Name), "via.") { // as CoreDNS's upstream package does
		inner := nonwriter.New(w)
		ctx.Value(dnsserver.Key{}).(*dnsserver.Server).ServeDNS(ctx, inner, query("x.example.org.", dns.TypeTXT))
		if inner.Msg == nil {
			return dns.RcodeServerFailure, nil
		}
		m.Answer = inner.Msg.Answer
		return 0, w.WriteMsg(m)
	}
	text := "verified"
	if err := w.TsigStatus(); err != nil {
		text = err.Error()
	}
	name := r.Question[0].Name
	n := 1
	if label, rest, _ := strings.Cut(name, "."); label == "big" {
		n, _ = strconv.Atoi(strings.Split(rest, ".")[0])
	}
	for range n {
		m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{text}})
	}
	return 0, w.WriteMsg(m)
}

// counter is an Observer.
type counter struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counter) VerificationFailed(_ netip.AddrPort, failure *gsstsig.VerifyError) {
	c.add(failure.Kind.String())
}
func (c *counter) Dropped(reason Reason)           { c.add(reason.String()) }
func (c *counter) TLSFailed(netip.AddrPort, error) { c.add("tls failed") }
func (c *counter) NotAuthoritative(string, net.Addr, *gsstsig.Transaction, *dns.Msg) {
	c.add("notauth")
}

func (c *counter) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[what]++
}

func (c *counter) get(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[what]
}

// running is a caddy instance that reloads replace.
type running struct {
	t    testing.TB
	inst *caddy.Instance
}

func input(corefile string) caddy.CaddyfileInput {
	return caddy.CaddyfileInput{Filepath: "Corefile", Contents: []byte(corefile), ServerTypeName: "dns"}
}

// start starts CoreDNS and stops it when the test ends.
func start(t testing.TB, corefile string) *running {
	t.Helper()
	inst, err := caddy.Start(input(corefile))
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, inst: inst}
	t.Cleanup(r.stop)
	return r
}

func (r *running) stop() {
	if r.inst == nil {
		return
	}
	for _, err := range r.inst.ShutdownCallbacks() {
		r.t.Error(err)
	}
	if err := r.inst.Stop(); err != nil {
		r.t.Error(err)
	}
	r.inst.Wait()
	r.inst = nil
}

func (r *running) reload(corefile string) error {
	inst, err := r.inst.Restart(input(corefile))
	if err == nil {
		r.inst = inst
	}
	return err
}

// endpointOf returns the first endpoint of an address, nil if there is none.
func endpointOf(address string) *endpoint {
	testProcess.sockets.mu.Lock()
	defer testProcess.sockets.mu.Unlock()
	for key, e := range testProcess.sockets.endpoints {
		if key.address == address && key.ordinal == 0 {
			return e
		}
	}
	return nil
}

// freePort returns a port that is free for UDP and TCP on all addresses.
func freePort(t testing.TB) string {
	t.Helper()
	port, err := loopback.Port()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(int(port))
}

// mustBeFree fails the test unless the port can be bound by a stranger.
func mustBeFree(t testing.TB, port string) {
	t.Helper()
	eventually(t, "port "+port+" is free", func() bool {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			return false
		}
		l.Close()
		p, err := net.ListenPacket("udp", "127.0.0.1:"+port)
		if err != nil {
			return false
		}
		p.Close()
		return true
	})
}

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("not so after 10 s: %s", what)
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
}

func local(port string) string { return net.JoinHostPort("127.0.0.1", port) }

func query(name string, qtype uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	return m
}

func signed(m *dns.Msg) *dns.Msg {
	m.SetTsig(keyName, dns.HmacSHA256, 300, time.Now().Unix())
	return m
}

// ask sends m and returns the answer, of which dns.Client has verified the TSIG record if m has one.
func ask(t testing.TB, network, address string, m *dns.Msg) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: network, Timeout: 5 * time.Second, UDPSize: 4096}
	if m.IsTsig() != nil {
		c.TsigSecret = map[string]string{keyName: keySecret}
	}
	r, _, err := c.Exchange(m, address)
	if err != nil && !errors.Is(err, dns.ErrAuth) && !(m.IsTsig() == nil && errors.Is(err, dns.ErrSecret)) {
		t.Fatalf("%s %s: %v", network, m.Question[0].String(), err)
	}
	return r
}

// texts joins the strings of the TXT records of an answer.
func texts(r *dns.Msg) string {
	var all []string
	for _, rr := range r.Answer {
		if txt, ok := rr.(*dns.TXT); ok {
			all = append(all, txt.Txt...)
		}
	}
	return strings.Join(all, " ")
}

func expect(t testing.TB, r *dns.Msg, rcode int, text string, isSigned bool) {
	t.Helper()
	if r.Rcode != rcode || texts(r) != text || (r.IsTsig() != nil) != isSigned {
		t.Errorf("want %s, %q, signed %v; got:\n%v", dns.RcodeToString[rcode], text, isSigned, r)
	}
}

const tsigBlock = "tsig {\nsecret " + keyName + " " + keySecret + "\nrequire none\n}\n"

// tryStart starts CoreDNS for a test that expects it to fail.
func tryStart(corefile string) (*caddy.Instance, error) { return caddy.Start(input(corefile)) }
