package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

const origin = "example.test."

var errNoSpace = syscall.ENOSPC

// model is what a store should hold, by text.
type model struct {
	serial  uint32
	records map[string][2]uint32 // to TTL and time
	owners  map[string]string
	log     []store.Change
}

func newModel() *model {
	return &model{records: make(map[string][2]uint32), owners: make(map[string]string)}
}

func attributes(r store.Record) [2]uint32 { return [2]uint32{r.TTL, r.Hours} }

func recordText(r store.Record) string {
	return fmt.Sprintf("%s %d %d %x", r.Name, r.Type, r.Class, r.Data)
}

func (m *model) apply(changes []store.Change) {
	for _, c := range changes {
		for _, r := range c.Removed {
			delete(m.records, recordText(r))
		}
		for _, r := range c.Added {
			m.records[recordText(r)] = attributes(r)
		}
		for _, r := range c.Refreshed {
			m.records[recordText(r)] = attributes(r)
		}
		for _, o := range c.Owners {
			m.owners[o.Name] = fmt.Sprint(o.Principal, o.Deleted.Unix())
		}
		for _, name := range c.Disowned {
			delete(m.owners, name)
		}
		if c.From != c.To {
			m.log = append(m.log, c)
		}
		m.serial = c.To
	}
}

func (m *model) clone() *model {
	c := &model{serial: m.serial, records: make(map[string][2]uint32), owners: make(map[string]string), log: slices.Clone(m.log)}
	for k, v := range m.records {
		c.records[k] = v
	}
	for k, v := range m.owners {
		c.owners[k] = v
	}
	return c
}

// Record and Owner make a model a store.Visitor.
func (m *model) Record(r store.Record) error {
	if _, ok := m.records[recordText(r)]; ok {
		return fmt.Errorf("record twice: %s", recordText(r))
	}
	m.records[recordText(r)] = attributes(r)
	return nil
}

func (m *model) Owner(o store.Owner) error {
	m.owners[o.Name] = fmt.Sprint(o.Principal, o.Deleted.Unix())
	return nil
}

type loader interface {
	Load(context.Context, store.Visitor) (uint32, bool, error)
}

// difference compares what a store holds with m.
func (m *model) difference(s loader) error {
	got := newModel()
	serial, found, err := s.Load(context.Background(), got)
	switch {
	case err != nil:
		return err
	case !found:
		return errors.New("nothing found")
	case serial != m.serial:
		return fmt.Errorf("serial %d, want %d", serial, m.serial)
	}
	for k, want := range m.records {
		if have, ok := got.records[k]; !ok || have != want {
			return fmt.Errorf("record %.80s missing or with TTL and time %d, want %d", k, have, want)
		}
	}
	for k := range got.records {
		if _, ok := m.records[k]; !ok {
			return fmt.Errorf("record %.80s too many", k)
		}
	}
	for name, o := range m.owners {
		if got.owners[name] != o {
			return fmt.Errorf("owner %s of %s, want %s", got.owners[name], name, o)
		}
	}
	if len(got.owners) != len(m.owners) {
		return fmt.Errorf("%d owners, want %d", len(got.owners), len(m.owners))
	}
	return nil
}

// differenceOfChanges compares the log that a store has with m's.
func (m *model) differenceOfChanges(s store.Store) error {
	if len(m.log) == 0 {
		return nil
	}
	i := 0
	for c, err := range s.Changes(context.Background(), m.log[0].From, m.serial) {
		if err != nil {
			return err
		}
		if i == len(m.log) {
			return errors.New("more changes than there were")
		}
		if !sameChange(c, m.log[i]) {
			return fmt.Errorf("change %d: got %+v, want %+v", i, c, m.log[i])
		}
		i++
	}
	if i < len(m.log) {
		return fmt.Errorf("%d changes of %d", i, len(m.log))
	}
	return nil
}

func sameChange(a, b store.Change) bool {
	same := func(a, b store.Record) bool {
		return a.Name == b.Name && a.Type == b.Type && a.Class == b.Class && a.TTL == b.TTL && bytes.Equal(a.Data, b.Data)
	}
	return a.From == b.From && a.To == b.To && a.Author == b.Author && a.Rule == b.Rule &&
		slices.EqualFunc(a.Removed, b.Removed, same) && slices.EqualFunc(a.Added, b.Added, same)
}

// wire returns the wire form of a name.
func wire(text string) string {
	name, err := dnswire.ParseName(text, nil)
	if err != nil {
		panic(err)
	}
	return string(name)
}

func soa(serial uint32) store.Record {
	data := []byte{0, 0, byte(serial >> 24), byte(serial >> 16), byte(serial >> 8), byte(serial)}
	return store.Record{Name: wire(origin), Type: 6, Class: 1, TTL: 3600, Data: append(data, make([]byte, 16)...)}
}

// script makes up commits.
type script struct {
	*rand.Rand
	names int
	// size is about how many octets a commit has.
	size int
}

func newScript(seed uint64, size int) *script {
	return &script{Rand: rand.New(rand.NewPCG(seed, 1)), names: 40, size: size}
}

func (s *script) record() store.Record {
	return store.Record{
		Name: wire(fmt.Sprintf("h%d.%s", s.IntN(s.names), origin)), Type: 16, Class: 1, TTL: s.Uint32N(3),
		Hours: s.Uint32N(3) * 500_000,
		Data:  bytes.Repeat([]byte{byte(s.IntN(4))}, 1+s.IntN(max(1, s.size/3))),
	}
}

// commit returns the next one or more changes at a serial.
func (s *script) commit(serial uint32) []store.Change {
	var list []store.Change
	for range 1 + s.IntN(3) {
		if s.IntN(8) == 0 {
			o := store.Owner{Name: s.record().Name, Principal: fmt.Sprint("p", s.IntN(5))}
			list = append(list, store.Change{From: serial, To: serial, Owners: []store.Owner{o}, Refreshed: []store.Record{s.record()}})
			continue
		}
		next := serial + 1
		c := store.Change{From: serial, To: next, Author: fmt.Sprint("a", s.IntN(5)), Rule: "rule"[:s.IntN(5)], Removed: []store.Record{soa(serial)}, Added: []store.Record{soa(next)}}
		for range s.IntN(3) {
			c.Removed = append(c.Removed, s.record())
		}
		for range 1 + s.IntN(2) {
			c.Added = append(c.Added, s.record())
		}
		if s.IntN(4) == 0 {
			c.Disowned = []string{s.record().Name}
		}
		list = append(list, c)
		serial = next
	}
	return list
}

// fillStore inits s with some records, and returns the model of it.
func fillStore(t *testing.T, s store.Store, records int) *model {
	t.Helper()
	m := newModel()
	list := []store.Record{soa(1)}
	for i := range records {
		list = append(list, store.Record{Name: wire(fmt.Sprintf("h%d.%s", i, origin)), Type: 1, Class: 1, TTL: 60, Data: []byte{192, 0, 2, byte(i)}})
	}
	if err := s.Init(context.Background(), store.Contents{Serial: 1, Records: slices.Values(list)}); err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		m.records[recordText(r)] = attributes(r)
	}
	m.serial = 1
	return m
}
