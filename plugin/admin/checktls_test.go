package admin

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
)

// TestListeningTLS: check tells a server that asks clients for certificates from none, and a certificate that was renewed from
// one that the server uses.
func TestListeningTLS(t *testing.T) {
	dir := t.TempDir()
	load := func(name string) *tls.Config {
		writeCertificate(t, dir, name, time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	used, renewed := load("used"), load("renewed")
	asks := used.Clone()
	asks.ClientAuth = tls.RequireAnyClientCert
	offers := used.Clone()
	offers.ClientAuth = tls.RequestClientCert
	for name, test := range map[string]struct {
		server, file *tls.Config
		answers      bool
		says         []string
	}{
		"usual":                                    {used, used, true, []string{"ok: answers for example.test."}},
		"certificate unknown":                      {used, nil, true, []string{"ok: answers for example.test."}},
		"certificate of a plugin":                  {used, new(tls.Config), true, []string{"ok: answers for example.test."}},
		"renewed":                                  {used, renewed, true, []string{"warning: the server uses another certificate", "ok: answers for example.test."}},
		"demands a certificate":                    {asks, used, false, []string{"ok: answers, and asks for a certificate of the client"}},
		"demands a certificate, and was renewed":   {asks, renewed, false, []string{"warning: the server uses another certificate", "ok: answers, and asks"}},
		"asks for a certificate, and goes without": {offers, used, true, []string{"ok: answers for example.test."}},
	} {
		listener, err := tls.Listen("tcp", "127.0.0.1:0", test.server)
		if err != nil {
			t.Fatal(err)
		}
		server := &dns.Server{Listener: listener, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
			reply := new(dns.Msg)
			reply.SetReply(r)
			reply.Authoritative = true
			reply.Answer = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: ".", Mbox: "."}}
			if err := w.WriteMsg(reply); err != nil {
				t.Error(err)
			}
		})}
		ended := make(chan error, 1)
		go func() { ended <- server.ActivateAndServe() }()
		_, port, err := net.SplitHostPort(listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c := &checker{ctx: t.Context(), port: "1"}
		answers := c.listening(corefile.Server{Block: &corefile.Block{Origins: []string{"example.test."}},
			Keys: []string{"tls://example.test:" + port}, Bind: []string{"127.0.0.1"}, TLS: test.file})
		listener.Close()
		<-ended
		if answers != test.answers || len(c.findings) != len(test.says) {
			t.Errorf("%s: answers %v, %+v", name, answers, c.findings)
			continue
		}
		for i, f := range c.findings {
			if !strings.HasPrefix(string(f.Severity)+": "+f.Problem, test.says[i]) || f.Severity != diagnose.OK && !strings.Contains(f.Fix, "SIGUSR1") {
				t.Errorf("%s: %+v, want %s", name, f, test.says[i])
			}
		}
	}
}
