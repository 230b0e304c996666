package gsstsig

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/coredns/caddy"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/control"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
)

// controlSocket is the process's socket for the administrator. It stays across reloads that do not move it.
type controlSocket struct {
	// instance is the configuration in force, nil before the first one. It is read by operations while mu is held, since a socket
	// that moves waits for them.
	instance atomic.Pointer[caddy.Context]

	mu     sync.Mutex // guards what follows
	path   string
	server *control.Server // nil: none
}

// newBlock makes a block of a configuration.
func (p *process) newBlock(instance caddy.Context) *block {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.numbered++
	return &block{process: p, instance: instance, number: p.numbered}
}

// blocksOf lists the blocks of a configuration in the order of its Corefile.
func (p *process) blocksOf(instance caddy.Context) []*block {
	blocks := slices.DeleteFunc(p.blocks(), func(b *block) bool {
		return b.instance != instance || b.service.Load() == nil || b.handler.Load() == nil
	})
	slices.SortFunc(blocks, func(a, b *block) int { return a.number - b.number })
	return slices.Compact(blocks)
}

// serveControl makes a configuration the one that the socket shows, and opens the socket where that has it. Each block of a
// configuration calls it at start-up, when all of them are there. A socket that no property asks for may fail: the server goes
// on without.
func (p *process) serveControl(instance caddy.Context) error {
	var blocks []*corefile.Block
	for _, b := range p.blocksOf(instance) {
		blocks = append(blocks, b.service.Load().Block)
	}
	path, by, err := corefile.ControlSocket(blocks)
	if err != nil {
		return fmt.Errorf("%s: %w", by.Position, err)
	}
	c := &p.control
	c.mu.Lock()
	defer c.mu.Unlock()
	former := c.instance.Swap(&instance)
	if former != nil && *former == instance || c.server != nil && c.path == path {
		return nil
	}
	if err := c.close(); err != nil {
		log.Warningf("control socket: %v", err)
	}
	if path == "" {
		if by == nil && slices.ContainsFunc(blocks, (*corefile.Block).OnEtcd) {
			logFinding(diagnose.Finding{Severity: diagnose.Warning, Subject: "control socket",
				Problem: "there is none, since the default is in the directory of a database: commands cannot ask this server, and those on zones use etcd themselves",
				Fix:     "add \"control PATH\" to a gsstsig block, such as control /run/coredns/gsstsig.sock, or \"control off\""})
		}
		return nil
	}
	l, err := control.Listen(path)
	if err != nil && by != nil {
		return fmt.Errorf("%s: %w", by.Position, err)
	}
	if err != nil {
		f := diagnose.FromError("", err)
		f.Severity, f.Problem = diagnose.Warning, f.Problem+"; the server runs without a control socket"
		logFinding(f)
		return nil
	}
	c.path, c.server = path, control.Serve(l, p.operations())
	log.Infof("control socket %s", path)
	if above := disk.Replaceable(path); above != "" {
		logFinding(diagnose.Finding{Severity: diagnose.Warning, Subject: "control socket " + path,
			Problem: "others can write to " + above + ", and answer the administrator's commands by a socket of their own", Fix: "chmod go-w " + above + ", or name another path by the property control"})
	}
	return nil
}

// closeUnusedControl closes the socket if no block is in use any more.
func (p *process) closeUnusedControl() error {
	if len(p.blocks()) > 0 {
		return nil
	}
	p.control.mu.Lock()
	defer p.control.mu.Unlock()
	p.control.instance.Store(nil)
	return p.control.close()
}

// close closes the socket. The caller holds mu.
func (c *controlSocket) close() error {
	if c.server == nil {
		return nil
	}
	err := c.server.Close()
	c.server, c.path = nil, ""
	return err
}

// inForce lists the blocks of the configuration in force.
func (p *process) inForce() []*block {
	instance := p.control.instance.Load()
	if instance == nil {
		return nil
	}
	return p.blocksOf(*instance)
}

var errNoZone = errors.New("no gsstsig block has it")
