package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/loopback"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

const (
	startTimeout  = time.Minute // a machine under load, a binary with the race detector
	startAttempts = 5           // another process may take the port first
	stopGrace     = 15 * time.Second
)

// Config describes a server.
type Config struct {
	Binary   string            // as built by [Build]
	Corefile string            // its text
	Files    map[string]string // written beside the Corefile; the server runs in that directory
	Ports    []string          // names of environment variables that get a free port each
	Env      []string          // more environment variables
	Probe    string            // a zone whose SOA record is asked for until it is answered; "" waits for any answer
	Place    *Place            // nil is this machine
}

// Place is where a server runs that is not to use this machine's network.
type Place struct {
	Address netip.AddrPort // that it listens on
	Start   func(*exec.Cmd) (*process.Process, error)
	Dial    func(network, address string) (net.Conn, error)
}

// Server is a running CoreDNS.
type Server struct {
	Address netip.AddrPort // UDP and TCP
	Started time.Duration  // from start to first answer

	config  Config
	dir     string
	ports   map[string]uint16
	process *process.Process
	once    sync.Once // guards Stop
}

// ErrEnded means that the server ended instead of serving. The error's text has what it said.
var ErrEnded = errors.New("coredns ended")

// Start starts the server and waits until it answers over UDP and TCP. It ends with the context, or by [Server.Stop].
func Start(ctx context.Context, config Config) (*Server, error) {
	dir, err := os.MkdirTemp("", "coredns-")
	if err != nil {
		return nil, err
	}
	s := &Server{config: config, dir: dir, ports: make(map[string]uint16)}
	for attempt := 1; ; attempt++ {
		err = s.start(ctx)
		if err == nil {
			context.AfterFunc(ctx, s.remove)
			return s, nil
		}
		retry := errors.Is(err, ErrEnded) && strings.Contains(err.Error(), "address already in use")
		if !retry || attempt == startAttempts || ctx.Err() != nil {
			s.remove()
			return nil, err
		}
	}
}

func (s *Server) start(ctx context.Context) error {
	if place := s.config.Place; place != nil {
		s.Address = place.Address
	} else {
		port, err := loopback.Port()
		if err != nil {
			return err
		}
		s.Address = loopback.Address(port)
	}
	for _, name := range s.config.Ports {
		p, err := loopback.Port()
		if err != nil {
			return err
		}
		s.ports[name] = p
	}
	for name, text := range s.config.Files {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := s.writeCorefile(s.config.Corefile); err != nil {
		return err
	}
	return s.launch(ctx)
}

// launch starts the program and waits until it answers.
func (s *Server) launch(ctx context.Context) error {
	cmd := exec.Command(s.config.Binary, "-conf", s.corefile(), "-dns.port", fmt.Sprint(s.Address.Port()))
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), s.config.Env...)
	for name, port := range s.ports {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", name, port))
	}
	start := process.Start
	if s.config.Place != nil {
		start = s.config.Place.Start
	}
	began := time.Now()
	var err error
	if s.process, err = start(cmd); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, network := range []string{"udp", "tcp"} {
		if err := s.await(ctx, network); err != nil {
			s.process.Kill()
			return err
		}
	}
	s.Started = time.Since(began)
	return nil
}

// await asks until there is an answer.
func (s *Server) await(ctx context.Context, network string) error {
	query := new(dns.Msg).SetQuestion(dns.Fqdn(s.config.Probe), dns.TypeSOA)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		reply, err := s.ask(network, query)
		if err == nil && (s.config.Probe == "" || reply.Rcode == dns.RcodeSuccess) {
			return nil
		}
		select {
		case <-s.process.Done():
			return fmt.Errorf("%w: %v\n%s", ErrEnded, s.process.Err(), s.process.Output())
		case <-ctx.Done():
			return fmt.Errorf("coredns does not answer over %s: %w (%v)\n%s", network, ctx.Err(), err, s.process.Output())
		case <-ticker.C:
		}
	}
}

// ask sends a query as it would be sent from where the server runs.
func (s *Server) ask(network string, query *dns.Msg) (*dns.Msg, error) {
	const timeout = 500 * time.Millisecond
	dial := func(network, address string) (net.Conn, error) { return net.DialTimeout(network, address, timeout) }
	if s.config.Place != nil {
		dial = s.config.Place.Dial
	}
	conn, err := dial(network, s.Address.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := &dns.Client{Net: network, Timeout: timeout}
	reply, _, err := client.ExchangeWithConn(query, &dns.Conn{Conn: conn})
	return reply, err
}

func (s *Server) corefile() string { return filepath.Join(s.dir, "Corefile") }

// writeCorefile writes it in one step: the reload plugin may be reading.
func (s *Server) writeCorefile(text string) error {
	fresh := s.corefile() + ".new"
	if err := os.WriteFile(fresh, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, s.corefile())
}

// Port is the one that a name in [Config].Ports got.
func (s *Server) Port(name string) netip.AddrPort { return loopback.Address(s.ports[name]) }

// Dir is the directory that the server runs in.
func (s *Server) Dir() string { return s.dir }

// PID is the server's process.
func (s *Server) PID() int { return s.process.PID() }

// Log is what the server has said.
func (s *Server) Log() *process.Output { return s.process.Output() }

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.process.Done() }

// ErrReload means that the server refused a Corefile and went on with the one it had.
var ErrReload = errors.New("reload failed")

// Reload writes a new Corefile, tells the server to load it (SIGUSR1), and waits until it has. A Corefile that the
// server refuses is ErrReload, with what the server said.
func (s *Server) Reload(ctx context.Context, corefile string) error {
	if err := s.writeCorefile(corefile); err != nil {
		return err
	}
	from := s.Log().Len()
	if err := s.process.Signal(syscall.SIGUSR1); err != nil {
		return err
	}
	const done, refused = "[INFO] Reloading complete", "[ERROR] SIGUSR1:"
	var said string
	err := s.Log().Wait(ctx, from, func(text string) bool {
		said = text
		return strings.Contains(text, done) || strings.Contains(text, refused)
	})
	if err != nil {
		return err
	}
	if strings.Contains(said, refused) {
		return fmt.Errorf("%w: %s", ErrReload, said)
	}
	return nil
}

// Restart ends the server by a signal and starts it again on the same address. [Server.Log] begins again.
func (s *Server) Restart(ctx context.Context, end syscall.Signal) error {
	if err := s.process.Signal(end); err != nil {
		return err
	}
	select {
	case <-s.process.Done():
	case <-ctx.Done():
		return fmt.Errorf("the server does not end: %w; it said:\n%s", ctx.Err(), s.Log())
	}
	if _, race, found := strings.Cut(s.Log().String(), raceReport); found {
		return fmt.Errorf("data race in the server:%s", race)
	}
	return s.launch(ctx)
}

// Relaunch starts the server again after Kill, on the same address. [Server.Log] begins again.
func (s *Server) Relaunch(ctx context.Context) error { return s.launch(ctx) }

// Signal sends a signal to the server.
func (s *Server) Signal(signal syscall.Signal) error { return s.process.Signal(signal) }

// raceReport begins what the race detector says.
const raceReport = "WARNING: DATA RACE"

// Stop ends the server as an administrator does, and reports what the race detector found meanwhile. It may be called
// more than once.
func (s *Server) Stop() error {
	s.process.Stop(stopGrace)
	said := s.Log().String()
	s.remove()
	if _, race, found := strings.Cut(said, raceReport); found {
		return fmt.Errorf("data race in the server:%s", race)
	}
	return nil
}

// Kill ends the server as a power failure would.
func (s *Server) Kill() { s.process.Kill() }

// remove ends the server if it still runs, and removes its directory.
func (s *Server) remove() {
	s.once.Do(func() {
		if s.process != nil {
			s.process.Stop(stopGrace)
		}
		// Files that are left in a temporary directory do no harm.
		_ = os.RemoveAll(s.dir)
	})
}
