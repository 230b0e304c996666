package gsstsig

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/coredns/caddy"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/contextfile"
	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
)

// Contexts of a block whose zones have databases outlive a clean restart. When the servers have stopped, they are
// written to a file in the directory of the block's first zone, which no other process can have open. The next start takes
// them from there. A process that ends otherwise leaves no file, so that no older state comes back, in which a message
// that was accepted since could be replayed.

// contextsFile returns the path of the file for a block in the directory of a zone's database. Of the blocks that share the
// zone, all but the first have their number in it.
func contextsFile(c *caddy.Controller, database string) string {
	name := "contexts"
	if n := ordinal(c, "contexts", database); n > 1 {
		name += "." + strconv.Itoa(n)
	}
	return filepath.Join(database, name)
}

// contextsPlace is what a file's records are sealed for: the database that it is in, and its name there. Another server with the
// same keytab does not accept them, as long as it does not have a copy of the database itself.
func contextsPlace(file string) (string, error) {
	id, err := disk.ID(filepath.Dir(file))
	return id + "/" + filepath.Base(file), err
}

// restoreContexts takes the contexts over that the last process left, once for each table of contexts.
func (b *block) restoreContexts() {
	if !b.process.beginRestore(b) {
		return
	}
	for _, file := range b.contextsFiles {
		records, err := contextfile.Take(file)
		if err != nil {
			logFinding(diagnose.Finding{Severity: diagnose.Warning, Subject: "contexts",
				Problem: fmt.Sprintf("those from before the restart cannot all be read: %v. Clients make new ones", err)})
		}
		if len(records) == 0 {
			continue
		}
		place, err := contextsPlace(file)
		if err != nil {
			logFinding(diagnose.Finding{Severity: diagnose.Warning, Subject: "contexts", Problem: fmt.Sprintf("those from before the restart are not kept: %v. Clients make new ones", err)})
			continue
		}
		failures := make(map[string]int)
		for _, record := range records {
			if err := b.server.Import(place, record); err != nil {
				failures[importFailure(err)]++
			}
		}
		kept := len(records)
		var words []string
		for failure, n := range failures {
			kept -= n
			words = append(words, fmt.Sprintf("%d %s", n, failure))
		}
		slices.Sort(words)
		f := diagnose.Finding{Severity: diagnose.OK, Subject: "contexts", Problem: fmt.Sprintf("%d kept over the restart", kept)}
		if len(words) > 0 {
			f.Problem += ", " + strings.Join(words, ", ")
		}
		logFinding(f)
	}
}

// importFailure says why a context is not kept.
func importFailure(err error) string {
	switch {
	case errors.Is(err, krb5.ErrExpired):
		return "expired"
	case errors.Is(err, krb5.ErrNoKey):
		return "of keys that are not in the keytab any more"
	case errors.Is(err, krb5.ErrNotAccepted):
		return "of clients that are not accepted any more"
	default:
		return "that were damaged or of another database"
	}
}

// saveContexts leaves the contexts to the next process. The servers of the block do not serve any more.
func (b *block) saveContexts() {
	if len(b.contextsFiles) == 0 {
		return
	}
	file := b.contextsFiles[0]
	place, err := contextsPlace(file)
	if err != nil {
		logFinding(diagnose.Finding{Severity: diagnose.Warning, Subject: "contexts", Problem: fmt.Sprintf("they cannot be kept over the restart: %v. Clients make new ones", err)})
		return
	}
	records, dropped := b.contexts.Export(place)
	if err := contextfile.Write(file, records); err != nil {
		logFinding(diagnose.Finding{Severity: diagnose.Warning, Subject: "contexts",
			Problem: fmt.Sprintf("%d cannot be kept over the restart: %v. Clients make new ones", len(records), err)})
		return
	}
	if len(records) > 0 {
		log.Infof("contexts: %d written to %s for the next start", len(records), file)
	}
	if dropped > 0 {
		log.Infof("contexts: %d of RC4 are not kept over the restart", dropped)
	}
}

// beginRestore reports whether the block's contexts are those of a new table, and false from then on.
func (p *process) beginRestore(b *block) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.contexts {
		if s.users[b] && !s.value.restored {
			s.value.restored = true
			return true
		}
	}
	return false
}
