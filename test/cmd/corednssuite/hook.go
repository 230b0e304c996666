package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// hooked is a file of CoreDNS's, and the beginnings of the functions there that a hook takes the place of.
type hooked struct {
	file    string
	renamed map[string]string
	hook    string // source
}

// hooks make this project's listener serve the plain DNS addresses of every Corefile.
func (m module) hooks() []hooked {
	return []hooked{{
		file: "test/server.go",
		renamed: map[string]string{
			"func NewInput(":           "func newStockInput(",
			"func CoreDNSServerPorts(": "func stockServerPorts(",
		},
		hook: fmt.Sprintf(testHook, ourModule+"/test/cmd/corednssuite/extrablock", m.keytab(), m.record()),
	}, {
		file: "core/dnsserver/server.go",
		renamed: map[string]string{
			"func (s *Server) Listen(":       "func (s *Server) stockListen(",
			"func (s *Server) ListenPacket(": "func (s *Server) stockListenPacket(",
		},
		hook: serverHook,
	}}
}

// testHook goes into package test. A test that asks caddy for the address of the UDP socket, and not CoreDNSServerPorts, still
// sees that caddy does not know it.
const testHook = `package test

import (
	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"

	%q
)

// NewInput returns the Corefile with server blocks that have gsstsig.
func NewInput(corefile string) *Input {
	return newStockInput(extrablock.AddAndRecord(corefile, %q, %q))
}

// CoreDNSServerPorts returns the ports the instance is listening on.
func CoreDNSServerPorts(i *caddy.Instance, k int) (udp, tcp string) {
	udp, tcp = stockServerPorts(i, k)
	if udp == "" {
		udp = dnsserver.PacketAddress(tcp)
	}
	return udp, tcp
}
`

// serverHook goes into package dnsserver. It notes which UDP socket belongs to a TCP socket: on port 0 each gets a port of its
// own, and this project's listener can tell caddy the TCP socket only.
const serverHook = `package dnsserver

import (
	"net"
	"sync"
)

var (
	streamAddresses sync.Map // *Server to the address of its TCP socket
	packetAddresses sync.Map // that address to the one of the UDP socket
)

func (s *Server) Listen() (net.Listener, error) {
	l, err := s.stockListen()
	if err == nil {
		streamAddresses.Store(s, l.Addr().String())
	}
	return l, err
}

func (s *Server) ListenPacket() (net.PacketConn, error) {
	p, err := s.stockListenPacket()
	if stream, ok := streamAddresses.Load(s); ok && err == nil {
		packetAddresses.Store(stream, p.LocalAddr().String())
	}
	return p, err
}

// PacketAddress returns the address of the UDP socket that was opened with the TCP socket of an address, or nothing.
func PacketAddress(stream string) string {
	packet, _ := packetAddresses.Load(stream)
	address, _ := packet.(string)
	return address
}
`

// writeHooks writes the hooks and the files that they hook into, and returns the file for go build -overlay that puts them into
// the module. So the tests, some of which read source files, find CoreDNS as it is.
func (m module) writeHooks() (overlay string, err error) {
	replacements := make(map[string]string)
	for i, h := range m.hooks() {
		file := filepath.Join(m.root(), filepath.FromSlash(h.file))
		source, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		text, err := rename(string(source), h.renamed)
		if err != nil {
			return "", fmt.Errorf("hook into %s of CoreDNS %s: %w. Fix: adapt hook.go to it", h.file, m.version, err)
		}
		changed, added := filepath.Join(m.dir, fmt.Sprintf("changed%d.go", i)), filepath.Join(m.dir, fmt.Sprintf("hook%d.go", i))
		replacements[file] = changed
		replacements[filepath.Join(filepath.Dir(file), "gsstsig_hook.go")] = added
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			return "", err
		}
		if err := os.WriteFile(added, []byte(h.hook), 0o600); err != nil {
			return "", err
		}
	}
	content, err := json.Marshal(map[string]map[string]string{"Replace": replacements})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(m.dir, "overlay.json")
	return overlay, os.WriteFile(overlay, content, 0o600)
}

// rename changes how functions begin where they are declared. Each must be declared once.
func rename(source string, names map[string]string) (string, error) {
	for from, to := range names {
		if n := strings.Count(source, "\n"+from); n != 1 {
			return "", fmt.Errorf("%s) is declared %d times", from, n)
		}
		source = strings.Replace(source, "\n"+from, "\n"+to, 1)
	}
	return source, nil
}
