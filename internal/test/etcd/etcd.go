package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/gsstsig/coredns-gsstsig/internal/test/loopback"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

const (
	startTimeout  = time.Minute // a machine under load
	startAttempts = 5           // another process may take a port first

	memoryDir = "/dev/shm" // Linux
)

// Config describes a cluster. Its zero value is one member without TLS.
type Config struct {
	Members int      // 0 is one
	TLS     bool     // between clients and members, both with certificates, and between members
	Quota   int64    // octets that a member's database may have; 0 is etcd's default
	Disk    bool     // keeps the data on a disk, for measurements; otherwise it is in memory where the system can
	Flags   []string // more flags of each member
}

// Cluster is a running cluster. Its methods are safe for concurrent use, but not those that concern the same member.
type Cluster struct {
	config  Config
	binary  string
	dir     string
	peers   []netip.AddrPort
	clients []netip.AddrPort
	once    sync.Once // guards Stop

	mu      sync.Mutex
	members []*process.Process // guarded by mu
}

// Start starts a cluster and waits until every member answers. It ends with the context, or by [Cluster.Stop].
func Start(ctx context.Context, config Config) (*Cluster, error) {
	config.Members = max(config.Members, 1)
	binary, err := Build(ctx)
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	for attempt := 1; ; attempt++ {
		c, err := start(ctx, config, binary)
		if err == nil {
			context.AfterFunc(ctx, c.Stop)
			return c, nil
		}
		if attempt == startAttempts || ctx.Err() != nil {
			return nil, fmt.Errorf("etcd: %w", err)
		}
	}
}

func start(ctx context.Context, config Config, binary string) (c *Cluster, err error) {
	parent := ""
	if _, err := os.Stat(memoryDir); err == nil && !config.Disk {
		parent = memoryDir
	}
	c = &Cluster{config: config, binary: binary, members: make([]*process.Process, config.Members)}
	if c.dir, err = os.MkdirTemp(parent, "etcd-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	if config.TLS {
		if err := writeCertificates(c.dir); err != nil {
			return nil, err
		}
	}
	for range 2 * config.Members {
		port, err := loopback.Port()
		if err != nil {
			return nil, err
		}
		c.clients = append(c.clients, loopback.Address(port))
	}
	c.peers, c.clients = c.clients[config.Members:], c.clients[:config.Members]
	for i := range config.Members {
		if err := c.run(i); err != nil {
			return nil, err
		}
	}
	for i := range config.Members {
		if err := c.Wait(ctx, i); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// run starts a member, with the data that it has.
func (c *Cluster) run(i int) error {
	var members []string
	for j := range c.peers {
		members = append(members, MemberName(j)+"="+c.url(c.peers[j]))
	}
	args := []string{
		"--name", MemberName(i), "--data-dir", filepath.Join(c.dir, MemberName(i)),
		"--listen-client-urls", c.url(c.clients[i]), "--advertise-client-urls", c.url(c.clients[i]),
		"--listen-peer-urls", c.url(c.peers[i]), "--initial-advertise-peer-urls", c.url(c.peers[i]),
		"--initial-cluster", strings.Join(members, ","), "--initial-cluster-token", filepath.Base(c.dir),
		"--log-level", "warn",
	}
	if c.config.TLS {
		pem := func(name string) string { return filepath.Join(c.dir, name) }
		for _, prefix := range []string{"", "peer-"} {
			args = append(args, "--"+prefix+"cert-file", pem(serverCert+".pem"), "--"+prefix+"key-file", pem(serverCert+".key"),
				"--"+prefix+"trusted-ca-file", pem(authority+".pem"), "--"+prefix+"client-cert-auth")
		}
	}
	if c.config.Quota > 0 {
		args = append(args, "--quota-backend-bytes", fmt.Sprint(c.config.Quota))
	}
	cmd := exec.Command(c.binary, append(args, c.config.Flags...)...)
	cmd.Dir = c.dir
	// Variables that begin with ETCD_ are flags to etcd.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "ETCD_") })
	p, err := process.Start(cmd)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members[i] = p
	return nil
}

func (c *Cluster) url(address netip.AddrPort) string {
	if c.config.TLS {
		return "https://" + address.String()
	}
	return "http://" + address.String()
}

func (c *Cluster) member(i int) *process.Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[i]
}

// Wait returns when the member answers, and has a leader.
func (c *Cluster) Wait(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	member := c.member(i)
	for {
		err := c.ask(ctx, i)
		if err == nil {
			return nil
		}
		select {
		case <-member.Done():
			return fmt.Errorf("member %d ended: %w; it said:\n%s", i, member.Err(), member.Output())
		case <-ctx.Done():
			return fmt.Errorf("member %d does not answer: %w; it said:\n%s", i, err, member.Output())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ask asks a member something that it answers only together with a majority.
func (c *Cluster) ask(ctx context.Context, i int) error {
	// Where nobody listens yet, etcd's client would wait before it tries again.
	conn, err := net.Dial("tcp", c.clients[i].String())
	if err != nil {
		return err
	}
	_ = conn.Close()
	client, err := c.Client(i)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err = client.Get(ctx, "ready")
	if errors.Is(err, rpctypes.ErrPermissionDenied) || errors.Is(err, rpctypes.ErrUserEmpty) {
		return nil // a test has enabled authentication
	}
	return err
}

// Endpoints are the URLs of all members.
func (c *Cluster) Endpoints() []string {
	var all []string
	for i := range c.clients {
		all = append(all, c.Endpoint(i))
	}
	return all
}

// Endpoint is the URL of a member.
func (c *Cluster) Endpoint(i int) string { return c.url(c.clients[i]) }

// Address is where a member serves clients.
func (c *Cluster) Address(i int) netip.AddrPort { return c.clients[i] }

// TLSFiles are those of a client that members accept. Without TLS they do not exist.
func (c *Cluster) TLSFiles() TLSFiles { return c.files(clientCert) }

// OtherTLSFiles are those of a client that members do not accept.
func (c *Cluster) OtherTLSFiles() TLSFiles { return c.files(otherCert) }

func (c *Cluster) files(name string) TLSFiles {
	return TLSFiles{
		Cert: filepath.Join(c.dir, name+".pem"), Key: filepath.Join(c.dir, name+".key"), CA: filepath.Join(c.dir, authority+".pem"),
	}
}

// Client makes etcd's own client of the given members, or of all. The caller closes it.
func (c *Cluster) Client(members ...int) (*clientv3.Client, error) {
	config := clientv3.Config{Endpoints: c.Endpoints(), DialTimeout: startTimeout, Logger: zap.NewNop()}
	if len(members) > 0 {
		config.Endpoints = nil
		for _, i := range members {
			config.Endpoints = append(config.Endpoints, c.Endpoint(i))
		}
	}
	if c.config.TLS {
		var err error
		if config.TLS, err = c.TLSFiles().Load(); err != nil {
			return nil, err
		}
	}
	return clientv3.New(config)
}

// PID is the process of a member.
func (c *Cluster) PID(i int) int { return c.member(i).PID() }

// Kill ends a member at once, as kill -9 does, and returns when it is gone.
func (c *Cluster) Kill(i int) { c.member(i).Kill() }

// Pause stops a member: its connections stay open and it says nothing.
func (c *Cluster) Pause(i int) error { return c.member(i).Signal(syscall.SIGSTOP) }

// Resume lets a member that was paused go on.
func (c *Cluster) Resume(i int) error { return c.member(i).Signal(syscall.SIGCONT) }

// Restart kills a member, unless it has ended already, starts it again with its data, and waits until it answers.
func (c *Cluster) Restart(ctx context.Context, i int) error {
	c.Kill(i)
	if err := c.run(i); err != nil {
		return err
	}
	return c.Wait(ctx, i)
}

// Output is what a member has written since it was last started.
func (c *Cluster) Output(i int) string { return c.member(i).Output().String() }

// Leader is the member that leads the cluster.
func (c *Cluster) Leader(ctx context.Context) (int, error) {
	client, err := c.Client()
	if err != nil {
		return 0, err
	}
	defer client.Close()
	for i := range c.clients {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		status, err := client.Status(attempt, c.Endpoint(i))
		cancel()
		if err == nil && status.Header.MemberId == status.Leader {
			return i, nil
		}
	}
	return 0, errors.New("etcd: no member says that it leads")
}

// MoveLeader makes a member the leader.
func (c *Cluster) MoveLeader(ctx context.Context, to int) error {
	leader, err := c.Leader(ctx)
	if err != nil || leader == to {
		return err
	}
	client, err := c.Client(leader)
	if err != nil {
		return err
	}
	defer client.Close()
	status, err := client.Status(ctx, c.Endpoint(to))
	if err != nil {
		return err
	}
	_, err = client.MoveLeader(ctx, status.Header.MemberId)
	return err
}

// Stop kills all members and removes their data. It may be called more than once.
func (c *Cluster) Stop() {
	c.once.Do(func() {
		c.mu.Lock()
		members := slices.Clone(c.members)
		c.mu.Unlock()
		for _, p := range members {
			if p != nil {
				p.Kill()
			}
		}
		_ = os.RemoveAll(c.dir) // of no use to anybody
	})
}

// MemberName is the name of a member in the cluster, as etcd and the status of servers tell it.
func MemberName(i int) string { return fmt.Sprintf("m%d", i) }
