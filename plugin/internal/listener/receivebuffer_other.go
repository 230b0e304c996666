//go:build !linux

package listener

import "net"

// setReceiveBuffer asks the kernel to keep so many octets of messages that were not read yet. What it makes of it is not
// known.
func setReceiveBuffer(c *net.UDPConn, octets int) (got int, err error) {
	return octets, c.SetReadBuffer(octets)
}
