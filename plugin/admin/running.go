package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/control"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

// statusTimeout bounds how long check waits for the running server to describe itself.
const statusTimeout = 5 * time.Second

// control examines the path of the control socket.
func (c *checker) control(servers []corefile.Server) {
	path, by, err := corefile.ControlSocketOf(servers)
	switch {
	case err != nil:
		c.doesNotStart(by.Position, err)
		return
	case path == "":
		return
	}
	err = control.Check(path)
	switch {
	case err == nil:
	case by == nil && errors.Is(err, fs.ErrNotExist): // the database's directory is made
	case by == nil:
		f := diagnose.FromError("", err)
		f.Subject, f.Severity = "control socket", diagnose.Warning
		f.Problem += "; the server runs without a control socket"
		c.add(f)
	case errors.Is(err, fs.ErrNotExist): // systemd makes some directories when it starts a service
		f := diagnose.FromError(by.Position, err)
		f.Severity = diagnose.Warning
		f.Problem += "; the server does not start before there is that directory"
		f.Fix = "make the directory, for example by RuntimeDirectory= of the systemd unit, or name another path by the property control"
		c.add(f)
	default:
		c.doesNotStart(by.Position, err)
	}
}

// sameDatabases compares the databases of the Corefile with those that the running server has open. Answering are the blocks whose
// ports were answered by a server of their zones.
func (c *checker) sameDatabases(servers, answering []corefile.Server) {
	path, _, err := corefile.ControlSocketOf(servers)
	if err != nil || path == "" || len(answering) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, statusTimeout)
	defer cancel()
	client := control.NewClient(path)
	defer client.Close()
	running, err := control.Call[view.Status](ctx, client, "status", view.StatusRequest{})
	subject := "control socket " + path
	const fix = "start the server with the Corefile that was checked, from the same directory if its paths are relative; or check the Corefile that the server was started with"
	switch {
	case errors.Is(err, control.ErrNotRunning):
		c.add(diagnose.Finding{Severity: diagnose.Warning, Subject: subject,
			Problem: fmt.Sprintf("a server answers for %s, but not on this socket: it has another database than this Corefile, or no control socket", answering[0].Origins[0]), Fix: fix})
		return
	case err != nil:
		// It may be another user's.
		c.ok(subject, "the databases are not compared with those of the running server: %v", err)
		return
	}
	open := make(map[string]place)
	for _, z := range running.Zones {
		open[z.Zone] = place{z.Database, z.Etcd}
	}
	same := true
	for _, server := range answering {
		for _, origin := range server.Origins {
			has, served := open[origin]
			wanted := placeOf(server.Block, origin)
			if !served || has.same(wanted) {
				continue
			}
			same = false
			c.add(diagnose.Finding{Severity: diagnose.Warning, Subject: "zone " + origin,
				Problem: fmt.Sprintf("this Corefile has it %v, the running server (process %d) has it %v", wanted, running.PID, has), Fix: fix})
		}
	}
	if same {
		c.ok(subject, "process %d answers, and has the databases of this Corefile", running.PID)
	}
}

// A place is where a zone is kept: in a database, on etcd or, if it has neither, in memory.
type place struct {
	directory string // of the database
	etcd      string // the cluster's name in messages
}

// placeOf returns the place of a zone of a block.
func placeOf(block *corefile.Block, origin string) place {
	switch {
	case block.OnEtcd():
		return place{etcd: block.Etcd.String()}
	case block.Database != "":
		return place{directory: block.DatabaseOf(origin)}
	}
	return place{}
}

func (p place) String() string {
	switch {
	case p.etcd != "":
		return "on " + p.etcd
	case p.directory != "":
		return "in the database " + p.directory
	}
	return "in memory"
}

// same reports whether two places are the same.
func (p place) same(other place) bool {
	return p == other || p.directory != "" && other.directory != "" && sameDirectory(p.directory, other.directory)
}

// sameDirectory reports whether two paths lead to the same directory.
func sameDirectory(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// local reports whether a server is on this machine, as far as its address tells.
func (c *checker) local() bool {
	return c.server == "" || strings.HasPrefix(c.server, "127.") || strings.HasPrefix(c.server, "[::1]:") || strings.HasPrefix(c.server, "localhost:")
}
