// Package loopback hands out ports of 127.0.0.1 to the servers that tests start.
package loopback

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
)

// The ports lie below those that Linux gives to outgoing connections, so that no client takes one in between.
const (
	lowest  = 20000
	highest = 32000
)

var (
	mu    sync.Mutex
	given = make(map[uint16]bool)
)

// ErrNoPort means that no free port was found.
var ErrNoPort = errors.New("no free port on 127.0.0.1")

// Port returns a port that is free for UDP and TCP on all addresses at the moment, since not every server binds to 127.0.0.1 alone, and that this process has not been given before.
// Another process may still take it first, so that a caller that starts a server on it must be ready to try another.
func Port() (uint16, error) {
	mu.Lock()
	defer mu.Unlock()
	for range 1000 {
		port := uint16(lowest + rand.IntN(highest-lowest))
		if given[port] || !free(port) {
			continue
		}
		given[port] = true
		return port, nil
	}
	return 0, ErrNoPort
}

// Address is 127.0.0.1 with the port.
func Address(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
}

func free(port uint16) bool {
	address := fmt.Sprintf(":%d", port)
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer l.Close()
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	return c.Close() == nil
}
