package gsstsig

import (
	"fmt"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/internal/tsig"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// entry is a context without a mechanism, for tests of the table alone. Each
// has a principal of its own.
func entry(name string, expires time.Time) *securityContext { return entryOf(name, name, expires) }

func entryOf(principal, name string, expires time.Time) *securityContext {
	wire, ok := tsig.NameFromText(name)
	if !ok {
		panic(name)
	}
	identity := Identity{Principal: krb5.Principal{Components: []string{principal}, Realm: testRealm}, KeyName: name}
	return &securityContext{name: wire, identity: identity, expires: expires, until: expires.Sub(started)}
}

func (t *Table) has(name string) bool {
	wire, _ := tsig.NameFromText(name)
	return t.taken(wire)
}

func TestTableEvictsTheIdleOnes(t *testing.T) {
	c := &clock{at: time.Now()}
	table := NewTable(TableConfig{MaxContexts: 3, Now: c.now})
	later := c.now().Add(time.Hour)
	for _, name := range []string{"a.", "b.", "c."} {
		if !table.insert(entry(name, later)) {
			t.Fatal(name)
		}
	}
	// Use is what counts, not age; looking whether a name is taken is no use.
	if table.lookup([]byte("\x01a\x00")) == nil || !table.has("b.") {
		t.Fatal("not there")
	}
	table.insert(entry("d.", later))
	table.insert(entry("e.", later))
	for name, want := range map[string]bool{"a.": true, "b.": false, "c.": false, "d.": true, "e.": true} {
		if got := table.has(name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if live, halfOpen := table.Len(); live != 3 || halfOpen != 0 {
		t.Errorf("%d, %d", live, halfOpen)
	}
}

func TestTableBound(t *testing.T) {
	for _, limit := range []int{1, 7, 1000, 1024, 2000} {
		c := &clock{at: time.Now()}
		table := NewTable(TableConfig{MaxContexts: limit, Now: c.now})
		sum := 0
		for i := range table.shards {
			sum += table.shards[i].max
		}
		if sum != limit {
			t.Errorf("limit %d: parts sum up to %d", limit, sum)
		}
		for i := range 3 * limit {
			if !table.insert(entry(fmt.Sprintf("%d.", i), c.now().Add(time.Hour))) {
				t.Fatal(i)
			}
			if !table.has(fmt.Sprintf("%d.", i)) {
				t.Fatalf("limit %d: the newest is not there", limit)
			}
		}
		if live, _ := table.Len(); live > limit || live < limit*9/10 {
			t.Errorf("limit %d: %d", limit, live)
		}
	}
}

func TestTableExpiry(t *testing.T) {
	c := &clock{at: time.Now()}
	table := NewTable(TableConfig{Now: c.now})
	table.insert(entry("a.", c.now().Add(time.Minute)))
	table.insert(entry("b.", c.now().Add(time.Hour)))
	if table.insert(entry("a.", c.now().Add(time.Hour))) {
		t.Error("a live name was given away")
	}
	c.advance(time.Minute)
	if table.has("a.") || table.lookup([]byte("\x01a\x00")) != nil {
		t.Error("expired and there")
	}
	if !table.insert(entry("a.", c.now().Add(time.Second))) {
		t.Error("an expired name is not free")
	}
	c.advance(time.Minute)
	if live, _ := table.Len(); live != 1 {
		t.Errorf("%d live", live)
	}
	// Insertions evict expired contexts that no lookup has met.
	one := NewTable(TableConfig{MaxContexts: 500, Now: c.now})
	for i := range 100 {
		one.insert(entry(fmt.Sprintf("%d.", i), c.now().Add(time.Second)))
	}
	c.advance(time.Second)
	for i := range 50 {
		one.insert(entry(fmt.Sprintf("new%d.", i), c.now().Add(time.Hour)))
	}
	if n := len(one.shards[0].contexts); n != 50 {
		t.Errorf("%d contexts are held", n)
	}
}

// A wall clock that is set ends contexts early, if at all, but never late.
func TestContextWhenTheClockIsSet(t *testing.T) {
	r := newRealm(t, nil)
	made := r.clock.now()
	name := r.login("k.example.test.", login{}).name
	wire, _ := tsig.NameFromText(name)
	c := r.table.lookup([]byte(wire))
	elapsed := made.Sub(started)
	for _, test := range []struct {
		name          string
		wall, elapsed time.Duration // since the context was made
		over          bool
	}{
		{"just made", 0, 0, false},
		{"in its last second", time.Hour - time.Second, time.Hour - time.Second, false},
		{"at its end", time.Hour, time.Hour, true},
		{"set ahead beyond its end", 2 * time.Hour, time.Minute, true},
		{"set ahead a little", 30 * time.Minute, time.Minute, false},
		{"set back", -time.Hour, time.Minute, false},
		{"set back, when its time is up", -time.Hour, time.Hour, true},
		{"set back by years, when its time is up", -3 * 365 * 24 * time.Hour, time.Hour + time.Second, true},
	} {
		if got := c.over(made.Add(test.wall), elapsed+test.elapsed); got != test.over {
			t.Errorf("%s: over: %t", test.name, got)
		}
	}
}

func TestTableDelete(t *testing.T) {
	c := &clock{at: time.Now()}
	table := NewTable(TableConfig{Now: c.now})
	old := entry("a.", c.now().Add(time.Second))
	table.insert(old)
	c.advance(time.Second)
	table.insert(entry("a.", c.now().Add(time.Hour)))
	if table.delete(old) || !table.has("a.") {
		t.Error("the successor was deleted")
	}
	wire, _ := tsig.NameFromText("a.")
	if current := table.lookup([]byte(wire)); !table.delete(current) || table.delete(current) {
		t.Error("a deletion must succeed once")
	}
}

func TestTableHalfOpen(t *testing.T) {
	c := &clock{at: time.Now()}
	table := NewTable(TableConfig{MaxHalfOpen: 3, HalfOpenLifetime: 10 * time.Second, Now: c.now})
	count := func(want int) {
		t.Helper()
		if _, n := table.Len(); n != want {
			t.Errorf("%d unfinished, want %d", n, want)
		}
	}
	for i := range 5 {
		table.keepHalfOpen(&halfOpen{name: fmt.Sprint(i)})
		c.advance(time.Second)
	}
	count(3)
	if table.hasHalfOpen("1") || !table.hasHalfOpen("2") {
		t.Error("not the oldest has given way")
	}
	// Another round does not make it younger.
	h := table.takeHalfOpen("2")
	if h == nil || table.takeHalfOpen("2") != nil {
		t.Fatal("taken twice, or not at all")
	}
	count(2)
	table.keepHalfOpen(h)
	table.keepHalfOpen(&halfOpen{name: "5"})
	if table.hasHalfOpen("2") || !table.hasHalfOpen("3") {
		t.Error("not the oldest has given way")
	}
	// One of the same name replaces it.
	table.keepHalfOpen(&halfOpen{name: "4"})
	count(3)
	c.advance(8 * time.Second) // 3 began 10 seconds ago
	if table.takeHalfOpen("3") != nil {
		t.Error("expired and there")
	}
	count(2)
	c.advance(2 * time.Second)
	count(0)
	if table.byDeadline.first != nil || table.byDeadline.last != nil || table.byDeadline.size != 0 {
		t.Error("the list is not empty")
	}
}

// Unauthenticated clients evict each other's negotiations only (BIND
// CVE-2026-3039).
func TestHalfOpenFloodLeavesContexts(t *testing.T) {
	r := newRealm(t, func(c *TableConfig, _ *Config) { c.MaxContexts, c.MaxHalfOpen = 2, 4 })
	p := r.login("k.example.test.", login{})
	token := r.newPeer("x.", login{noOptimistic: true}).first()
	for i := range 50 {
		r.negotiate(tkeyMessage(fmt.Sprintf("%d.", i), AlgorithmGSS, modeGSS, token), testClient, nil)
	}
	if live, halfOpen := r.table.Len(); live != 1 || halfOpen != 4 {
		t.Errorf("%d, %d", live, halfOpen)
	}
	wire, _ := p.sign(updateMessage())
	if _, err := NewAuthenticator(nil, r.server).Authenticate(wire); err != nil {
		t.Error(err)
	}
}

func TestClear(t *testing.T) {
	r := newRealm(t, nil)
	r.login("gone.example.test.", login{})
	half := r.newPeer("half.example.test.", login{noOptimistic: true})
	r.negotiate(tkeyMessage(half.name, half.algorithm, modeGSS, half.first()), testClient, nil)
	if live, halfOpen := r.table.Len(); live != 1 || halfOpen != 1 {
		t.Fatalf("%d live, %d unfinished", live, halfOpen)
	}
	r.table.Clear()
	if live, halfOpen := r.table.Len(); live != 0 || halfOpen != 0 {
		t.Errorf("%d live, %d unfinished", live, halfOpen)
	}
	if len(r.table.quota.of) != 0 || len(r.table.halfOpenOf) != 0 {
		t.Error("the accounts are not empty")
	}
}

func TestTableConcurrently(t *testing.T) {
	table := NewTable(TableConfig{MaxContexts: 1024, MaxHalfOpen: 8})
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 2000 {
				name := fmt.Sprintf("%d.", (i*(g+1))%3000)
				c := entry(name, time.Now().Add(time.Duration(i%3)*time.Millisecond))
				table.insert(c)
				table.lookup([]byte(c.name))
				table.keepHalfOpen(&halfOpen{name: name})
				switch i % 100 {
				case 1:
					table.delete(c)
				case 2:
					table.Clear()
				case 3:
					if live, halfOpen := table.Len(); live > 1024 || halfOpen > 8 {
						t.Errorf("%d, %d", live, halfOpen)
					}
				case 4:
					table.takeHalfOpen(name)
				}
			}
		})
	}
	group.Wait()
}

// A live context has to fit in 2 KiB, the Kerberos part included.
func TestContextSize(t *testing.T) {
	r := newRealm(t, nil)
	const n = 200
	peers := make([]*peer, n)
	messages := make([]tokenOf, n)
	for i := range peers {
		peers[i] = r.newPeer(fmt.Sprintf("%08d.sig-ns1.example.test.", i), login{client: fmt.Sprintf("host/client%d.example.test", i)})
		messages[i] = tokenOf{peers[i].name, peers[i].first()}
	}
	measure := func() uint64 {
		var m runtime.MemStats
		for range 3 {
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	// What the replay cache and the events take is not the contexts'.
	r.server.observe = func(Event) {}
	before := measure()
	for _, m := range messages {
		if _, sign := r.negotiate(tkeyMessage(m.name, AlgorithmGSS, modeGSS, m.token), testClient, nil); sign == nil {
			t.Fatal("not established")
		}
	}
	after := measure()
	if live, _ := r.table.Len(); live != n {
		t.Fatalf("%d live", live)
	}
	if each := int64(after-before) / n; each > 2048 {
		t.Errorf("a context takes %d octets", each)
	} else {
		t.Logf("a context takes %d octets", each)
	}
	runtime.KeepAlive(messages)
}

type tokenOf struct {
	name  string
	token []byte
}
