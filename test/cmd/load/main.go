// Command load drives a DNS server with GSS-TSIG for a while and prints what it
// achieved as JSON on standard output.
//
//	load -mode handshake|update|query -clients 16 -duration 10s -server 127.0.0.1:53 \
//	     -krb5conf krb5.conf -keytab client.keytab -principal host/client1.example.test \
//	     -service DNS/ns1.example.test -zone example.test
//
// Each client is one goroutine that does one thing at a time. In mode handshake
// it makes a context, forgets it and makes the next. In mode update and query it
// makes one context before the clock starts; an update replaces the address of
// the client's own name with a new one, a query asks for the zone's SOA record.
// Every reply is verified; an operation counts as completed when the server
// answered NOERROR. For plain queries there is dnsperf.
//
// The exit status is 0 when the run took place, whatever the server did in it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
)

// maxErrors bounds the distinct error texts that are reported.
const maxErrors = 20

type options struct {
	mode      string
	clients   int
	duration  time.Duration
	timeout   time.Duration
	server    string
	network   string
	krb5conf  string
	keytab    string
	ccache    string
	principal string
	service   string
	zone      string
	algorithm string
	raw       bool
	remove    bool
}

func main() {
	var o options
	flag.StringVar(&o.mode, "mode", "update", "what to do: handshake, update or query")
	flag.IntVar(&o.clients, "clients", 1, "how many clients at once")
	flag.DurationVar(&o.duration, "duration", 10*time.Second, "how long")
	flag.DurationVar(&o.timeout, "timeout", 5*time.Second, "how long to wait for a reply")
	flag.StringVar(&o.server, "server", "127.0.0.1:53", "the DNS server's `host:port`")
	flag.StringVar(&o.network, "network", "udp", "udp or tcp")
	flag.StringVar(&o.krb5conf, "krb5conf", os.Getenv("KRB5_CONFIG"), "krb5.conf `file`")
	flag.StringVar(&o.keytab, "keytab", "", "keytab `file` with the clients' keys")
	flag.StringVar(&o.ccache, "ccache", "", "credential cache `file`, in place of a keytab")
	flag.StringVar(&o.principal, "principal", "", "client principal in the keytab; %d in it becomes the client's number, from 1")
	flag.StringVar(&o.service, "service", "DNS/ns1.example.test", "the server's service principal")
	flag.StringVar(&o.zone, "zone", "example.test", "zone to update or query")
	flag.StringVar(&o.algorithm, "algorithm", client.AlgorithmGSSTSIG, "TSIG algorithm")
	flag.BoolVar(&o.raw, "raw", false, "bare Kerberos tokens in place of SPNEGO")
	flag.BoolVar(&o.remove, "delete", false, "in mode handshake, delete each context on the server")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	report, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	if err := out.Encode(report); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// report is the result. Times are in the unit that the name says.
type report struct {
	Mode       string         `json:"mode"`
	Network    string         `json:"network"`
	Clients    int            `json:"clients"`
	Seconds    float64        `json:"seconds"` // until the last client was done
	Completed  int            `json:"completed"`
	PerSecond  float64        `json:"per_second"` // completed within the duration asked for
	Failed     int            `json:"failed"`
	Unanswered int            `json:"unanswered"` // part of failed
	P50        float64        `json:"p50_ms"`
	P95        float64        `json:"p95_ms"`
	P99        float64        `json:"p99_ms"`
	Max        float64        `json:"max_ms"`
	Errors     map[string]int `json:"errors,omitempty"`
}

func run(ctx context.Context, o options) (*report, error) {
	operation, ok := map[string]func(*worker, context.Context) error{
		"handshake": (*worker).handshake,
		"update":    (*worker).update,
		"query":     (*worker).query,
	}[o.mode]
	if !ok {
		return nil, fmt.Errorf("no mode %q", o.mode)
	}
	if o.clients < 1 || o.duration <= 0 {
		return nil, errors.New("clients and duration must be positive")
	}
	workers, err := prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	// Operations begun before the end run to theirs, so that none is counted
	// as lost only because the time was up; the rate leaves them out.
	start := time.Now()
	end := start.Add(o.duration)
	var wait sync.WaitGroup
	for _, w := range workers {
		wait.Go(func() {
			for time.Now().Before(end) && ctx.Err() == nil {
				w.measure(ctx, end, operation)
			}
		})
	}
	wait.Wait()
	elapsed := time.Since(start)
	for _, w := range workers {
		w.client.Close()
	}
	return summarize(o, workers, elapsed), nil
}

// prepare makes the clients and, where one context serves a whole run, those.
func prepare(ctx context.Context, o options) ([]*worker, error) {
	byPrincipal := make(map[string]*client.Client)
	workers := make([]*worker, o.clients)
	for i := range workers {
		principal := strings.ReplaceAll(o.principal, "%d", strconv.Itoa(i+1))
		c := byPrincipal[principal]
		if c == nil {
			credentials, err := credentialsOf(o, principal)
			if err != nil {
				return nil, err
			}
			config := client.Config{
				Server: o.server, Network: o.network, Timeout: o.timeout,
				Credentials: credentials, ServicePrincipal: o.service, Algorithm: o.algorithm,
			}
			if o.raw {
				config.Framing = client.RawKerberos
			}
			if c, err = client.Dial(ctx, config); err != nil {
				return nil, err
			}
			byPrincipal[principal] = c
		}
		workers[i] = &worker{
			client: c,
			remove: o.remove,
			zone:   dns.Fqdn(o.zone),
			name:   "load" + strconv.Itoa(i+1) + "." + dns.Fqdn(o.zone),
			errors: make(map[string]int),
		}
		if o.mode == "handshake" {
			continue
		}
		key, err := c.Negotiate(ctx)
		if err != nil {
			return nil, fmt.Errorf("client %d: %w", i+1, err)
		}
		workers[i].key = key
	}
	return workers, nil
}

func credentialsOf(o options, principal string) (*client.Credentials, error) {
	switch {
	case o.krb5conf == "":
		return nil, errors.New("-krb5conf or KRB5_CONFIG is needed")
	case o.ccache != "":
		return client.FromCCache(o.krb5conf, o.ccache)
	case o.keytab == "" || principal == "":
		return nil, errors.New("-keytab and -principal, or -ccache, are needed")
	}
	return client.FromKeytab(o.krb5conf, o.keytab, principal)
}

// worker is one client. Its counters belong to its goroutine until that ends.
type worker struct {
	client *client.Client
	key    *client.Context
	remove bool
	zone   string
	name   string
	count  uint32

	taken      []time.Duration // by completed operations
	inTime     int             // of those, before the end
	failed     int
	unanswered int
	errors     map[string]int
}

func (w *worker) measure(ctx context.Context, end time.Time, operation func(*worker, context.Context) error) {
	start := time.Now()
	err := operation(w, ctx)
	if err == nil {
		w.taken = append(w.taken, time.Since(start))
		if !time.Now().After(end) {
			w.inTime++
		}
		return
	}
	if ctx.Err() != nil {
		return // interrupted: neither a success nor the server's failure
	}
	w.failed++
	text := err.Error()
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		w.unanswered++
		text = "no reply in time" // the error's own text has a port in it
	}
	if len(w.errors) < maxErrors || w.errors[text] > 0 {
		w.errors[text]++
	}
}

func (w *worker) handshake(ctx context.Context) error {
	key, err := w.client.Negotiate(ctx)
	if err != nil {
		return err
	}
	defer key.Close()
	if w.remove {
		return key.Delete(ctx)
	}
	return nil
}

func (w *worker) update(ctx context.Context) error {
	w.count++
	header := dns.RR_Header{Name: w.name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}
	// A new address each time, or the server would have nothing to write.
	address := net.IPv4(10, byte(w.count>>16), byte(w.count>>8), byte(w.count))
	m := new(dns.Msg)
	m.SetUpdate(w.zone)
	m.RemoveRRset([]dns.RR{&dns.A{Hdr: header}})
	m.Insert([]dns.RR{&dns.A{Hdr: header, A: address}})
	_, err := w.key.Update(ctx, m)
	return err
}

func (w *worker) query(ctx context.Context) error {
	reply, err := w.key.Exchange(ctx, new(dns.Msg).SetQuestion(w.zone, dns.TypeSOA))
	if err == nil && reply.Rcode != dns.RcodeSuccess {
		err = &client.RcodeError{Rcode: reply.Rcode, Reply: reply}
	}
	return err
}

func summarize(o options, workers []*worker, elapsed time.Duration) *report {
	r := &report{Mode: o.mode, Network: o.network, Clients: o.clients, Seconds: elapsed.Seconds()}
	counts := make(map[string]int)
	var taken []time.Duration
	inTime := 0
	for _, w := range workers {
		taken = append(taken, w.taken...)
		inTime += w.inTime
		r.Failed += w.failed
		r.Unanswered += w.unanswered
		for text, n := range w.errors {
			if len(counts) < maxErrors || counts[text] > 0 {
				counts[text] += n
			}
		}
	}
	r.Completed = len(taken)
	r.PerSecond = float64(inTime) / min(elapsed, o.duration).Seconds()
	r.Errors = counts
	if len(taken) > 0 {
		slices.Sort(taken)
		at := func(share float64) float64 {
			return float64(taken[int(share*float64(len(taken)-1))]) / float64(time.Millisecond)
		}
		r.P50, r.P95, r.P99, r.Max = at(0.50), at(0.95), at(0.99), at(1)
	}
	return r
}
