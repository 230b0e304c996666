//go:build linux

package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gsstsig/coredns-gsstsig/internal/test/debian13"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

// setUp is what a node's first process does. Writes to /etc and /var go to memory, so that they are gone with the node
// and a database costs no disk. As the first process of its namespace it takes in orphans when they end.
const setUp = `
dir=$1
mount --make-rprivate /
mount -t tmpfs tmpfs "$dir"
for tree in $3; do
	mkdir "$dir/$tree" "$dir/$tree.work"
	mount -t overlay overlay -o "lowerdir=$4/$tree,upperdir=$dir/$tree,workdir=$dir/$tree.work" "/$tree"
done
mount -t tmpfs tmpfs /run
mount -t proc proc /proc
mkdir /run/lock
mkdir -m 1777 /run/tmp
hostname "$2"
echo up
sleep infinity &
while :; do wait; done
`

// Node is a machine of its own as far as programs can tell. Its methods are safe for concurrent use.
type Node struct {
	Name      string
	Addresses []netip.Prefix

	host   string // Name and domain
	dir    string
	system string // the root that its programs come from; "" is the machine's
	holder *process.Process
	inside *thread
}

func newNode(ctx context.Context, config Config) (*Node, error) {
	dir, err := os.MkdirTemp("", "node-"+config.Name+"-")
	if err != nil {
		return nil, err
	}
	for _, tree := range []string{"/etc", "/var", "/run"} {
		if strings.HasPrefix(dir, tree+"/") {
			return nil, fmt.Errorf("the directory for temporary files, %s, must not be below %s, which every node has its own of", dir, tree)
		}
	}
	n := &Node{Name: config.Name, Addresses: config.Addresses, host: config.Name + "." + config.Domain, dir: dir, system: config.System}
	if n.system == "" && debian13.Chosen() {
		if n.system, err = debian13.Root(); err != nil {
			return nil, err
		}
	}
	trees := "etc var"
	if config.OwnPrograms || n.system != "" {
		trees += " usr" // last: what is run afterwards comes from there
	}
	const flags = syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC
	if n.holder, n.inside, err = hold(ctx, setUp, []string{dir, n.host, trees, n.system}, flags, allNamespaces...); err != nil {
		return nil, err
	}
	if err := n.isolated(); err != nil {
		n.Close()
		return nil, err
	}
	hosts := "127.0.0.1 localhost\n::1 localhost\n"
	for _, address := range config.Addresses {
		hosts += fmt.Sprintf("%s %s %s\n", address.Addr(), n.host, n.Name)
	}
	for path, text := range map[string]string{
		"/etc/hosts":       hosts,
		"/etc/hostname":    n.host + "\n",
		"/etc/resolv.conf": fmt.Sprintf("search %s\nnameserver %s\noptions timeout:2 attempts:4\n", config.Domain, config.Resolver),
	} {
		if err := n.WriteFile(path, text, 0o644); err != nil {
			n.Close()
			return nil, err
		}
	}
	return n, nil
}

// isolated makes sure, before anything is written, that files of the node are not the machine's: a process that
// enters a mount namespace from a chroot has the machine's own root there.
func (n *Node) isolated() error {
	outside, err := os.Stat(n.Path("/etc"))
	if err != nil {
		return err
	}
	return n.inside.do(func() error {
		inside, err := os.Stat("/etc")
		if err == nil && !os.SameFile(inside, outside) {
			err = errors.New("nodes cannot be made in a chroot: their /etc would be the machine's")
		}
		return err
	})
}

// connect brings up the node's link.
func (n *Node) connect(ctx context.Context) error {
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"link", "set", "eth0", "up"}} {
		if _, err := n.Output(n.Command(ctx, "ip", args...)); err != nil {
			return err
		}
	}
	for _, address := range n.Addresses {
		if err := n.AddAddress(ctx, address); err != nil {
			return err
		}
	}
	return nil
}

// AddAddress gives the node one more address.
func (n *Node) AddAddress(ctx context.Context, address netip.Prefix) error {
	args := []string{"address", "add", address.String(), "dev", "eth0"}
	if address.Addr().Is6() {
		args = append(args, "nodad") // usable at once: no other node can have it
	}
	_, err := n.Output(n.Command(ctx, "ip", args...))
	return err
}

// RemoveAddress takes an address from the node.
func (n *Node) RemoveAddress(ctx context.Context, address netip.Prefix) error {
	_, err := n.Output(n.Command(ctx, "ip", "address", "delete", address.String(), "dev", "eth0"))
	return err
}

// Host is the node's name with its domain.
func (n *Node) Host() string { return n.host }

// searchPath leaves out what this process's user has installed for himself.
const searchPath = "/usr/sbin:/usr/bin:/sbin:/bin"

// Command is a program that [Node.Output] or [Node.Start] is to run on the node. The environment is what root would
// have after logging in there, without what this process has in its own.
func (n *Node) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	for dir := range strings.SplitSeq(searchPath, ":") {
		path := filepath.Join(dir, program)
		if _, err := exec.LookPath(filepath.Join(n.system, path)); err == nil { // otherwise running it says so
			program = path
			break
		}
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/"
	cmd.Env = n.Env()
	return cmd
}

// Env is the environment of [Node.Command].
func (n *Node) Env() []string {
	return []string{
		"PATH=" + searchPath, "HOME=/root", "LANG=C.UTF-8", "KRB5CCNAME=FILE:/run/krb5cc", "TMPDIR=/run/tmp",
	}
}

// Run runs a command on the node, with what the caller has set up of its input and output.
func (n *Node) Run(cmd *exec.Cmd) error { return run(n.inside, cmd) }

// Output runs the command on the node and returns what it wrote to both outputs. The error has that as well.
func (n *Node) Output(cmd *exec.Cmd) (string, error) {
	return output(n.inside, cmd)
}

// Start runs a command in the background on the node.
func (n *Node) Start(cmd *exec.Cmd) (p *process.Process, err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	err = n.inside.do(func() (err error) {
		p, err = process.StartGuarded(cmd)
		return err
	})
	return p, err
}

// Dial opens a connection from the node.
func (n *Node) Dial(network, address string) (conn net.Conn, err error) {
	err = n.inside.do(func() (err error) {
		conn, err = net.Dial(network, address)
		return err
	})
	return conn, err
}

// Listen opens a listening socket of the node.
func (n *Node) Listen(network, address string) (listener net.Listener, err error) {
	err = n.inside.do(func() (err error) {
		listener, err = net.Listen(network, address)
		return err
	})
	return listener, err
}

// ListenPacket opens a socket of the node that receives datagrams.
func (n *Node) ListenPacket(network, address string) (conn net.PacketConn, err error) {
	err = n.inside.do(func() (err error) {
		conn, err = net.ListenPacket(network, address)
		return err
	})
	return conn, err
}

// Path is where others find a file of the node.
func (n *Node) Path(path string) string {
	return filepath.Join(fmt.Sprintf("/proc/%d/root", n.holder.PID()), path)
}

// WriteFile writes a file on the node, in place of what may be there, which may be a link to elsewhere.
func (n *Node) WriteFile(path, text string, mode fs.FileMode) error {
	return n.inside.do(func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(text), mode)
	})
}

// ReadFile reads a file of the node.
func (n *Node) ReadFile(path string) (text string, err error) {
	err = n.inside.do(func() error {
		b, err := os.ReadFile(path)
		text = string(b)
		return err
	})
	return text, err
}

// Remove removes files of the node.
func (n *Node) Remove(patterns ...string) error {
	return n.inside.do(func() error {
		for _, pattern := range patterns {
			paths, err := filepath.Glob(pattern)
			if err != nil {
				return err
			}
			for _, path := range paths {
				if err := os.RemoveAll(path); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Close ends the node and all that runs on it. It may be called more than once.
func (n *Node) Close() {
	n.holder.Kill()
	if n.inside != nil {
		n.inside.end()
	}
	_ = os.RemoveAll(n.dir) // empty: what was in it was in memory
}

// output runs a command in the thread's namespaces.
func output(inside *thread, cmd *exec.Cmd) (string, error) {
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	err := run(inside, cmd)
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, text.String())
	}
	return text.String(), err
}

func run(inside *thread, cmd *exec.Cmd) error {
	if err := inside.do(cmd.Start); err != nil {
		return err
	}
	return cmd.Wait()
}
