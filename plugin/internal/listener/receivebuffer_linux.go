package listener

import (
	"net"
	"syscall"
)

// setReceiveBuffer sets the size of the socket's receive buffer, and returns the size that the kernel granted: any size for
// a process with CAP_NET_ADMIN, at most net.core.rmem_max for others.
func setReceiveBuffer(c *net.UDPConn, octets int) (got int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failure error
	err = raw.Control(func(descriptor uintptr) {
		fd := int(descriptor)
		if syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, octets) != nil {
			failure = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, octets)
		}
		if failure == nil {
			got, failure = syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF)
		}
	})
	if err == nil {
		err = failure
	}
	return got / 2, err // the kernel doubles it for its own needs, and tells the double
}
