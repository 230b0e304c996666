package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
)

// tap stands between clients and the server and keeps what the clients say.
type tap struct {
	server string
	udp    *net.UDPConn
	tcp    net.Listener

	mu   sync.Mutex
	said [][]byte
}

func newTap(server string) (*tap, error) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address, err := net.ResolveUDPAddr("udp", tcp.Addr().String())
	if err != nil {
		return nil, err
	}
	udp, err := net.ListenUDP("udp", address)
	if err != nil {
		tcp.Close()
		return nil, err
	}
	t := &tap{server: server, udp: udp, tcp: tcp}
	go t.packets()
	go t.streams()
	return t, nil
}

func (t *tap) address() string { return t.tcp.Addr().String() }

func (t *tap) close() {
	t.udp.Close()
	t.tcp.Close()
}

func (t *tap) keep(message []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said = append(t.said, bytes.Clone(message))
}

// packets carries one exchange after the other: the clients that are recorded do one thing at a time.
func (t *tap) packets() {
	buffer := make([]byte, dns.MaxMsgSize)
	for {
		n, from, err := t.udp.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		t.keep(buffer[:n])
		up, err := net.DialTimeout("udp", t.server, time.Second)
		if err != nil {
			return
		}
		up.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := up.Write(buffer[:n]); err == nil {
			if n, err = up.Read(buffer); err == nil {
				t.udp.WriteToUDPAddrPort(buffer[:n], from)
			}
		}
		up.Close()
	}
}

func (t *tap) streams() {
	for {
		down, err := t.tcp.Accept()
		if err != nil {
			return
		}
		go t.stream(down)
	}
}

func (t *tap) stream(down net.Conn) {
	defer down.Close()
	up, err := net.Dial("tcp", t.server)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		io.Copy(down, up)
		down.Close()
	}()
	for {
		message, err := readFramed(down)
		if err != nil {
			return
		}
		t.keep(message)
		if _, err := up.Write(framed(message)); err != nil {
			return
		}
	}
}

// framed puts the length in front that TCP wants (RFC 1035 section 4.2.2).
func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
}

func readFramed(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, message)
	return message, err
}

// record has clients of every framing negotiate, update, ask and delete, and returns what they said. Two of the keys
// stay alive, so that what is made of their messages names keys that the server holds.
func (h *harness) record(ctx context.Context) ([][]byte, error) {
	t, err := newTap(h.server.Address.String())
	if err != nil {
		return nil, err
	}
	defer t.close()
	n := 0
	for _, config := range []client.Config{
		{Framing: client.SPNEGO, Network: "udp"},
		{Framing: client.SPNEGO, Network: "tcp", Quirks: client.Quirks{MechListMIC: true}},
		{Framing: client.RawKerberos, Network: "udp", Quirks: client.Quirks{Class: dns.ClassINET, TKEYInAnswer: true}},
		{Framing: client.SPNEGOMicrosoftFirst, Network: "tcp", Algorithm: client.AlgorithmMicrosoft},
		{Framing: client.SPNEGONoToken, Network: "tcp"},
		{Framing: client.SPNEGOOtherFirst, Network: "tcp"},
		{Framing: client.RawKerberos, Network: "tcp", KeyName: ".", Quirks: client.Quirks{OneWay: true, NoSubkey: true}},
	} {
		n++
		config.Server, config.MaxUDP = t.address(), dns.MaxMsgSize
		c, err := h.dial(ctx, config, 0)
		if err != nil {
			return nil, err
		}
		key, err := c.Negotiate(ctx)
		if err != nil {
			return nil, fmt.Errorf("recording client %d: %w", n, err)
		}
		update := updateOf(fmt.Sprintf("recorded%d.%s", n, zoneName), uint32(n))
		if _, err := c.Exchange(ctx, update); err != nil { // unsigned
			return nil, err
		}
		if _, err := key.Update(ctx, update); err != nil {
			return nil, fmt.Errorf("recording client %d: %w", n, err)
		}
		if _, err := key.Exchange(ctx, new(dns.Msg).SetQuestion(zoneName, dns.TypeSOA)); err != nil {
			return nil, err
		}
		if n > 2 {
			if err := key.Delete(ctx); err != nil {
				return nil, err
			}
		}
		c.Close()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.said, nil
}
