package link

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// echo runs a server that sends back what it gets, and tells of it on got.
func echo(t *testing.T) (address netip.AddrPort, got <-chan string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	seen := make(chan string, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buffer := make([]byte, 100)
				for {
					n, err := conn.Read(buffer)
					if err != nil {
						return
					}
					seen <- string(buffer[:n])
					if _, err := conn.Write(buffer[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return netip.MustParseAddrPort(listener.Addr().String()), seen
}

func TestLink(t *testing.T) {
	server, got := echo(t)
	l, err := Start(server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", l.Address.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	send := func(conn net.Conn, text string) {
		t.Helper()
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(conn net.Conn, want string, within time.Duration) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 100)
		switch n, err := conn.Read(buffer); {
		case want == "" && errors.Is(err, os.ErrDeadlineExceeded):
		case err != nil || string(buffer[:n]) != want:
			t.Fatalf("read %q, %v; want %q", buffer[:n], err, want)
		}
	}
	const soon, long = 50 * time.Millisecond, time.Minute

	conn := dial()
	send(conn, "a")
	read(conn, "a", long)
	<-got

	l.Cut(FromServer)
	send(conn, "b")
	if text := <-got; text != "b" {
		t.Errorf("the server got %q", text)
	}
	read(conn, "", soon)
	l.Cut(0)
	read(conn, "b", long)

	l.Cut(ToServer)
	send(conn, "c")
	read(conn, "", soon)
	select {
	case text := <-got:
		t.Errorf("the server got %q", text)
	default:
	}
	other := dial() // its end is here, and the server is not
	send(other, "d")
	read(other, "", soon)
	l.Cut(0)
	read(conn, "c", long)
	read(other, "d", long)

	l.Delay(30 * time.Millisecond)
	began := time.Now()
	send(conn, "e")
	read(conn, "e", long)
	if took := time.Since(began); took < 60*time.Millisecond {
		t.Errorf("there and back with a delay of 30 ms took %v", took)
	}

	l.Break()
	if err := conn.SetReadDeadline(time.Now().Add(long)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection outlives Break: %v", err)
	}
	conn = dial()
	send(conn, "f")
	read(conn, "f", long)
	l.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection outlives the link: %v", err)
	}
	if _, err := net.Dial("tcp", l.Address.String()); err == nil {
		t.Error("a closed link takes connections")
	}
}
