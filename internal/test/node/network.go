//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

const (
	upTimeout = 30 * time.Second
	bridge    = "br0"
)

// Network is a link that nodes are on. Its methods are safe for concurrent use.
type Network struct {
	hub    *process.Process // owns the namespace that the bridge is in
	inside *thread

	mu    sync.Mutex
	nodes []*Node
}

// NewNetwork makes a network without nodes. It ends by [Network.Close], or with this process.
func NewNetwork(ctx context.Context) (*Network, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("network namespaces need root")
	}
	if err := process.Require("ip", "mount"); err != nil {
		return nil, err
	}
	hub, inside, err := hold(ctx, "echo up; exec sleep infinity", nil, syscall.CLONE_NEWNET, networkNamespace)
	if err != nil {
		return nil, err
	}
	n := &Network{hub: hub, inside: inside}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", bridge, "type", "bridge"},
		{"link", "set", bridge, "up"},
	} {
		if err := n.ip(ctx, args...); err != nil {
			n.Close()
			return nil, err
		}
	}
	return n, nil
}

// hold starts a process that does nothing but own namespaces, and a thread of this process in them. The script prints
// "up" when it is ready.
func hold(ctx context.Context, script string, args []string, flags uintptr, enterable ...namespace) (*process.Process, *thread, error) {
	ctx, cancel := context.WithTimeout(ctx, upTimeout)
	defer cancel()
	holder := exec.Command("/bin/sh", append([]string{"-ec", script, "holder"}, args...)...)
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Setsid: true}
	p, err := process.Start(holder)
	if err != nil {
		return nil, nil, fmt.Errorf("make namespaces: %w", err)
	}
	if err := p.Output().WaitFor(ctx, 0, "up\n"); err != nil {
		p.Kill()
		return nil, nil, err
	}
	inside, err := enter(p.PID(), enterable...)
	if err != nil {
		p.Kill()
		return nil, nil, err
	}
	return p, inside, nil
}

// ip runs iproute2's ip where the bridge is.
func (n *Network) ip(ctx context.Context, args ...string) error {
	_, err := output(n.inside, exec.CommandContext(ctx, "ip", args...))
	return err
}

// Close ends all nodes and the network. It may be called more than once.
func (n *Network) Close() {
	n.mu.Lock()
	nodes := n.nodes
	n.nodes = nil
	n.mu.Unlock()
	for _, node := range nodes {
		node.Close()
	}
	n.hub.Kill()
	n.inside.end()
}

// Config describes a node.
type Config struct {
	Name      string         // its host name, which is inside Domain
	Domain    string         // of the host name, and what its resolver searches
	Addresses []netip.Prefix // on its only link, eth0
	Resolver  netip.Addr     // the DNS server that it asks
	// OwnPrograms gives it a /usr of its own too, so that packages can be installed.
	OwnPrograms bool
	// System is the root directory of another system, whose /usr, /etc and /var the node has in place of the machine's.
	// "" is the machine's, or Debian 13 where package debian13 says so.
	System string
}

// Add makes a node and connects it.
func (n *Network) Add(ctx context.Context, config Config) (*Node, error) {
	node, err := newNode(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", config.Name, err)
	}
	n.mu.Lock()
	n.nodes = append(n.nodes, node)
	port := fmt.Sprintf("port%d", len(n.nodes))
	n.mu.Unlock()
	err = errors.Join(
		n.ip(ctx, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(node.holder.PID())),
		n.ip(ctx, "link", "set", port, "master", bridge, "up"),
		node.connect(ctx),
	)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", config.Name, err)
	}
	return node, nil
}
