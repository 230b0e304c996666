package listener

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
)

// TestReceiveBuffer makes sure that a burst of updates finds as much room as the system lets us have.
func TestReceiveBuffer(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	if err != nil {
		t.Fatal(err)
	}
	allowed, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	stock, err := dnsserver.NewServer("dns://127.0.0.1:"+freePort(t), []*dnsserver.Config{{Zone: "example.org.", ListenHosts: []string{"127.0.0.1"}}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := openEndpoint(stock, newConnectionTable())
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	defer e.streams.Close()
	raw, err := e.udp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var size int
	if ctlErr := raw.Control(func(fd uintptr) {
		size, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
	}); ctlErr != nil || err != nil {
		t.Fatal(ctlErr, err)
	}
	// Linux doubles what is asked for, to cover its own overhead.
	if want := 2 * min(allowed, receiveBuffer); size < want {
		t.Errorf("receive buffer of %d octets, want %d", size, want)
	}
	// Who may administer the network gets more than others may have.
	want := max(receiveBuffer, 2*allowed)
	if got, err := setReceiveBuffer(e.udp, want); err != nil || got != want && got != allowed {
		t.Errorf("receive buffer of %d octets, %v; want %d, or %d", got, err, want, allowed)
	}
}

// Of messages that come by one socket to several addresses, each is answered from the address that it came to, whatever came
// before it.
func TestEachAddressAnswersForItself(t *testing.T) {
	port := freePort(t)
	start(t, fmt.Sprintf("example.org:%s {\n probe a\n}", port))
	for _, address := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.1", "::1", "::1", "127.0.0.2"} {
		// A socket that is connected takes answers from that address only.
		if got := texts(ask(t, "udp", net.JoinHostPort(address, port), query("x.example.org.", dns.TypeTXT))); got != "a unsigned" {
			t.Errorf("%s answers %q", address, got)
		}
	}
}
