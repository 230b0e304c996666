package listener

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
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
