package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/etcd"
	"github.com/gsstsig/coredns-gsstsig/internal/test/relay"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

const (
	clusterSize = 3
	// spread is how long a change may take to be seen at all nodes. A busy machine needs more than the milliseconds of others.
	spread = 20 * time.Second
	// reachable is how long the address in front waits for a node that it tries.
	reachable = 200 * time.Millisecond
)

// clusterZone is what the zone starts with. All nodes have the same key, that of ns1, which stands for the address in front.
const clusterZone = `$TTL 300
@    SOA ns1 hostmaster 1 900 600 86400 300
@    NS  ns1
ns1  A   127.0.0.1
`

// cluster is three members of etcd, three nodes, and one address in front of them.
type cluster struct {
	*site
	etcd  *etcd.Cluster
	nodes []*server.Server
	front *relay.Relay

	mu     sync.Mutex
	next   int // node that the address in front tries next
	served []exchange
}

// exchange is a message of nsupdate and the node that answered it.
type exchange struct {
	opcode int
	qtype  uint16
	node   string
}

// runCluster shows one zone on three servers.
func runCluster(ctx context.Context) error {
	c, err := startCluster(ctx)
	if err != nil {
		return err
	}
	defer c.stop()
	if err := c.show(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, c.logs())
	}
	fmt.Println("\nAll as it should be.")
	if os.Getenv("RUN_ONCE") == "1" {
		return nil
	}
	return c.stayUp(ctx)
}

func startCluster(ctx context.Context) (c *cluster, err error) {
	fmt.Printf("A Kerberos realm, %s, %d members of etcd with TLS, %d CoreDNS nodes for %s on them, and one address in front …\n",
		realmName, clusterSize, clusterSize, zone)
	place, err := newSite(ctx)
	if err != nil {
		return nil, err
	}
	c = &cluster{site: place}
	defer func() {
		if err != nil {
			c.stop()
		}
	}()
	flags := []string{"--auto-compaction-mode", "periodic", "--auto-compaction-retention", "1h"}
	if c.etcd, err = etcd.Start(ctx, etcd.Config{Members: clusterSize, TLS: true, Flags: flags}); err != nil {
		return nil, err
	}
	tls := c.etcd.TLSFiles()
	for i := range clusterSize {
		node, err := server.Start(ctx, server.Config{
			Binary: c.binary,
			Corefile: fmt.Sprintf("%s {\n    bind 127.0.0.1\n    gsstsig {\n        keytab %s\n        file db.zone\n        etcd %s\n        etcd_tls %s %s %s\n"+
				"        etcd_server %s\n        control control.sock\n    }\n    errors\n}\n",
				zone, c.keytab, strings.Join(c.etcd.Endpoints(), " "), tls.Cert, tls.Key, tls.CA, nodeName(i)),
			Files: map[string]string{"db.zone": clusterZone},
			Probe: zone,
		})
		if err != nil {
			return nil, err
		}
		c.nodes = append(c.nodes, node)
		fmt.Printf("   %s serves on %s, member %s of etcd on %s\n", nodeName(i), node.Address, etcd.MemberName(i), c.etcd.Endpoint(i))
	}
	if c.front, err = relay.Start(relay.Config{Pick: c.pick, Observe: c.observe}); err != nil {
		return nil, err
	}
	fmt.Printf("   the address of all: %s; each datagram and each connection goes to the next node\n", c.front.Address)
	return c, nil
}

func nodeName(i int) string { return fmt.Sprintf("node%d", i+1) }

func (c *cluster) stop() {
	if c.front != nil {
		c.front.Close()
	}
	for _, node := range c.nodes {
		// Their directories and processes are gone either way.
		_ = node.Stop()
	}
	if c.etcd != nil {
		c.etcd.Stop()
	}
	c.remove()
}

// pick takes the nodes in turn, without those that do not answer, as a health check takes them out.
func (c *cluster) pick() netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range c.nodes {
		address := c.nodes[c.next].Address
		c.next = (c.next + 1) % len(c.nodes)
		if conn, err := net.DialTimeout("tcp", address.String(), reachable); err == nil {
			_ = conn.Close()
			return address
		}
	}
	return netip.AddrPort{}
}

// observe notes which node answered what.
func (c *cluster) observe(e relay.Exchange) {
	var m dns.Msg
	if m.Unpack(e.Request) != nil || len(m.Question) != 1 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, node := range c.nodes {
		if node.Address == e.Server {
			c.served = append(c.served, exchange{m.Opcode, m.Question[0].Qtype, nodeName(i)})
		}
	}
}

// update runs nsupdate on the address in front, and tells which nodes it has met.
func (c *cluster) update(ctx context.Context, who int, rcode string, commands ...string) error {
	c.mu.Lock()
	c.served = nil
	c.mu.Unlock()
	if err := c.site.update(ctx, c.front.Address, who, rcode, true, commands...); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	context, update := "", ""
	for _, e := range c.served {
		switch {
		case e.qtype == dns.TypeTKEY:
			context = e.node
		case e.opcode == dns.OpcodeUpdate:
			update = e.node
		}
	}
	fmt.Printf("   the context was made at %s, the update went to %s\n", context, update)
	if context == update {
		return errors.New("the context and the update met the same node")
	}
	return nil
}

// updateDuringElection is update while etcd elects a leader and nodes change to another member: a context that is made meanwhile may
// be good at its own node only, and the client has to make another one.
func (c *cluster) updateDuringElection(ctx context.Context, who int, commands ...string) error {
	deadline := time.Now().Add(spread)
	for {
		err := c.update(ctx, who, "NOERROR", commands...)
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		fmt.Println("   not every node has etcd back, and the client tries again")
	}
}

// seen waits until a name has an address at the given nodes, and prints dig's answers.
func (c *cluster) seen(ctx context.Context, name, address string, nodes ...int) error {
	for _, i := range nodes {
		deadline := time.Now().Add(spread)
		for {
			records, err := dnsutils.Dig(ctx, c.nodes[i].Address, name, "A")
			if err == nil && len(records) == 1 && strings.HasSuffix(records[0], address) {
				fmt.Printf("   %s: %s\n", nodeName(i), records[0])
				break
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("dig at %s shows %q (%v), want %s", nodeName(i), records, err, address)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

func (c *cluster) show(ctx context.Context) error {
	own := client(1)
	heading("%s registers itself at the one address: nsupdate -g", own)
	if err := c.update(ctx, 1, "NOERROR", "update add "+own+" 300 A 192.0.2.11"); err != nil {
		return err
	}
	heading("dig shows it at every node")
	if err := c.seen(ctx, own, "192.0.2.11", 0, 1, 2); err != nil {
		return err
	}
	heading("%s tries to move it: the name belongs to another at every node", client(2))
	if err := c.update(ctx, 2, "REFUSED", "update delete "+own+" A", "update add "+own+" 300 A 192.0.2.66"); err != nil {
		return err
	}

	heading("%s is killed (kill -9); updates go on", nodeName(0))
	c.nodes[0].Kill()
	if err := c.update(ctx, 2, "NOERROR", "update add "+client(2)+" 300 A 192.0.2.12"); err != nil {
		return err
	}
	if err := c.seen(ctx, client(2), "192.0.2.12", 1, 2); err != nil {
		return err
	}

	leader, err := c.etcd.Leader(ctx)
	if err != nil {
		return err
	}
	heading("member %s of etcd, the leader, is killed too; updates go on", etcd.MemberName(leader))
	c.etcd.Kill(leader)
	if err := c.updateDuringElection(ctx, 3, "update add "+client(3)+" 300 A 192.0.2.13"); err != nil {
		return err
	}
	if err := c.updateDuringElection(ctx, 1, "update delete "+own+" A", "update add "+own+" 300 A 192.0.2.21"); err != nil {
		return err
	}
	if err := c.seen(ctx, own, "192.0.2.21", 1, 2); err != nil {
		return err
	}

	heading("both are started again, and %s has what it missed", nodeName(0))
	if err := c.etcd.Restart(ctx, leader); err != nil {
		return err
	}
	if err := c.nodes[0].Relaunch(ctx); err != nil {
		return err
	}
	for n, address := range []string{"192.0.2.21", "192.0.2.12", "192.0.2.13"} {
		if err := c.seen(ctx, client(n+1), address, 0); err != nil {
			return err
		}
	}
	heading("coredns gsstsig status, at %s", nodeName(2))
	return c.status(ctx)
}

// status prints what a node says of the cluster.
func (c *cluster) status(ctx context.Context) error {
	deadline := time.Now().Add(spread)
	for {
		cmd := exec.CommandContext(ctx, c.binary, "gsstsig", "status", "-control", filepath.Join(c.nodes[2].Dir(), "control.sock"))
		text, err := cmd.CombinedOutput()
		// The first node has just started, and tells the others of itself soon.
		if missing := c.missing(string(text)); err == nil && missing != "" && time.Now().Before(deadline) {
			time.Sleep(100 * time.Millisecond)
			continue
		} else if err == nil && missing != "" {
			err = errors.New("it does not name " + missing)
		}
		for line := range strings.Lines(string(text)) {
			fmt.Print("   ", line)
		}
		if err != nil {
			return fmt.Errorf("status: %w", err)
		}
		return nil
	}
}

// missing is a node that a status does not have, or "".
func (c *cluster) missing(status string) string {
	for i := range c.nodes {
		if !strings.Contains(status, "\n"+nodeName(i)+" ") {
			return nodeName(i)
		}
	}
	return ""
}

// logs are what the nodes have said.
func (c *cluster) logs() string {
	var b strings.Builder
	for i, node := range c.nodes {
		fmt.Fprintf(&b, "\n%s said:\n%s", nodeName(i), node.Log())
	}
	return b.String()
}

// stayUp tells how to go on by hand, and shows a node's log until the end.
func (c *cluster) stayUp(ctx context.Context) error {
	config, err := c.realm.Config()
	if err != nil {
		return err
	}
	front := c.front.Address
	fmt.Printf(`
To try more, in another terminal:

   export KRB5_CONFIG=%s
   export KRB5CCNAME=FILE:%s      # host/%s
   nsupdate -g <<END
   server %s %d
   update add printer.%s 300 A 192.0.2.30
   send
   END

`, config, c.caches[0], client(1), front.Addr(), front.Port(), zone)
	for i, node := range c.nodes {
		fmt.Printf("   %s: process %d; dig @%s -p %d printer.%s; %s gsstsig status -control %s\n", nodeName(i), node.PID(), node.Address.Addr(), node.Address.Port(), zone,
			c.binary, filepath.Join(node.Dir(), "control.sock"))
	}
	fmt.Printf("\nCtrl-C ends it all and leaves nothing behind. The log of %s:\n\n", nodeName(2))
	return follow(ctx, c.nodes[2].Log())
}
