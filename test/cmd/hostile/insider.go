package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

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
	Target string // where messages by UDP go; empty is to the server
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
			if c != nil {
				c.Close()
			}
		}
	}()
	for more := true; more && err == nil; {
		switch {
		case r.abuse.udp:
			more, err = r.packets(ctx, key)
		case r.abuse.unread:
			var left net.Conn
			left, more, err = r.connectUnread(ctx, key)
			open = append(open, left)
			if len(open) == lingering {
				select {
				case <-ctx.Done():
				case <-time.After(lingeringTime / lingering):
				}
				open[0].Close()
				open = open[1:]
			}
		default:
			more, err = r.connect(ctx, key)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.abuse.name, err)
	}
	return nil
}

// messagesEach is how many messages go by one connection; the server ends one after 128.
const messagesEach = 100

// lingering is how many connections with unread answers each of an insider's connections leaves behind, and lingeringTime
// for how long. What the server has not read by then is lost.
const (
	lingering     = 50
	lingeringTime = time.Second
)

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

// packets sends by UDP, and reads the answers that come.
func (r *insiderRun) packets(ctx context.Context, key *client.Context) (more bool, err error) {
	c, err := net.Dial("udp", cmp.Or(r.order.Target, r.order.Server))
	if err != nil {
		return false, err
	}
	defer c.Close()
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() {
		answer := make([]byte, dns.MaxMsgSize)
		for {
			n, err := c.Read(answer)
			if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
			if err == nil && n > 3 {
				r.answered(int(answer[3] & 15))
			}
		}
	})
	for {
		m := r.message(ctx)
		if m == nil {
			return false, c.SetReadDeadline(time.Now().Add(time.Second))
		}
		wire, _, err := key.Sign(m)
		if err != nil {
			c.Close()
			return false, err
		}
		if _, err := c.Write(wire); err == nil {
			r.sent(len(wire))
		}
	}
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
