package admin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/administration"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// edit has the administrator edit a zone as a text, and applies what was changed as one transaction.
func edit(flags *flag.FlagSet) runner {
	server := addControlFlags(flags)
	output := addOutputFlag(flags)
	return func(s Streams, words []string) (int, error) {
		origin, err := onlyZone(words)
		if err != nil {
			return 0, err
		}
		t, err := server.open(s)
		if err != nil {
			return 0, err
		}
		defer t.close()
		e := zoneEdit{Streams: s, target: t, origin: origin}
		edited, err := e.run()
		if err != nil {
			return 0, err
		}
		if output.json {
			err = printJSON(s.Out, edited)
		} else if edited.Changed {
			err = printApplied(s.Out, edited.Applied)
		}
		if len(edited.Conflicts) > 0 {
			printConflicts(s.Err, edited.Conflicts)
			return 0, errors.Join(err, diagnose.WithFix(fmt.Errorf("zone %s: nothing was changed, since %s changed since the zone was read; the edited text is kept in %s",
				e.origin, agree(len(edited.Conflicts), "RRset or owner was", "RRsets or owners were"), e.file), "run edit again, and make the changes in the zone as it is now"))
		}
		return ExitOK, err
	}
}

// zoneEdit is one run of edit.
type zoneEdit struct {
	Streams
	*target
	origin string
	file   string
	shown  []byte // what the file had before it was edited
}

// run edits the zone. The text is kept if it was edited and not applied.
func (e *zoneEdit) run() (*view.Edited, error) {
	before, err := e.read()
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := writeMaster(&text, before, nil); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "edit-*.zone") // mode 0600
	if err != nil {
		return nil, err
	}
	e.file = f.Name()
	e.shown = text.Bytes()
	_, err = f.Write(e.shown)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(e.file))
	}
	for {
		if err := e.editor(); err != nil {
			return nil, e.kept(err)
		}
		changed, err := os.ReadFile(e.file)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(changed, e.shown) {
			fmt.Fprintf(e.Err, "zone %s: nothing was edited\n", e.origin)
			return e.unchanged(before), os.Remove(e.file)
		}
		difference, err := e.difference(before, changed)
		if err != nil {
			if e.again(err) {
				continue
			}
			return nil, e.kept(err)
		}
		if len(difference.Sets)+len(difference.Owners) == 0 {
			fmt.Fprintf(e.Err, "zone %s: the text has changed, its meaning has not\n", e.origin)
			return e.unchanged(before), os.Remove(e.file)
		}
		edited, err := e.apply(difference)
		if err != nil {
			if e.again(err) {
				continue
			}
			return nil, e.kept(err)
		}
		if len(edited.Conflicts) == 0 {
			err = os.Remove(e.file)
		} else {
			edited.File = e.file
		}
		return edited, err
	}
}

// unchanged is the outcome of an edit that changes nothing.
func (e *zoneEdit) unchanged(before *zone.Snapshot) *view.Edited {
	return &view.Edited{Applied: view.Applied{Zone: e.origin, From: before.Serial(), To: before.Serial(), Removed: []view.NamedRecord{}, Added: []view.NamedRecord{}}}
}

// kept says where the text is that was not applied. One that was not edited is removed.
func (e *zoneEdit) kept(err error) error {
	if now, failure := os.ReadFile(e.file); failure == nil && bytes.Equal(now, e.shown) {
		return errors.Join(fmt.Errorf("zone %s: nothing was changed: %w", e.origin, err), os.Remove(e.file))
	}
	return fmt.Errorf("zone %s: nothing was changed, and the text is kept in %s: %w", e.origin, e.file, err)
}

// read returns the zone from the server, or from its database.
func (e *zoneEdit) read() (*zone.Snapshot, error) {
	var records []store.Record
	var owners []store.Owner
	err := e.names(view.NamesRequest{Zone: e.origin}, func(n view.Name) error {
		name, err := dnswire.ParseName(n.Name, nil)
		if err != nil {
			return err
		}
		for _, r := range n.Records {
			rrtype, data, err := administration.ParseData(r.Type, r.Data)
			if err != nil {
				return err
			}
			record := store.Record{Name: string(name), Type: rrtype, Class: dns.ClassINET, TTL: r.TTL, Data: data}
			if r.Refreshed != nil {
				record.Hours = uint32(r.Refreshed.Unix() / int64(time.Hour/time.Second))
			}
			records = append(records, record)
		}
		if n.Owner != "" {
			o := store.Owner{Name: string(name), Principal: n.Owner}
			if n.Deleted != nil {
				o.Deleted = *n.Deleted
			}
			owners = append(owners, o)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return snapshotOf(e.origin, records, owners)
}

// snapshotOf makes a zone of records and owners, and says what no zone can have.
func snapshotOf(origin string, records []store.Record, owners []store.Owner) (*zone.Snapshot, error) {
	memory := store.NewMemory(store.MemoryOptions{})
	at := slices.IndexFunc(records, func(r store.Record) bool { return r.Type == dns.TypeSOA })
	if at < 0 {
		return nil, fmt.Errorf("zone %s: no SOA record", origin)
	}
	contents := store.Contents{Serial: administration.Serial(records[at].Data), Records: slices.Values(records), Owners: slices.Values(owners)}
	if err := memory.Init(context.Background(), contents); err != nil {
		return nil, err
	}
	return zone.Read(origin, memory)
}

// editor runs the administrator's editor.
func (e *zoneEdit) editor() error {
	command := "vi"
	for _, name := range []string{"VISUAL", "EDITOR"} {
		if word := os.Getenv(name); word != "" {
			command = word
			break
		}
	}
	// As git does: the variable may have arguments.
	cmd := exec.Command("sh", "-c", command+` "$1"`, "sh", e.file)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.In, e.Out, e.Err
	if err := cmd.Run(); err != nil {
		return diagnose.WithFix(fmt.Errorf("editor %q: %w", command, err), "name another editor by the environment variable EDITOR")
	}
	return nil
}

// again asks on a terminal whether to edit the text again.
func (e *zoneEdit) again(err error) bool {
	in, ok := e.In.(*os.File)
	if !ok || !isTerminal(in) || !isTerminal(e.Err) {
		return false
	}
	fmt.Fprintf(e.Err, "%v\nEdit again? [Y/n] ", err)
	answer, _ := bufio.NewReader(in).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "" || strings.HasPrefix(answer, "y")
}

// difference compares the zone as it was read with the edited text.
func (e *zoneEdit) difference(before *zone.Snapshot, text []byte) (*view.Edit, error) {
	if !bytes.HasPrefix(text, []byte(dumpBegins)) {
		return nil, diagnose.WithFix(fmt.Errorf("%s: the first line is gone, which begins with %q", e.file, dumpBegins), "put it back")
	}
	records, owners, err := readMaster(bytes.NewReader(text), e.origin, e.file, func(f diagnose.Finding) { fmt.Fprintf(e.Err, "warning: %s\n", f) })
	if err != nil {
		return nil, err
	}
	after, err := snapshotOf(e.origin, records, owners)
	if err != nil {
		return nil, err
	}
	edit := &view.Edit{Zone: e.origin, Sets: differentSets(before, after), Owners: []view.OwnerChange{}}
	was, is := ownersOf(before), ownersOf(after)
	for name := range was {
		if _, ok := is[name]; !ok {
			is[name] = ""
		}
	}
	for name, owner := range is {
		// A name that has records again keeps the owner that the text still has.
		revived := was[name] != "" && !before.Exists(name) && after.Exists(name)
		if owner == was[name] && !revived {
			continue
		}
		if owner != "" && was[name] == "" && !after.Exists(name) {
			return nil, fmt.Errorf("%s: %s is to belong to %s, but has no records", e.file, name, owner)
		}
		edit.Owners = append(edit.Owners, view.OwnerChange{Name: name, Before: was[name], After: owner})
	}
	slices.SortFunc(edit.Owners, func(a, b view.OwnerChange) int { return strings.Compare(a.Name, b.Name) })
	return edit, nil
}

func ownersOf(s *zone.Snapshot) map[string]string {
	owners := make(map[string]string)
	for o := range s.Owners() {
		owners[dnswire.NameText([]byte(o.Name))] = o.Principal
	}
	return owners
}

// rrset is an RRset in the order of a zone.
type rrset struct {
	name   string // as it is spelled
	rrtype uint16
	ttl    uint32
	data   [][]byte
}

type rrsetKey struct {
	name   string
	rrtype uint16
}

func setsOf(s *zone.Snapshot) (map[rrsetKey]*rrset, []rrsetKey) {
	sets := make(map[rrsetKey]*rrset)
	var order []rrsetKey
	for r := range s.WireRecords() {
		spelled := dnswire.NameText([]byte(r.Name))
		key := rrsetKey{strings.ToLower(spelled), r.Type}
		set := sets[key]
		if set == nil {
			set = &rrset{name: spelled, rrtype: r.Type, ttl: r.TTL}
			sets[key] = set
			order = append(order, key)
		}
		set.data = append(set.data, r.Data)
	}
	return sets, order
}

// differentSets returns the RRsets in which two states of a zone differ. Another serial alone is none: every update has one.
func differentSets(before, after *zone.Snapshot) []view.SetChange {
	was, orderBefore := setsOf(before)
	is, orderAfter := setsOf(after)
	changes := []view.SetChange{}
	for _, key := range orderBefore {
		if a, b := was[key], is[key]; !a.equal(b) {
			change := view.SetChange{Name: a.name, Type: dnswire.TypeText(key.rrtype), Before: a.view()}
			if b != nil {
				change.Name, change.After = b.name, b.view()
			}
			changes = append(changes, change)
		}
	}
	for _, key := range orderAfter {
		if was[key] == nil {
			b := is[key]
			changes = append(changes, view.SetChange{Name: b.name, Type: dnswire.TypeText(key.rrtype), After: b.view()})
		}
	}
	return changes
}

func (r *rrset) equal(other *rrset) bool {
	return other != nil && r.ttl == other.ttl && slices.EqualFunc(r.data, other.data, func(a, b []byte) bool {
		return administration.SameData(r.rrtype, a, b) && (r.rrtype != dns.TypeSOA || int32(administration.Serial(b)-administration.Serial(a)) <= 0)
	})
}

func (r *rrset) view() *view.Set {
	set := &view.Set{TTL: r.ttl}
	for _, data := range r.data {
		set.Data = append(set.Data, dnswire.TextOrGeneric(r.rrtype, data))
	}
	return set
}

// apply applies the difference, at the server or in the database.
func (e *zoneEdit) apply(difference *view.Edit) (*view.Edited, error) {
	edited, err := call[view.Edited](e.target, "edit", difference)
	if e.isStopped(err) {
		err = e.change(e.origin, err, func(z administration.Zone) (err error) {
			edited, _, err = z.Edit(e.ctx, difference)
			return err
		})
	}
	return &edited, err
}

// printConflicts shows what was read and what is there now.
func printConflicts(w io.Writer, conflicts []view.Conflict) {
	for _, c := range conflicts {
		if c.Type == "" {
			fmt.Fprintf(w, "%s: the owner is %s now, and was to be %s\n", c.Name, printable(orNobody(c.Owner)), printable(orNobody(c.Wanted)))
			continue
		}
		fmt.Fprintf(w, "%s %s:\n", c.Name, c.Type)
		for _, side := range []struct {
			head string
			set  *view.Set
		}{{"as read", c.Read}, {"now", c.Found}, {"edited", c.Edited}} {
			if side.set == nil {
				fmt.Fprintf(w, "  %-8s (none)\n", side.head)
				continue
			}
			for _, data := range side.set.Data {
				fmt.Fprintf(w, "  %-8s %d %s\n", side.head, side.set.TTL, data)
			}
		}
	}
}

func orNobody(owner string) string {
	if owner == "" {
		return "nobody"
	}
	return owner
}
