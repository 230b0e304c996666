package admin

import (
	"errors"
	"net"
	"strconv"
)

// portNumber is a flag with a port.
type portNumber string

// String implements flag.Value.
func (p *portNumber) String() string { return string(*p) }

// Set implements flag.Value.
func (p *portNumber) Set(v string) error {
	if !isPort(v) {
		return errors.New("must be a port, a number from 1 to 65535")
	}
	*p = portNumber(v)
	return nil
}

func isPort(v string) bool {
	n, err := strconv.ParseUint(v, 10, 16)
	return err == nil && n > 0
}

// hostPort is a flag with a host and a port.
type hostPort string

// String implements flag.Value.
func (h *hostPort) String() string { return string(*h) }

// Set implements flag.Value.
func (h *hostPort) Set(v string) error {
	host, port, err := net.SplitHostPort(v)
	if err != nil || host == "" || !isPort(port) {
		return errors.New("must be HOST:PORT, such as 192.0.2.53:53 or [2001:db8::53]:53")
	}
	*h = hostPort(v)
	return nil
}
