package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// secureFront serves the handler by DNS over TLS alone. states has what each
// connection was agreed on.
func secureFront(t *testing.T, handle func([]byte, bool) [][]byte) (address string, authority *x509.CertPool, states <-chan tls.ConnectionState) {
	t.Helper()
	web := httptest.NewTLSServer(nil) // for its certificate
	web.Close()
	authority = x509.NewCertPool()
	authority.AddCert(web.Certificate())
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: web.TLS.Certificates, NextProtos: []string{"dot"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	seen := make(chan tls.ConnectionState, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if secure := conn.(*tls.Conn); secure.Handshake() == nil {
					seen <- secure.ConnectionState()
					serveTCP(conn, handle)
				}
			}()
		}
	}()
	return listener.Addr().String(), authority, seen
}

// TestOverTLS has negotiation, updates and plain queries go by DNS over TLS,
// with the protocol dot, to a server whose certificate is checked.
func TestOverTLS(t *testing.T) {
	kdc := newTestKDC(t)
	s, _ := newScriptedServer(t)
	s.acceptor = kdc.acceptor(t)
	var queries atomic.Int32
	address, authority, states := secureFront(t, func(wire []byte, udp bool) [][]byte {
		if m := new(dns.Msg); m.Unpack(wire) == nil && m.IsTsig() == nil && m.Question[0].Qtype == dns.TypeSOA {
			queries.Add(1)
			reply, _ := new(dns.Msg).SetReply(m).Pack()
			return [][]byte{reply}
		}
		return s.handle(wire, udp)
	})
	config := Config{Server: address, Credentials: FromTicket(kdc.ticket(t, time.Hour)), ServicePrincipal: testService, Framing: RawKerberos}
	dial := func(secure *tls.Config) *Client {
		config.TLS = secure
		c, err := Dial(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	c := dial(&tls.Config{RootCAs: authority})
	s.script(func(r *signedRequest) [][]byte {
		wire, _ := r.signWith(t, new(dns.Msg).SetReply(r.Msg), dns.TSIG{}, r.mac, false, micProvider{key: r.key})
		return [][]byte{wire}
	})
	if _, err := negotiate(t, c).Exchange(t.Context(), question()); err != nil {
		t.Error(err)
	}
	if _, err := c.Exchange(t.Context(), new(dns.Msg).SetQuestion("example.test.", dns.TypeSOA)); err != nil || queries.Load() != 1 {
		t.Errorf("the unsigned query: %v, %d came by TLS", err, queries.Load())
	}
	for range 3 {
		if state := <-states; state.NegotiatedProtocol != "dot" {
			t.Errorf("agreed on %q", state.NegotiatedProtocol)
		}
	}

	var unknown x509.UnknownAuthorityError
	if _, err := dial(new(tls.Config)).Negotiate(t.Context()); !errors.As(err, &unknown) {
		t.Errorf("a certificate of nobody that the client knows: %v", err)
	}
	var name x509.HostnameError
	if _, err := dial(&tls.Config{RootCAs: authority, ServerName: "ns1.example.test"}).Negotiate(t.Context()); !errors.As(err, &name) {
		t.Errorf("a certificate of another name: %v", err)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	config.Server = net.JoinHostPort("localhost", port)
	if _, err := dial(&tls.Config{RootCAs: authority}).Negotiate(t.Context()); !errors.As(err, &name) || name.Host != "localhost" {
		t.Errorf("the name is not that of Server: %v", err)
	}
}
