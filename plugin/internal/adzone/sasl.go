package adzone

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// Layers of SASL GSSAPI (RFC 4752 section 3.3), and the first octet of what both sides say of them.
const layerIntegrity = 2

const (
	// maxReceive is the largest token that the controller may send, in octets.
	maxReceive = 1 << 20
	// maxUnprotected bounds what the controller sends before messages are signed.
	maxUnprotected = 1 << 20
)

var (
	errNoIntegrity = errors.New("the domain controller does not offer to sign messages (SASL GSSAPI with integrity)")
	errUnprotected = fmt.Errorf("the domain controller sends more than %d MiB before it has authenticated itself", maxUnprotected>>20)
)

// protectedConn is a connection to a domain controller. From protect on, messages are signed, and must be signed. It is used by
// one reader and one writer.
type protectedConn struct {
	net.Conn
	context atomic.Pointer[krb5.InitiatorContext] // nil before protect
	maxSend int                                   // largest message to wrap; set before protect

	// Of the reader.
	unprotected int    // octets that were read before protect
	received    []byte // of tokens, not yet unwrapped
	plain       []byte // unwrapped, not yet read
}

// protect begins the signatures. The controller must not have anything to say until it is asked again.
func (c *protectedConn) protect(context *krb5.InitiatorContext) { c.context.Store(context) }

// Read implements net.Conn.
func (c *protectedConn) Read(p []byte) (int, error) {
	for {
		if len(c.plain) > 0 {
			n := copy(p, c.plain)
			c.plain = c.plain[n:]
			return n, nil
		}
		if token, ok, err := c.token(); err != nil {
			return 0, err
		} else if ok {
			if c.plain, err = c.context.Load().Unwrap(token); err != nil {
				return 0, fmt.Errorf("message of the domain controller: %w", err)
			}
			continue
		}
		n, err := c.Conn.Read(p)
		if c.context.Load() != nil {
			// The read may have begun before protect; what it returns was sent after.
			if c.received = append(c.received, p[:n]...); err != nil {
				return 0, err
			}
			continue
		}
		if c.unprotected += n; c.unprotected > maxUnprotected {
			return 0, errUnprotected
		}
		return n, err
	}
}

// token takes one token from what was received, if it is complete.
func (c *protectedConn) token() (token []byte, ok bool, err error) {
	const head = 4
	if len(c.received) < head {
		return nil, false, nil
	}
	length := binary.BigEndian.Uint32(c.received)
	if length > maxReceive {
		return nil, false, fmt.Errorf("message of the domain controller: %d octets, more than %d", length, maxReceive)
	}
	end := head + int(length)
	if len(c.received) < end {
		return nil, false, nil
	}
	token = c.received[head:end]
	c.received = c.received[end:]
	return token, true, nil
}

// Write implements net.Conn.
func (c *protectedConn) Write(p []byte) (int, error) {
	context := c.context.Load()
	if context == nil {
		return c.Conn.Write(p)
	}
	written := 0
	for len(p) > 0 {
		part := p[:min(len(p), c.maxSend)]
		token, err := context.Wrap(part)
		if err != nil {
			return written, err
		}
		framed := append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(token)), uint32(len(token))), token...)
		if _, err := c.Conn.Write(framed); err != nil {
			return written, err
		}
		written += len(part)
		p = p[len(part):]
	}
	return written, nil
}

// handshake is the client's side of SASL GSSAPI. It implements ldap.GSSAPIClient.
type handshake struct {
	context *krb5.InitiatorContext
	maxSend int // what NegotiateSaslAuth found out
}

// InitSecContext implements ldap.GSSAPIClient.
func (h *handshake) InitSecContext(_ string, token []byte) (out []byte, more bool, err error) {
	out, err = h.context.Init(token)
	if err != nil {
		return nil, false, err
	}
	return out, !h.context.Established(), nil
}

// InitSecContextWithOptions implements ldap.GSSAPIClient.
func (h *handshake) InitSecContextWithOptions(target string, token []byte, _ []int) ([]byte, bool, error) {
	return h.InitSecContext(target, token)
}

// overhead is more than what a token is longer than its message.
const overhead = 64

// NegotiateSaslAuth implements ldap.GSSAPIClient: it chooses signatures without encryption.
func (h *handshake) NegotiateSaslAuth(token []byte, _ string) ([]byte, error) {
	offer, err := h.context.Unwrap(token)
	if err != nil {
		return nil, fmt.Errorf("offer of the domain controller: %w", err)
	}
	if len(offer) != 4 {
		return nil, io.ErrUnexpectedEOF
	}
	if offer[0]&layerIntegrity == 0 {
		return nil, errNoIntegrity
	}
	h.maxSend = int(binary.BigEndian.Uint32(offer)&0xffffff) - overhead
	if h.maxSend <= 0 {
		return nil, errNoIntegrity
	}
	return h.context.Wrap(binary.BigEndian.AppendUint32(nil, layerIntegrity<<24|maxReceive))
}

// DeleteSecContext implements ldap.GSSAPIClient. The context is needed after the handshake.
func (*handshake) DeleteSecContext() error { return nil }
