package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

const (
	zoneName    = "example.test."
	service     = "DNS/ns1.example.test"
	goodClients = 8
)

const corefile = `example.test:{$DNS_PORT} tls://example.test:{$TLS_PORT} {
	bind 127.0.0.1
	tls {CERTIFICATE} {PRIVATE}
	gsstsig {
		keytab {KEYTAB}
		{LIMITS}
	}
	prometheus 127.0.0.1:{$METRICS_PORT}
	pprof 127.0.0.1:{$PPROF_PORT}
	errors
}
`

// harness is a realm, the server, and the good clients' identities.
type harness struct {
	dir     string
	realm   *realm.Realm
	server  *server.Server
	config  string // krb5.conf
	trust   *tls.Config
	keytabs []string
}

func principalOf(i int) string { return fmt.Sprintf("host/client%d.example.test", i) }

// newHarness starts everything, the server with limits as in the Corefile. It ends with the context, or by close.
func newHarness(ctx context.Context, dir, binary, limits string) (*harness, error) {
	h := &harness{dir: dir}
	var err error
	if h.realm, err = realm.Start(ctx, realm.Config{}); err != nil {
		return nil, err
	}
	if err := h.realm.AddPrincipal(service); err != nil {
		return nil, err
	}
	keytab, err := h.realm.Keytab(filepath.Join(dir, "dns.keytab"), service)
	if err != nil {
		return nil, err
	}
	if h.config, err = h.realm.Config(); err != nil {
		return nil, err
	}
	for i := range goodClients + 1 { // 0 is recorded
		if err := h.realm.AddPrincipal(principalOf(i)); err != nil {
			return nil, err
		}
		file, err := h.realm.Keytab(filepath.Join(dir, fmt.Sprintf("client%d.keytab", i)), principalOf(i))
		if err != nil {
			return nil, err
		}
		h.keytabs = append(h.keytabs, file)
	}
	certificate, private := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if h.trust, err = writeCertificate(certificate, private); err != nil {
		return nil, err
	}
	h.trust.ClientSessionCache = tls.NewLRUClientSessionCache(goodClients)
	h.server, err = server.Start(ctx, server.Config{
		Binary:   binary,
		Corefile: strings.NewReplacer("{KEYTAB}", keytab, "{LIMITS}", limits, "{CERTIFICATE}", certificate, "{PRIVATE}", private, ":{$DNS_PORT}", "").Replace(corefile),
		Ports:    []string{"TLS_PORT", "METRICS_PORT", "PPROF_PORT"},
		Probe:    zoneName,
	})
	return h, err
}

func (h *harness) close() error {
	var err error
	if h.server != nil {
		err = h.server.Stop()
	}
	if h.realm != nil {
		h.realm.Stop()
	}
	return err
}

// dial makes a client with the identity of that number.
func (h *harness) dial(ctx context.Context, config client.Config, identity int) (*client.Client, error) {
	credentials, err := client.FromKeytab(h.config, h.keytabs[identity], principalOf(identity))
	if err != nil {
		return nil, err
	}
	if config.Server == "" {
		config.Server = h.server.Address.String()
	}
	config.Credentials, config.ServicePrincipal = credentials, service
	return client.Dial(ctx, config)
}

// updateOf replaces the address of a name; each n gives another.
func updateOf(name string, n uint32) *dns.Msg {
	header := dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}
	m := new(dns.Msg).SetUpdate(zoneName)
	m.RemoveRRset([]dns.RR{&dns.A{Hdr: header}})
	m.Insert([]dns.RR{&dns.A{Hdr: header, A: net.IPv4(10, byte(n>>16), byte(n>>8), byte(n))}})
	return m
}

// updatesPerContext is how many updates a good client makes in one context.
const updatesPerContext = 200

// A message by UDP can get lost where there is a flood, and then a client sends another, as nsupdate does. How often it has
// to depends on what else the machine does, so that the count is a measurement, and no verdict of a test.
const (
	goodTimeout  = time.Second
	goodAttempts = 5
	untilAnswer  = math.MaxInt // for as long as the context lasts
)

// record of what good clients have done.
type goodWork struct {
	Updates, Handshakes, Repeats, Failures int
	Errors                                 map[string]int
	Longest                                time.Duration
}

func (w goodWork) rate(d time.Duration) float64 { return float64(w.Updates) / d.Seconds() }

// task is what good clients are to do. Half of them use UDP.
type task struct {
	duration time.Duration
	while    func() bool  // in place of the duration
	renew    bool         // make a new context now and then
	tls      bool         // by DNS over TLS in half the cases of TCP
	each     bool         // make a new context for each update
	attempts int          // after how many without an answer an operation has failed; 0 is goodAttempts
	begin    func() error // called when all have a context, before the first update; may be nil
}

// work has the good clients do that.
func (h *harness) work(ctx context.Context, job task) (goodWork, error) {
	total := goodWork{Errors: make(map[string]int)}
	workers := make([]*goodClient, goodClients)
	for i := range workers {
		config := client.Config{Network: []string{"udp", "tcp"}[i%2], Timeout: goodTimeout, MaxUDP: 4096}
		if job.tls && i%4 == 3 {
			config.TLS, config.Server = h.trust, h.server.Port("TLS_PORT").String()
		}
		c, err := h.dial(ctx, config, i+1)
		if err != nil {
			return total, err
		}
		defer c.Close()
		w := &goodClient{
			client:   c,
			name:     fmt.Sprintf("client%d.%s", i+1, zoneName),
			attempts: cmp.Or(job.attempts, goodAttempts),
			goodWork: goodWork{Errors: make(map[string]int)},
		}
		if !w.negotiate(ctx) {
			return total, fmt.Errorf("good client %d cannot begin: %v", i+1, w.Errors)
		}
		workers[i] = w
	}
	if job.begin != nil {
		if err := job.begin(); err != nil {
			return total, err
		}
	}
	end := time.Now().Add(job.duration)
	if job.while == nil {
		job.while = func() bool { return time.Now().Before(end) }
	}
	var group sync.WaitGroup
	for _, w := range workers {
		group.Go(func() {
			for n := 1; ctx.Err() == nil && job.while(); n++ {
				w.update(ctx, uint32(n))
				if job.each || job.renew && n%updatesPerContext == 0 {
					w.delete(ctx)
				}
			}
			w.delete(ctx)
		})
	}
	group.Wait()
	for _, w := range workers {
		total.add(w.goodWork)
	}
	return total, ctx.Err()
}

// handshakes has the good clients make that many contexts, one after the other.
func (h *harness) handshakes(ctx context.Context, n int) error {
	var begun atomic.Int64
	_, err := h.work(ctx, task{each: true, while: func() bool { return begun.Add(1) <= int64(n) }})
	return err
}

// goodClient is one client that does nothing wrong.
type goodClient struct {
	client   *client.Client
	name     string
	attempts int
	key      *client.Context // nil between two
	goodWork
}

func (w *goodClient) negotiate(ctx context.Context) bool {
	if !w.try(ctx, func() (err error) { w.key, err = w.client.Negotiate(ctx); return err }) {
		w.key = nil
		return false
	}
	w.Handshakes++
	return true
}

func (w *goodClient) update(ctx context.Context, n uint32) {
	began := time.Now()
	if w.key != nil || w.negotiate(ctx) {
		if w.try(ctx, func() error { _, err := w.key.Update(ctx, updateOf(w.name, n)); return err }) {
			w.Updates++
		}
	}
	w.Longest = max(w.Longest, time.Since(began))
}

// delete has the server forget the key. One whose answer was lost is forgotten when it is asked for again.
func (w *goodClient) delete(ctx context.Context) {
	if w.key == nil {
		return
	}
	w.try(ctx, func() error {
		err := w.key.Delete(ctx)
		var refused *client.TSIGError
		if errors.As(err, &refused) && refused.Code == dns.RcodeBadKey {
			return nil
		}
		return err
	})
	w.key.Close()
	w.key = nil
}

func (w *goodWork) add(o goodWork) {
	w.Updates += o.Updates
	w.Handshakes += o.Handshakes
	w.Repeats += o.Repeats
	w.Failures += o.Failures
	w.Longest = max(w.Longest, o.Longest)
	for text, count := range o.Errors {
		w.Errors[text] += count
	}
}

// try does something again where it got no answer.
func (w *goodClient) try(ctx context.Context, do func() error) bool {
	for attempt := 1; ; attempt++ {
		err := do()
		if err == nil {
			return true
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() && attempt < w.attempts && ctx.Err() == nil {
			w.Repeats++
			continue
		}
		w.Failures++
		if len(w.Errors) < 20 {
			w.Errors[err.Error()]++
		}
		return false
	}
}

// size is what the server takes.
type size struct {
	RSS        uint64 // octets
	Heap       uint64 // live, after a collection
	Goroutines int
	Contexts   int
}

func (s size) String() string {
	return fmt.Sprintf("RSS %.1f MB, live heap %.1f MB, %d goroutines, %d contexts", float64(s.RSS)/1e6, float64(s.Heap)/1e6, s.Goroutines, s.Contexts)
}

// measure has the server collect its garbage and looks at what is left.
func (h *harness) measure(ctx context.Context) (size, error) {
	var s size
	// Again and again: what finalizers and pools let go of in one collection is garbage in the next. The profile as text tells
	// what is live right after the collection; the metric counts what making the profile has left behind as well.
	for range 3 {
		profile, err := get(ctx, "http://"+h.server.Port("PPROF_PORT").String()+"/debug/pprof/heap?gc=1&debug=1")
		if err != nil {
			return s, err
		}
		_, after, found := strings.Cut(profile, "\n# HeapAlloc = ")
		number, _, _ := strings.Cut(after, "\n")
		if s.Heap, err = strconv.ParseUint(number, 10, 64); err != nil || !found {
			return s, errors.New("the heap profile does not tell how much is live")
		}
	}
	metrics, err := get(ctx, "http://"+h.server.Port("METRICS_PORT").String()+"/metrics")
	if err != nil {
		return s, err
	}
	value := func(name string) float64 {
		for line := range strings.Lines(metrics) {
			if rest, ok := strings.CutPrefix(line, name+" "); ok {
				v, _ := strconv.ParseFloat(strings.TrimSpace(rest), 64)
				return v
			}
		}
		return 0
	}
	s.Goroutines = int(value("go_goroutines"))
	s.Contexts = int(value(`coredns_gsstsig_contexts{state="live"}`) + value(`coredns_gsstsig_contexts{state="half_open"}`))
	s.RSS, err = rss(h.server.PID())
	return s, err
}

// counters are the messages that the server has dropped, and other figures of interest.
func (h *harness) counters(ctx context.Context) ([]string, error) {
	metrics, err := get(ctx, "http://"+h.server.Port("METRICS_PORT").String()+"/metrics")
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(metrics) {
		for _, name := range []string{"dropped_total", "handshakes_total", "verification_failures_total", "updates_total", "tls_handshake_failures_total"} {
			if rest, ok := strings.CutPrefix(line, "coredns_gsstsig_"+name); ok {
				lines = append(lines, name+strings.TrimSpace(rest))
			}
		}
	}
	return lines, nil
}

func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	request.Close = true // a connection kept would be two goroutines of the server's
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", url, response.Status)
	}
	return string(body), nil
}

func rss(pid int) (uint64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			kilobytes, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, errors.New("no VmRSS")
}

// prepare makes a directory and a server binary, unless there is one. remove takes the directory away again.
func prepare(ctx context.Context) (dir, binary string, remove func(), err error) {
	if err := process.Require("krb5kdc", "kadmin.local"); err != nil {
		return "", "", nil, err
	}
	if dir, err = os.MkdirTemp("", "hostile-"); err != nil {
		return "", "", nil, err
	}
	remove = func() { os.RemoveAll(dir) }
	if binary, err = server.Build(ctx, dir); err != nil {
		remove()
		return "", "", nil, err
	}
	return dir, binary, remove, nil
}
