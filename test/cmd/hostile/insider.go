package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

// insider is a client whose ticket is good and who abuses it. Its identity is the one that is recorded.
const insider = 0

// An abuse is what an insider sends: the message of that number, starting with 1.
type abuse struct {
	name    string
	message func(n int) *dns.Msg
	period  int  // after how many messages the same ones follow, 0 for never
	unread  bool // the answers are not read
}

// ordinary is what the abuses are compared with: updates like those of the good clients.
var ordinary = abuse{name: "ordinary updates", message: func(n int) *dns.Msg {
	return updateOf("client0."+zoneName, uint32(n))
}}

// namesEach is how many names a message of many names has.
const namesEach = 250

var abuses = []abuse{
	{name: "long names", period: 2, message: func(n int) *dns.Msg {
		return addressesOf(n%2 == 1, namesEach, func(i int) string {
			return fmt.Sprintf("%s.%s.%s.long%d.", strings.Repeat("x", 60), strings.Repeat("y", 60), strings.Repeat("z", 60), i)
		})
	}},
	{name: "deep names", period: 4, message: func(n int) *dns.Msg {
		// As many names as the limit on empty non-terminals permits, and then what it refuses.
		names := 9
		if n%4 > 1 {
			names = namesEach
		}
		return addressesOf(n%2 == 1, names, func(i int) string { return strings.Repeat("a.", 100) + fmt.Sprintf("deep%d.", i) })
	}},
	{name: "nothing to change", period: 1, message: func(int) *dns.Msg {
		return addressesOf(false, 1, func(int) string { return "missing." })
	}},
	{name: "tombstones", message: func(n int) *dns.Msg {
		return addressesOf(n%2 == 1, namesEach, func(i int) string { return fmt.Sprintf("t%d-%d.", (n-1)/2, i) })
	}},
	{name: "unread answers", message: ordinary.message, unread: true},
}

// abuseOf returns the one of that name.
func abuseOf(name string) (abuse, bool) {
	all := append([]abuse{ordinary}, abuses...)
	i := slices.IndexFunc(all, func(a abuse) bool { return a.name == name })
	if i < 0 {
		return abuse{}, false
	}
	return all[i], true
}

// addressesOf adds an address to that many names, or deletes the names.
func addressesOf(add bool, names int, name func(i int) string) *dns.Msg {
	m := new(dns.Msg).SetUpdate(zoneName)
	for i := range names {
		header := dns.RR_Header{Name: name(i) + zoneName, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}
		if add {
			m.Insert([]dns.RR{&dns.A{Hdr: header, A: net.IPv4(10, 0, 0, 1)}})
		} else {
			m.RemoveName([]dns.RR{&dns.A{Hdr: header}})
		}
	}
	return m
}

// harm is what an insider has done.
type harm struct {
	Messages, Octets int            // that it has sent
	Rcodes           map[string]int // of the answers that were read
}

// insiderVariable makes this program an insider: it has the order as JSON.
const insiderVariable = "HOSTILE_INSIDER"

// An insiderOrder is what an insider is to do.
type insiderOrder struct {
	Abuse  string
	Server string
	Config string // krb5.conf
	Keytab string
	// Connections is how many it has at a time. Each has at most Window messages without an answer, where
	// answers are read.
	Connections, Window int
	// Messages is how many it sends in all, and OctetsPerSecond how many octets a second at most. 0 is no bound.
	Messages, OctetsPerSecond int
}

// order returns the order for an abuse of the harness's server.
func (h *harness) order(a abuse) insiderOrder {
	return insiderOrder{Abuse: a.name, Server: h.server.Address.String(), Config: h.config, Keytab: h.keytabs[insider], Connections: 4, Window: 16}
}

// beInsider is the main function of an insider's process. It goes on until standard input is closed, and writes the
// harm to standard output.
func beInsider(text string) error {
	var o insiderOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	done, err := o.run(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(done)
}

// launchInsider starts a process for the order. end ends it and tells what it has done.
func launchInsider(o insiderOrder) (end func() (harm, error), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	order, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), insiderVariable+"="+string(order))
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p, err := process.Start(cmd)
	if err != nil {
		return nil, err
	}
	favour(p.PID(), -15)
	return func() (done harm, err error) {
		in.Close()
		select {
		case <-p.Done():
		case <-time.After(time.Minute):
			p.Kill()
		}
		if err := json.Unmarshal([]byte(p.Output().String()), &done); err != nil {
			return done, fmt.Errorf("the insider says: %s", p.Output())
		}
		return done, nil
	}, nil
}

// run sends until the context ends or the messages are sent.
func (o insiderOrder) run(ctx context.Context) (harm, error) {
	a, ok := abuseOf(o.Abuse)
	if !ok {
		return harm{}, fmt.Errorf("there is no abuse %q", o.Abuse)
	}
	r := &insiderRun{order: o, abuse: a, began: time.Now(), done: harm{Rcodes: make(map[string]int)}, repeated: make(map[int]*dns.Msg)}
	var group sync.WaitGroup
	errs := make([]error, o.Connections)
	for i := range o.Connections {
		group.Go(func() { errs[i] = r.work(ctx) })
	}
	group.Wait()
	return r.done, errors.Join(errs...)
}

// insiderRun is an order that is being carried out.
type insiderRun struct {
	order insiderOrder
	abuse abuse
	began time.Time

	mu       sync.Mutex // guards what follows
	next     int        // message
	done     harm
	repeated map[int]*dns.Msg
}

// message returns the next message, nil if there is none.
func (r *insiderRun) message(ctx context.Context) *dns.Msg {
	r.mu.Lock()
	if ctx.Err() != nil || r.order.Messages > 0 && r.next == r.order.Messages {
		r.mu.Unlock()
		return nil
	}
	r.next++
	n, ahead := r.next, time.Duration(0)
	if r.order.OctetsPerSecond > 0 {
		ahead = time.Duration(float64(r.done.Octets)/float64(r.order.OctetsPerSecond)*float64(time.Second)) - time.Since(r.began)
	}
	var m *dns.Msg
	if r.abuse.period > 0 {
		if m = r.repeated[n%r.abuse.period]; m == nil {
			m = r.abuse.message(n)
			r.repeated[n%r.abuse.period] = m
		}
	}
	r.mu.Unlock()
	if ahead > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(ahead):
		}
	}
	if m == nil {
		return r.abuse.message(n)
	}
	again := *m
	again.Id = dns.Id()
	return &again
}

func (r *insiderRun) sent(octets int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done.Messages++
	r.done.Octets += octets
}

func (r *insiderRun) answered(rcode int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done.Rcodes[dns.RcodeToString[rcode]]++
}

// work sends on one connection after the other, with one key.
func (r *insiderRun) work(ctx context.Context) error {
	credentials, err := client.FromKeytab(r.order.Config, r.order.Keytab, principalOf(insider))
	if err != nil {
		return err
	}
	c, err := client.Dial(ctx, client.Config{Server: r.order.Server, Network: "tcp", Timeout: time.Minute, Credentials: credentials, ServicePrincipal: service})
	if err != nil {
		return err
	}
	defer c.Close()
	key, err := c.Negotiate(ctx)
	if err != nil {
		return err
	}
	defer key.Close()
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for more := true; more && err == nil; {
		if !r.abuse.unread {
			more, err = r.connect(ctx, key)
			continue
		}
		var left net.Conn
		left, more, err = r.connectUnread(ctx, key)
		if left != nil {
			open = append(open, left)
		}
		if len(open) > lingering {
			open[0].Close()
			open = open[1:]
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.abuse.name, err)
	}
	return nil
}

// messagesEach is how many messages go by one connection; the server ends one after 128.
const messagesEach = 100

// lingering is how many connections with unread answers each of an insider's connections leaves behind.
const lingering = 16

// connect sends on one connection until it has had enough messages. It reports false once there is nothing more to send.
// It does not end with the context but between two messages, when all answers have come.
func (r *insiderRun) connect(ctx context.Context, key *client.Context) (more bool, err error) {
	dialed, err := net.DialTimeout("tcp", r.order.Server, 10*time.Second)
	if err != nil {
		return false, err
	}
	c := dialed.(*net.TCPConn)
	defer c.Close()
	window, gone, answers := make(chan struct{}, r.order.Window), make(chan struct{}), 0
	go func() {
		defer close(gone)
		for in := bufio.NewReader(c); ; answers++ {
			c.SetReadDeadline(time.Now().Add(time.Minute))
			answer, err := readFramed(in)
			if err != nil || len(answer) < 4 {
				return
			}
			r.answered(int(answer[3] & 15))
			<-window
		}
	}()
	sent := 0
	for more = true; sent < messagesEach; sent++ {
		m := r.message(ctx)
		if m == nil {
			more = false
			break
		}
		wire, _, err := key.Sign(m)
		if err != nil {
			return false, err
		}
		select {
		case window <- struct{}{}:
		case <-gone:
			return false, fmt.Errorf("the server has ended a connection after %d of %d answers", answers, sent)
		}
		if _, err := c.Write(framed(wire)); err != nil {
			return false, err
		}
		r.sent(len(wire))
	}
	if err := c.CloseWrite(); err != nil {
		return false, err
	}
	if <-gone; answers != sent {
		return false, fmt.Errorf("%d answers to %d messages", answers, sent)
	}
	return more, nil
}

// connectUnread is as connect, but reads no answers. It leaves the connection open.
func (r *insiderRun) connectUnread(ctx context.Context, key *client.Context) (c net.Conn, more bool, err error) {
	if c, err = net.DialTimeout("tcp", r.order.Server, 10*time.Second); err != nil {
		return nil, false, err
	}
	for range messagesEach {
		m := r.message(ctx)
		if m == nil {
			return c, false, nil
		}
		wire, _, err := key.Sign(m)
		if err != nil {
			return c, false, err
		}
		c.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := c.Write(framed(wire)); err != nil {
			break // the server waits for the answers to be read, or has closed the connection
		}
		r.sent(len(wire))
	}
	return c, true, nil
}

// soakInsider measures the good clients' rate beside each abuse, by turns with that beside ordinary updates of as many
// octets. Where ordinary updates do not get to as many octets, it has the abuse go on with as many as they had.
func (h *harness) soakInsider(ctx context.Context, o options, say func(string, ...any)) error {
	beside := func(a abuse, octetsPerSecond int) (float64, harm, error) {
		order := h.order(a)
		order.OctetsPerSecond = octetsPerSecond
		var end func() (harm, error)
		var before time.Duration
		w, err := h.work(ctx, task{duration: o.slice, attempts: untilAnswer, begin: func() (err error) {
			before = cpuOf(h.server.PID())
			end, err = launchInsider(order)
			return err
		}})
		taken := cpuOf(h.server.PID()) - before
		if end == nil {
			return 0, harm{}, err
		}
		done, failed := end()
		say("beside an insider's %s: %.0f updates/s, %d failed, longest %v; the insider: %.0f messages/s, %.2f MB/s, answers %v; the server took %.2f processors; load %s",
			a.name, w.rate(o.slice), w.Failures, w.Longest.Round(time.Millisecond), float64(done.Messages)/o.slice.Seconds(),
			float64(done.Octets)/o.slice.Seconds()/1e6, done.Rcodes, taken.Seconds()/o.slice.Seconds(), load())
		if w.Failures > 0 {
			failed = errors.Join(failed, fmt.Errorf("beside %s %d operations of good clients failed: %v", a.name, w.Failures, w.Errors))
		}
		return w.rate(o.slice), done, errors.Join(err, failed)
	}
	perSecond := func(done harm) int { return int(float64(done.Octets) / o.slice.Seconds()) }
	before, err := h.measure(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	tried := slices.DeleteFunc(slices.Clone(abuses), func(a abuse) bool { return o.abuse != "" && a.name != o.abuse })
	kept := make(map[string][]float64)
	for left := o.insider; left > 0; left -= 3 * o.slice * time.Duration(len(tried)) {
		for _, a := range tried {
			rate, done, err := beside(a, 0)
			if err != nil {
				return err
			}
			undisturbed, usual, err := beside(ordinary, perSecond(done))
			if err != nil {
				return err
			}
			equal, _, err := beside(a, perSecond(usual))
			if err != nil {
				return err
			}
			full, slow := a.name+", as fast as they go", a.name+", of the same octets"
			kept[full], kept[slow] = append(kept[full], rate/undisturbed), append(kept[slow], equal/undisturbed)
		}
	}
	var errs []error
	for _, what := range slices.Sorted(maps.Keys(kept)) {
		shares := kept[what]
		slices.Sort(shares)
		share := shares[len(shares)/2]
		say("beside %s: good clients kept %.0f %% of their rate beside ordinary updates (median of %d, from %.0f to %.0f %%)",
			what, 100*share, len(shares), 100*shares[0], 100*shares[len(shares)-1])
		if share < o.beside {
			errs = append(errs, fmt.Errorf("beside %s: good clients kept %.0f %% of their rate, %.0f %% are due", what, 100*share, 100*o.beside))
		}
	}
	after, err := h.measure(ctx)
	if err != nil {
		return err
	}
	lines, octets := 0, 0
	for line := range strings.Lines(h.server.Log().String()) {
		if octets += len(line); strings.Contains(line, `identity="`+principalOf(insider)) {
			lines++
		}
	}
	say("before: %v; after: %v; the log has %d octets and %d lines about the insider", before, after, octets, lines)
	if after.Heap > before.Heap+insiderRoom {
		errs = append(errs, fmt.Errorf("the live heap has grown from %d to %d octets", before.Heap, after.Heap))
	}
	if most := linesOf(time.Since(began)); lines > most {
		errs = append(errs, fmt.Errorf("%d lines about the insider, of %d at most", lines, most))
	}
	return errors.Join(append(errs, h.crashed())...)
}

// insiderRoom is how many octets the server may grow by through an insider: its share of the tombstones, and the log of
// changes.
const insiderRoom = 512 << 20

// linesOf is how many lines the server's log may have about one identity after that time.
func linesOf(d time.Duration) int { return 5000 + 1000*(1+int(d/time.Second)) }
