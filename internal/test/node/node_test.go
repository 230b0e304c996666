//go:build linux && e2e

package node_test

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/debian13"
	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
)

// TestSystem has a node run the programs of another system than the machine's.
func TestSystem(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	network, err := node.NewNetwork(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Close)
	root, err := debian13.Root()
	if err != nil {
		t.Fatal(err)
	}
	n, err := network.Add(ctx, node.Config{
		Name: "a", Domain: "example.test", Resolver: netip.MustParseAddr("10.77.1.1"), System: root,
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.77.1.1/24")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"cat", "/etc/debian_version"}, {"sssd", "--version"}, {"dig", "-v"}} {
		said, err := n.Output(n.Command(ctx, args[0], args[1:]...))
		if want := map[string]string{"cat": "13.", "sssd": "2.10.", "dig": "DiG 9.20."}[args[0]]; err != nil || !strings.HasPrefix(said, want) {
			t.Errorf("%q: %q, %v; want %s", args, said, err, want)
		}
	}
}

func TestNodesAreMachines(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	network, err := node.NewNetwork(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Close)
	var nodes []*node.Node
	for _, name := range []string{"a", "b"} {
		n, err := network.Add(ctx, node.Config{
			Name: name, Domain: "example.test", Resolver: netip.MustParseAddr("10.77.1.1"),
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.77.1." + map[string]string{"a": "1", "b": "2"}[name] + "/24")},
		})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	const file = "/etc/of-one-node"
	if err := nodes[0].WriteFile(file, "text", 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(nodes[0].Path(file)); err != nil || string(text) != "text" {
		t.Errorf("from outside: %q, %v", text, err)
	}
	if text, err := nodes[1].ReadFile(file); err == nil {
		t.Errorf("another node reads %q", text)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the file is on the machine")
	}
	said, err := nodes[1].Output(nodes[1].Command(ctx, "sh", "-c", "hostname; ps -e -o pid= | wc -l; echo $$"))
	if err != nil || !strings.HasPrefix(said, "b.example.test\n") || len(strings.Fields(said)[1]) > 1 {
		t.Errorf("%v: %s", err, said)
	}
	listener, err := nodes[0].Start(nodes[0].Command(ctx, "python3", "-c",
		`import socket; s = socket.create_server(("10.77.1.1", 7)); print("listening", flush=True); s.accept()[0].send(b"hello")`))
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Output().WaitFor(ctx, 0, "listening"); err != nil {
		t.Fatal(err)
	}
	conn, err := nodes[1].Dial("tcp", "10.77.1.1:7")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	greeting := make([]byte, 5)
	if _, err := conn.Read(greeting); err != nil || string(greeting) != "hello" {
		t.Errorf("%q, %v", greeting, err)
	}

	sleeper, err := nodes[0].Start(nodes[0].Command(ctx, "sh", "-c", "setsid sleep 600 & wait"))
	if err != nil {
		t.Fatal(err)
	}
	nodes[0].Close()
	select {
	case <-sleeper.Done():
	case <-ctx.Done():
		t.Error("a program outlives its node")
	}
}
