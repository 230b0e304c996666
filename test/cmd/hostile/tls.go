package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// certificateName is the name in the server's certificate.
const certificateName = "ns1.example.test"

// writeCertificate writes a certificate, which is its own authority, and its key. It returns a client's configuration
// that trusts it.
func writeCertificate(certificate, key string) (*tls.Config, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: certificateName}, DNSNames: []string{certificateName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, err
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	for file, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: privateDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, err
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	authorities := x509.NewCertPool()
	authorities.AddCert(parsed)
	return &tls.Config{RootCAs: authorities, ServerName: certificateName}, nil
}

// clientHello is how a client begins a TLS handshake. A server that gets the same again works as much for it.
func clientHello() ([]byte, error) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go tls.Client(theirs, &tls.Config{ServerName: certificateName, NextProtos: []string{"dot"}}).Handshake()
	octets := make([]byte, 16384)
	n, err := ours.Read(octets)
	return octets[:n], err
}

// brokenHellos are beginnings of connections that no handshake comes of.
func brokenHellos(hello []byte) [][]byte {
	all := [][]byte{
		[]byte("GET / HTTP/1.1\r\n\r\n"), {0, 12}, {22, 3, 1, 0xff, 0xff, 1}, {22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff}, {21, 3, 1, 0, 2, 2, 40},
		{23, 3, 3, 0, 1, 1}, bytes.Repeat([]byte{22, 3, 1, 0, 0}, 100),
	}
	for i := range hello {
		for _, octet := range []byte{0, 0xff} {
			changed := bytes.Clone(hello)
			changed[i] = octet
			all = append(all, changed)
		}
		if i > 0 {
			all = append(all, hello[:i])
		}
	}
	return all
}

const (
	// tlsConnections is how many connections an attacker has open at a time.
	tlsConnections = 256
	// tlsPatience is how long it waits for the server's work on one. It wants that work and not what comes of it.
	tlsPatience = 20 * time.Millisecond
)

// hellos opens connections, sends on each the beginning of a handshake, and leaves it.
func (s *sender) hellos(ctx context.Context) {
	answer := make([]byte, 2048)
	for {
		m, err := s.message(ctx)
		if err != nil {
			return
		}
		from := net.ParseIP(s.Sources[s.next%len(s.Sources)])
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: time.Second}
		c, err := dialer.DialContext(ctx, "tcp", s.Target)
		if err != nil {
			continue
		}
		s.tally.Connections++
		// A flood of connections in the wait state would end for want of ports.
		c.(*net.TCPConn).SetLinger(0)
		if n, err := c.Write(m); err == nil {
			s.tally.Sent++
			s.tally.Octets += uint64(n)
			c.SetReadDeadline(time.Now().Add(tlsPatience))
			if n, _ := c.Read(answer); n > 0 && answer[0] == recordHandshake {
				s.tally.Answers++
				s.tally.AnswerOctets += uint64(n)
			}
		}
		c.Close()
	}
}

// recordHandshake is the type of a TLS record that the server has worked for.
const recordHandshake = 22

// tlsTargets are the addresses that a flood of handshakes comes from.
var tlsTargets = []struct {
	name    string
	sources []string
}{
	{"one address", elsewhere[:1]},
	{"1000 addresses", func() (all []string) {
		for i := range 1000 {
			all = append(all, fmt.Sprintf("127.0.%d.%d", 2+i/250, 1+i%250))
		}
		return all
	}()},
}

// soakTLS looks that nothing of the good clients fails, and measures their rate beside floods of TLS handshakes, by turns with that beside attackers that are busy
// elsewhere. A quarter of the good clients use DNS over TLS. For the flood from many addresses there is no least rate: each of them may
// have as many handshakes computed as one address, and that takes half of the processors.
func (h *harness) soakTLS(ctx context.Context, o options, say func(string, ...any)) error {
	hello, err := clientHello()
	if err != nil {
		return err
	}
	nowhere, err := newSink()
	if err != nil {
		return err
	}
	defer nowhere.close()
	elsewhere, here := map[string]string{"tls": nowhere.targets()["tcp"]}, map[string]string{"tls": h.server.Port("TLS_PORT").String()}
	beside := func(what string, targets map[string]string, sources []string, messages [][]byte) (float64, error) {
		var flood *attackers
		var before time.Duration
		w, err := h.work(ctx, task{duration: o.slice, renew: true, tls: true, begin: func() (err error) {
			flood, err = launch(targets, sources, messages, o.rate)
			before = cpuOf(h.server.PID())
			return err
		}})
		taken := cpuOf(h.server.PID()) - before
		if flood != nil {
			t, failed := flood.end()
			err = errors.Join(err, failed)
			say("%s: %.0f updates/s, %d handshakes, %d repeated, %d failed, longest %v; the server took %.2f processors; attackers: %.0f connections/s, of which "+
				"the server answered %.0f; load %s", what, w.rate(o.slice), w.Handshakes, w.Repeats, w.Failures, w.Longest.Round(time.Millisecond),
				taken.Seconds()/o.slice.Seconds(), float64(t.Connections)/o.slice.Seconds(), float64(t.Answers)/o.slice.Seconds(), load())
		}
		if w.Failures > 0 {
			err = errors.Join(err, fmt.Errorf("%s: %d operations of good clients failed: %v", what, w.Failures, w.Errors))
		}
		return w.rate(o.slice), err
	}
	floods := []struct {
		name     string
		messages [][]byte
	}{{"good beginnings", [][]byte{hello}}, {"broken ones", brokenHellos(hello)}}
	shares := make(map[string][]float64)
	var before size
	var errs []error
	for left := o.tls; left > 0 && ctx.Err() == nil; left -= 2 * o.slice * time.Duration(len(floods)*len(tlsTargets)) {
		for _, f := range floods {
			for _, from := range tlsTargets {
				what := fmt.Sprintf("TLS handshakes from %s, %s", from.name, f.name)
				alone, err := beside(what+", sent elsewhere", elsewhere, from.sources, f.messages)
				errs = append(errs, err)
				flooded, err := beside(what, here, from.sources, f.messages)
				errs = append(errs, err, h.crashed())
				shares[what] = append(shares[what], flooded/alone)
			}
		}
		if before.RSS == 0 { // it grows to what it needs the first time
			if before, err = h.settled(ctx, 15, nil); err != nil {
				return err
			}
		}
	}
	after, err := h.settled(ctx, 15, nil)
	if err != nil {
		return err
	}
	counters, err := h.counters(ctx)
	if err != nil {
		return err
	}
	say("before: %v; after: %v; counters: %s", before, after, strings.Join(counters, ", "))
	for what, all := range shares {
		slices.Sort(all)
		share := all[len(all)/2]
		say("beside %s: good clients kept %.0f %% of their rate beside attackers that are busy elsewhere (median of %d, from %.0f to %.0f %%)",
			what, 100*share, len(all), 100*all[0], 100*all[len(all)-1])
		if share < o.tlsLeast && strings.Contains(what, tlsTargets[0].name) {
			errs = append(errs, fmt.Errorf("beside %s: good clients kept %.0f %% of their rate, %.0f %% are due", what, 100*share, 100*o.tlsLeast))
		}
	}
	return errors.Join(append(errs, grown(before, after), h.crashed())...)
}
