// Package named runs BIND's named, the reference for what goes over the wire: the test clients are proven against it,
// and the server under test is compared with it.
package named

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/debian13"
	"github.com/gsstsig/coredns-gsstsig/internal/test/loopback"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

const (
	startTimeout  = 30 * time.Second
	startAttempts = 5
	stopGrace     = 10 * time.Second

	memoryDir = "/dev/shm" // Linux
)

// Zone is a zone that named serves.
type Zone struct {
	Name      string
	Text      string           // RFC 1035; of a primary
	Policy    string           // lines of update-policy; "" refuses updates
	Primary   netip.AddrPort   // makes it a secondary of that server
	Primaries []netip.AddrPort // more servers to ask
	TLS       string           // name of the tls statement by which they are asked; "" is plain DNS
	Statement string           // more lines of the zone statement
}

// Config describes a named. Zones are needed, and for GSS-TSIG Keytab and Krb5Config.
type Config struct {
	Keytab     string
	Krb5Config string
	Zones      []Zone
	Keys       map[string]string // HMAC-SHA256 keys: name to secret in base64
	Options    string            // more lines of the options statement
	Statements string            // more statements
	Port       uint16            // default a free one; a given one must come from package loopback
	IPv6       bool              // listens on ::1 too
	Memory     bool              // keeps its files in memory where the system can: a sync costs nothing then
	Debug      int               // level of debugging in the log
	Debian13   bool              // runs the named of Debian 13, whatever the other tests run
}

// Server is a running named.
type Server struct {
	Address netip.AddrPort
	dir     string
	process *process.Process
	once    sync.Once // guards Stop
}

// Start starts named and waits until it answers for its first zone and for all that it is the primary of. It ends with the
// context, or by [Server.Stop].
func Start(ctx context.Context, config Config) (*Server, error) {
	if err := process.Require("named"); err != nil {
		return nil, err
	}
	if len(config.Zones) == 0 {
		return nil, errors.New("named: no zones")
	}
	parent := ""
	if _, err := os.Stat(memoryDir); err == nil && config.Memory {
		parent = memoryDir
	}
	dir, err := os.MkdirTemp(parent, "named-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	for attempt := 1; ; attempt++ {
		err = s.start(ctx, config)
		if err == nil {
			context.AfterFunc(ctx, s.Stop)
			return s, nil
		}
		if attempt == startAttempts || ctx.Err() != nil {
			s.Stop()
			return nil, fmt.Errorf("named: %w", err)
		}
	}
}

func (s *Server) start(ctx context.Context, config Config) error {
	port := config.Port
	if port == 0 {
		var err error
		if port, err = loopback.Port(); err != nil {
			return err
		}
	}
	s.Address = loopback.Address(port)
	if err := s.write(config); err != nil {
		return err
	}
	look := process.LookPath
	if config.Debian13 {
		look = debian13.LookPath
	}
	path, err := look("named")
	if err != nil {
		return err
	}
	cmd := exec.Command(path, "-g", "-d", strconv.Itoa(config.Debug), "-c", filepath.Join(s.dir, "named.conf"))
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "KRB5_CONFIG="+config.Krb5Config, "KRB5RCACHEDIR="+s.dir)
	s.process, err = process.Start(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for i, zone := range config.Zones {
		if i > 0 && zone.Primary.IsValid() {
			continue
		}
		if err := s.await(ctx, zone.Name); err != nil {
			return err
		}
	}
	return nil
}

// await asks for a zone until named has it. It loads them one after the other, and answers SERVFAIL meanwhile.
func (s *Server) await(ctx context.Context, zone string) error {
	query := new(dns.Msg).SetQuestion(dns.Fqdn(zone), dns.TypeSOA)
	client := &dns.Client{Net: "tcp", Timeout: time.Second}
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		reply, _, err := client.ExchangeContext(ctx, query, s.Address.String())
		if err == nil && reply.Rcode == dns.RcodeSuccess {
			return nil
		}
		select {
		case <-s.process.Done():
			return fmt.Errorf("ended: %w\n%s", s.process.Err(), s.process.Output())
		case <-ctx.Done():
			s.process.Kill()
			return fmt.Errorf("does not answer: %w\n%s", ctx.Err(), s.process.Output())
		case <-ticker.C:
		}
	}
}

func (s *Server) write(config Config) error {
	var b strings.Builder
	for name, secret := range config.Keys {
		fmt.Fprintf(&b, "key %q { algorithm hmac-sha256; secret %q; };\n", name, secret)
	}
	v6 := "none"
	if config.IPv6 {
		v6 = "::1"
	}
	fmt.Fprintf(&b, `options {
  directory %[1]q;
  pid-file %[2]q;
  session-keyfile %[3]q;
  managed-keys-directory %[1]q;
  listen-on port %[4]d { 127.0.0.1; };
  listen-on-v6 port %[4]d { %[5]s; };
  recursion no;
  dnssec-validation no;
  allow-transfer { any; };
  notify no;
  %[6]s
`, s.dir, filepath.Join(s.dir, "named.pid"), filepath.Join(s.dir, "session.key"), s.Address.Port(), v6, config.Options)
	if !config.Debian13 && !debian13.Chosen() {
		b.WriteString("  lock-file none;\n") // 9.20 has none, and no such option
	}
	if config.Keytab != "" {
		fmt.Fprintf(&b, "  tkey-gssapi-keytab %q;\n", config.Keytab)
	}
	b.WriteString("};\ncontrols { };\n" + config.Statements)
	for i, zone := range config.Zones {
		file := s.ZoneFile(i)
		if zone.Primary.IsValid() {
			fmt.Fprintf(&b, "zone %q { type secondary; masterfile-format text; file %q; primaries {",
				zone.Name, file)
			for _, primary := range append([]netip.AddrPort{zone.Primary}, zone.Primaries...) {
				fmt.Fprintf(&b, " %s port %d", primary.Addr(), primary.Port())
				if zone.TLS != "" {
					fmt.Fprintf(&b, " tls %s", zone.TLS)
				}
				b.WriteString(";")
			}
			b.WriteString(" };")
		} else {
			if err := os.WriteFile(file, []byte(zone.Text), 0o600); err != nil {
				return err
			}
			fmt.Fprintf(&b, "zone %q { type primary; file %q;", zone.Name, file)
		}
		b.WriteString(zone.Statement)
		if zone.Policy != "" {
			fmt.Fprintf(&b, " update-policy { %s };", zone.Policy)
		}
		b.WriteString(" };\n")
	}
	return os.WriteFile(filepath.Join(s.dir, "named.conf"), []byte(b.String()), 0o600)
}

// Log is what named has logged.
func (s *Server) Log() string { return s.process.Output().String() }

// ZoneFile is the file of the zone with that index in the configuration.
func (s *Server) ZoneFile(zone int) string { return filepath.Join(s.dir, fmt.Sprintf("zone%d", zone)) }

// Pause has named do nothing, until Continue.
func (s *Server) Pause() error { return s.process.Signal(syscall.SIGSTOP) }

// Continue has named go on after Pause.
func (s *Server) Continue() error { return s.process.Signal(syscall.SIGCONT) }

// Stop ends named and removes what it wrote. It may be called more than once.
func (s *Server) Stop() {
	s.once.Do(func() {
		if s.process != nil {
			s.process.Stop(stopGrace)
		}
		// Files that are left in a temporary directory do no harm.
		_ = os.RemoveAll(s.dir)
	})
}
