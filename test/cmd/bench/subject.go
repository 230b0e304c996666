package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/loopback"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

const (
	startTimeout = 3 * time.Minute // a million records, the first time
	stopTimeout  = time.Minute
)

// subject is one server under test. It can be started again over the data that it left.
type subject struct {
	name    string
	dir     string
	zones   []zoneSpec
	command func(s *subject) (*exec.Cmd, error) // writes the configuration, too

	address netip.AddrPort
	pprof   netip.AddrPort // invalid if there is none
	process *process.Process
}

// start starts the server and waits until it serves the last of its zones. It returns how long that took.
func (s *subject) start(ctx context.Context) (time.Duration, error) {
	cmd, err := s.prepare()
	if err != nil {
		return 0, err
	}
	// To a file, as a log goes in production: a pipe would make this process part of what is measured.
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	began := time.Now()
	if s.process, err = process.Start(cmd); err != nil {
		return 0, err
	}
	if err := s.await(ctx); err != nil {
		s.process.Kill()
		return 0, fmt.Errorf("%s: %w\n%s", s.name, err, s.lastWords())
	}
	return time.Since(began), nil
}

// prepare writes the configuration, and returns the command that starts the server.
func (s *subject) prepare() (*exec.Cmd, error) {
	if !s.address.IsValid() {
		port, err := loopback.Port()
		if err != nil {
			return nil, err
		}
		s.address = loopback.Address(port)
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	return s.command(s)
}

func (s *subject) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client := &dns.Client{Timeout: 100 * time.Millisecond}
	query := new(dns.Msg).SetQuestion(s.zones[len(s.zones)-1].origin, dns.TypeSOA)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		reply, _, err := client.ExchangeContext(ctx, query, s.address.String())
		if err == nil && reply.Rcode == dns.RcodeSuccess {
			return nil
		}
		select {
		case <-s.process.Done():
			return fmt.Errorf("ended: %w", s.process.Err())
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-ticker.C:
		}
	}
}

// stop ends the server as an administrator does.
func (s *subject) stop() {
	if s.process != nil {
		s.process.Stop(stopTimeout)
		s.process = nil
	}
}

func (s *subject) log() string { return filepath.Join(s.dir, "log") }

// lastWords is the end of what the server has logged.
func (s *subject) lastWords() string {
	text, err := os.ReadFile(s.log())
	if err != nil {
		return ""
	}
	return string(text[max(0, len(text)-2000):])
}

// clockTick is the unit of CPU time in /proc: 1/100 s on every Linux.
const clockTick = 10 * time.Millisecond

// cpu is the CPU time that the server has used.
func (s *subject) cpu() time.Duration { return processCPU(s.process.PID()) }

func processCPU(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The second field is the program's name in parentheses; utime and stime are the 14th and 15th.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	var ticks time.Duration
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0
		}
		ticks += time.Duration(n)
	}
	return ticks * clockTick
}

// memory is the server's resident memory now and at its peak, in octets.
func (s *subject) memory() (now, peak float64, err error) {
	status := fmt.Sprintf("/proc/%d/status", s.process.PID())
	for name, value := range map[string]*float64{"VmRSS": &now, "VmHWM": &peak} {
		kilobytes, err := strconv.ParseFloat(strings.TrimSuffix(fieldOf(status, name), " kB"), 64)
		if err != nil {
			return 0, 0, fmt.Errorf("%s: memory: %w", s.name, err)
		}
		*value = kilobytes * 1024
	}
	return now, peak, nil
}

// zoneSpec is a zone of so many hosts.
type zoneSpec struct {
	origin string
	hosts  int
	file   string // its master file
}

func (z zoneSpec) host(i int) string { return fmt.Sprintf("host%07d.%s", i, z.origin) }

func (z zoneSpec) address(i int) net.IP { return net.IP{192, byte(i >> 16), byte(i >> 8), byte(i)} }

// newCoreDNS is this project's server. Lines are of its block.
func newCoreDNS(dir, binary, keytab string, memory, profiled bool, lines []string, zones ...zoneSpec) *subject {
	return &subject{name: "gsstsig", dir: dir, zones: zones, command: func(s *subject) (*exec.Cmd, error) {
		var b strings.Builder
		for _, z := range zones {
			fmt.Fprintf(&b, "%s ", z.origin)
		}
		fmt.Fprintf(&b, "{\n  bind 127.0.0.1\n  errors\n  gsstsig {\n    keytab %s\n    grant %s@%s zonesub ANY\n", keytab, updater, realmName)
		for _, z := range zones {
			fmt.Fprintf(&b, "    file %s %s\n", z.file, z.origin)
		}
		if !memory {
			fmt.Fprintf(&b, "    database %s\n", filepath.Join(dir, "database"))
		}
		for _, line := range lines {
			fmt.Fprintf(&b, "    %s\n", line)
		}
		b.WriteString("  }\n")
		if profiled {
			line, err := s.profiling()
			if err != nil {
				return nil, err
			}
			b.WriteString(line)
		}
		b.WriteString("}\n")
		return coreDNS(s, binary, b.String())
	}}
}

// profiling is the line of a Corefile that has a server of this project serve profiles.
func (s *subject) profiling() (string, error) {
	if !s.pprof.IsValid() {
		port, err := loopback.Port()
		if err != nil {
			return "", err
		}
		s.pprof = loopback.Address(port)
	}
	return fmt.Sprintf("  pprof %s\n", s.pprof), nil
}

// recommendedCorefile is the Corefile that comes with the package.
const recommendedCorefile = "coredns-build/Corefile"

// newRecommended is this project's server with recommendedCorefile, as it stands but for zones, files and ports.
func newRecommended(dir, binary, keytab string, zone zoneSpec) *subject {
	return &subject{name: "package", dir: dir, zones: []zoneSpec{zone}, command: func(s *subject) (*exec.Cmd, error) {
		octets, err := os.ReadFile(recommendedCorefile)
		if err != nil {
			return nil, err
		}
		corefile := string(octets)
		for _, change := range [][2]string{
			{"corp.example.com 2.0.192.in-addr.arpa {", zone.origin + " {"},
			{"keytab /etc/coredns/dns.keytab", "keytab " + keytab},
			{"database /var/lib/coredns", fmt.Sprintf("database %s\n        file %s %s", filepath.Join(dir, "database"), zone.file, zone.origin)},
			{"    prometheus\n", "    prometheus 127.0.0.1:0\n"},
			{"    ready {", "    ready 127.0.0.1:0 {"},
			{"    health\n", "    health 127.0.0.1:0\n"},
		} {
			if !strings.Contains(corefile, change[0]) {
				return nil, fmt.Errorf("%s has no %q", recommendedCorefile, change[0])
			}
			corefile = strings.ReplaceAll(corefile, change[0], change[1])
		}
		return coreDNS(s, binary, corefile)
	}}
}

// newFile is CoreDNS with its file plugin, which serves a zone without updates.
func newFile(dir, binary string, zone zoneSpec) *subject {
	return &subject{name: "file", dir: dir, zones: []zoneSpec{zone}, command: func(s *subject) (*exec.Cmd, error) {
		return coreDNS(s, binary, fmt.Sprintf("%s {\n  bind 127.0.0.1\n  errors\n  file %s\n}\n", zone.origin, zone.file))
	}}
}

func coreDNS(s *subject, binary, corefile string) (*exec.Cmd, error) {
	path := filepath.Join(s.dir, "Corefile")
	if err := os.WriteFile(path, []byte(corefile), 0o600); err != nil {
		return nil, err
	}
	return exec.Command(binary, "-conf", path, "-dns.port", fmt.Sprint(s.address.Port())), nil
}

// newBIND is BIND with its defaults. It writes to the zone files, so it gets copies of its own.
func newBIND(dir, keytab, krb5conf string, zones ...zoneSpec) *subject {
	return &subject{name: "BIND", dir: dir, zones: zones, command: func(s *subject) (*exec.Cmd, error) {
		path, err := process.LookPath("named")
		if err != nil {
			return nil, err
		}
		var b strings.Builder
		fmt.Fprintf(&b, `options {
  directory %[1]q; managed-keys-directory %[1]q;
  pid-file none; session-keyfile none; lock-file none;
  listen-on port %[2]d { 127.0.0.1; }; listen-on-v6 { none; };
  recursion no; dnssec-validation no; notify no;
  tkey-gssapi-keytab %[3]q;
};
controls { };
logging {
  channel file { file "named.log"; severity info; print-time yes; };
  category default { file; };
};
`, s.dir, s.address.Port(), keytab)
		for _, z := range zones {
			file := filepath.Join(s.dir, filepath.Base(z.file))
			if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
				if err := os.Link(z.file, file); err != nil {
					return nil, err
				}
			}
			fmt.Fprintf(&b, "zone %q { type primary; file %q; update-policy { grant \"%s\\@%s\" zonesub ANY; }; };\n",
				z.origin, file, updater, realmName)
		}
		config := filepath.Join(s.dir, "named.conf")
		if err := os.WriteFile(config, []byte(b.String()), 0o600); err != nil {
			return nil, err
		}
		cmd := exec.Command(path, "-f", "-c", config)
		cmd.Env = append(os.Environ(), "KRB5_CONFIG="+krb5conf, "KRB5RCACHEDIR="+s.dir)
		return cmd, nil
	}}
}

// newKnot is Knot DNS with its defaults. It knows no GSS-TSIG, so it is there for queries.
func newKnot(dir string, zone zoneSpec) *subject {
	return &subject{name: "Knot", dir: dir, zones: []zoneSpec{zone}, command: func(s *subject) (*exec.Cmd, error) {
		path, err := process.LookPath("knotd")
		if err != nil {
			return nil, err
		}
		config := filepath.Join(s.dir, "knot.conf")
		return exec.Command(path, "-c", config), os.WriteFile(config, fmt.Appendf(nil, `server:
  rundir: %[1]q
  listen: 127.0.0.1@%[2]d
log:
  - target: stderr
    any: warning
database:
  storage: %[1]q
zone:
  - domain: %[3]s
    file: %[4]q
    zonefile-sync: -1
    journal-content: none
`, s.dir, s.address.Port(), zone.origin, zone.file), 0o600)
	}}
}
