//go:build e2e

package cluster

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/etcd"
	"github.com/gsstsig/coredns-gsstsig/internal/test/link"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

const size = 3 // of the cluster: servers, and members of etcd

// deployment is servers of one zone on members of etcd.
type deployment struct {
	t       *testing.T
	ctx     context.Context
	config  config
	members *etcd.Cluster
	links   [size][size]*link.Link // from a server to a member
	servers [size]*server.Server
	down    [size]bool // the server was killed and not started again
}

// config is what differs between tests.
type config struct {
	seed    string   // what comes after the apex
	expire  int      // of the SOA, in seconds; 0 is a week
	inside  []string // more lines of gsstsig
	beside  []string // more lines of the block
	quota   int64    // of etcd
	notSame bool     // each server has another seed
	to      string   // who may transfer, and gets NOTIFY; "" is that everybody may
	keytabs []string // of each server, in place of that which all tests share
}

func (c config) keytab(server int) string {
	if c.keytabs == nil {
		return shared.keytab
	}
	return c.keytabs[server]
}

func (c config) zoneFile(server int) string {
	expire := c.expire
	if expire == 0 {
		expire = 7 * 86400
	}
	text := fmt.Sprintf("$TTL 300\n@ SOA ns1.example.test. hostmaster.example.test. 1 3600 600 %d 60\n@ NS ns1.example.test.\nns1 A 127.0.0.1\n", expire)
	if c.notSame {
		text += fmt.Sprintf("seed TXT \"of server %d\"\n", server)
	}
	return text + c.seed
}

// deploy starts everything. At the end of the test the servers must have ended cleanly.
func deploy(t *testing.T, c config) *deployment {
	t.Helper()
	d := &deployment{t: t, config: c, ctx: t.Context()}
	var err error
	d.members, err = etcd.Start(d.ctx, etcd.Config{Members: size, Quota: c.quota,
		Flags: []string{"--auto-compaction-mode=periodic", "--auto-compaction-retention=10m"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.members.Stop)
	for i := range size {
		for j := range size {
			if d.links[i][j], err = link.Start(d.members.Address(j)); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(d.links[i][j].Close)
		}
	}
	// At once, so that all of them find the store empty.
	started := make(chan error, size)
	for i := range size {
		go func() {
			s, err := server.Start(shared.ctx, server.Config{Binary: shared.binary, Corefile: d.corefile(i), Probe: zoneName,
				Files: map[string]string{"db": c.zoneFile(i)}, Ports: []string{"READY", "METRICS", "PPROF"}})
			d.servers[i] = s
			started <- err
		}()
	}
	for range size {
		if e := <-started; e != nil {
			err = e
		}
	}
	t.Cleanup(d.stop)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *deployment) stop() {
	for i, s := range d.servers {
		if s == nil {
			continue
		}
		if d.t.Failed() {
			said := strings.SplitAfter(s.Log().String(), "\n")
			d.t.Logf("server %d said last:\n%s", i, strings.Join(said[max(0, len(said)-25):], ""))
		}
		if err := s.Stop(); err != nil {
			d.t.Error(err)
		}
	}
}

func (d *deployment) corefile(i int) string {
	var endpoints []string
	for _, l := range d.links[i] {
		endpoints = append(endpoints, "http://"+l.Address.String())
	}
	lines := []string{
		"keytab " + d.config.keytab(i),
		"realm " + realmName,
		"file db " + zoneName,
		"etcd " + strings.Join(endpoints, " "),
		fmt.Sprintf("etcd_server ns%d", i),
	}
	return fmt.Sprintf("%s {\n    bind 127.0.0.1\n    errors\n    ready 127.0.0.1:{$READY} {\n        monitor continuously\n    }\n    prometheus 127.0.0.1:{$METRICS}\n    %s\n    gsstsig {\n        %s\n    }\n    transfer {\n        to %s\n    }\n}\n",
		zoneName, strings.Join(d.config.beside, "\n    "), strings.Join(append(lines, d.config.inside...), "\n        "), cmp.Or(d.config.to, "*"))
}

func (d *deployment) address(server int) netip.AddrPort { return d.servers[server].Address }

// kill ends a server as a power failure would.
func (d *deployment) kill(server int) {
	d.servers[server].Kill()
	d.down[server] = true
}

// restart starts a server that was killed, and waits until it answers.
func (d *deployment) restart(server int) {
	d.t.Helper()
	if err := d.servers[server].Restart(d.ctx, syscall.SIGKILL); err != nil {
		d.t.Fatalf("server %d: %v", server, err)
	}
	d.down[server] = false
}

func (d *deployment) signal(server int, signal syscall.Signal) {
	d.t.Helper()
	if err := d.servers[server].Signal(signal); err != nil {
		d.t.Fatal(err)
	}
}

// cut holds back what a server and etcd send each other; 0 ends that.
func (d *deployment) cut(server int, direction link.Direction) {
	for _, l := range d.links[server] {
		l.Cut(direction)
	}
}

// killMember ends a member of etcd at once.
func (d *deployment) killMember(member int) { d.members.Kill(member) }

// restartMember starts a member again, and waits until it answers.
func (d *deployment) restartMember(member int) {
	d.t.Helper()
	if err := d.members.Restart(d.ctx, member); err != nil {
		d.t.Fatal(err)
	}
}

// leader is the member that leads etcd.
func (d *deployment) leader() int {
	d.t.Helper()
	var leader int
	d.until("a leader", func() (err error) {
		ctx, cancel := context.WithTimeout(d.ctx, 10*time.Second)
		defer cancel()
		leader, err = d.members.Leader(ctx)
		return err
	})
	return leader
}

// until asks again and again until there is no error, for as long as a test may take.
func (d *deployment) until(what string, ask func() error) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			d.t.Fatalf("waiting for %s: %v", what, err)
		}
	}
}

// query asks a server over TCP.
func (d *deployment) query(server int, name string, qtype uint16) (*dns.Msg, error) {
	return ask(d.ctx, d.address(server), name, qtype)
}

func ask(ctx context.Context, address netip.AddrPort, name string, qtype uint16) (*dns.Msg, error) {
	c := &dns.Client{Net: "tcp", Timeout: 5 * time.Second}
	reply, _, err := c.ExchangeContext(ctx, new(dns.Msg).SetQuestion(name, qtype), address.String())
	return reply, err
}

// serial is the zone's at a server.
func (d *deployment) serial(server int) (uint32, error) { return serialAt(d.ctx, d.address(server)) }

func serialAt(ctx context.Context, address netip.AddrPort) (uint32, error) {
	reply, err := ask(ctx, address, zoneName, dns.TypeSOA)
	if err != nil {
		return 0, err
	}
	if len(reply.Answer) != 1 {
		return 0, fmt.Errorf("%s: no SOA: %s", address, dns.RcodeToString[reply.Rcode])
	}
	return reply.Answer[0].(*dns.SOA).Serial, nil
}

// transfer fetches the zone from a server, or the changes since a serial.
func (d *deployment) transfer(server int, serial ...uint32) ([]dns.RR, error) {
	return transferFrom(d.address(server), serial...)
}

func transferFrom(address netip.AddrPort, serial ...uint32) ([]dns.RR, error) {
	m := new(dns.Msg).SetAxfr(zoneName)
	if len(serial) > 0 {
		m = new(dns.Msg).SetIxfr(zoneName, serial[0], "ns1.example.test.", "hostmaster.example.test.")
	}
	t := &dns.Transfer{DialTimeout: 10 * time.Second, ReadTimeout: 20 * time.Second}
	envelopes, err := t.In(m, address.String())
	if err != nil {
		return nil, fmt.Errorf("transfer from %s: %w", address, err)
	}
	var records []dns.RR
	for e := range envelopes {
		if e.Error != nil {
			return nil, fmt.Errorf("transfer from %s: %w", address, e.Error)
		}
		records = append(records, e.RR...)
	}
	return records, nil
}
