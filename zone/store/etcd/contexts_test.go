//go:build e2e

package etcd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	etcdtest "github.com/gsstsig/coredns-gsstsig/internal/test/etcd"
	"github.com/gsstsig/coredns-gsstsig/internal/test/link"
)

func contextID(name string) [32]byte { return sha256.Sum256([]byte(name)) }

func mustAdd(ctx context.Context, t *testing.T, table *Contexts, name, record string, want bool) {
	t.Helper()
	if done, err := table.Add(ctx, contextID(name), []byte(record), time.Now().Add(time.Hour)); err != nil || done != want {
		t.Fatalf("add %s: %v, %v", name, done, err)
	}
}

func mustSync(ctx context.Context, t *testing.T, table *Contexts) {
	t.Helper()
	if err := table.Sync(ctx); err != nil {
		t.Fatal(err)
	}
}

func expectContext(t *testing.T, table *Contexts, name, want string) {
	t.Helper()
	if record, _ := table.Find(contextID(name)); string(record) != want {
		t.Fatalf("%s is %q, want %q", name, record, want)
	}
}

func TestContexts(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	a, b := connect(t, "a", c.Endpoints()...).Contexts(), connect(t, "b", c.Endpoints()...).Contexts()
	mustSync(ctx, t, a)
	mustSync(ctx, t, b)
	mustAdd(ctx, t, a, "one", "record of a", true)
	expectContext(t, a, "one", "record of a")
	mustAdd(ctx, t, b, "one", "record of b", false)
	mustSync(ctx, t, b)
	expectContext(t, b, "one", "record of a")
	// Another record under the id is not removed.
	if err := b.Remove(ctx, map[[32]byte][]byte{contextID("one"): []byte("record of b"), contextID("none"): []byte("x")}); err != nil {
		t.Fatal(err)
	}
	expectContext(t, b, "one", "record of a")
	if err := b.Remove(ctx, map[[32]byte][]byte{contextID("one"): []byte("record of a")}); err != nil {
		t.Fatal(err)
	}
	expectContext(t, b, "one", "")
	mustSync(ctx, t, a)
	expectContext(t, a, "one", "")
	mustAdd(ctx, t, a, "one", "again", true)
	mustAdd(ctx, t, a, "two", "2", true)
	n := 0
	for id, record := range a.All() {
		if n++; id == contextID("two") && string(record) != "2" {
			t.Errorf("two is %q", record)
		}
	}
	if n != 2 {
		t.Errorf("%d contexts", n)
	}
	// Who comes later reads the table.
	late := connect(t, "late", c.Endpoints()...).Contexts()
	mustSync(ctx, t, late)
	expectContext(t, late, "two", "2")

	for name, record := range map[string][]byte{"empty": nil, "large": make([]byte, MaxContext+1)} {
		if done, err := a.Add(ctx, contextID(name), record, time.Now().Add(time.Hour)); done || err == nil {
			t.Errorf("%s: %v, %v", name, done, err)
		}
	}
	if done, err := a.Add(ctx, contextID("late"), []byte("x"), time.Now()); done || err == nil {
		t.Errorf("late: %v, %v", done, err)
	}
}

// TestContextsAtOnce has two servers add the same names at once: each has one record in the end, and one of the two
// was told so.
func TestContextsAtOnce(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{Members: 3})
	const names, servers = 200, 2
	tables := make([]*Contexts, servers)
	for i := range tables {
		tables[i] = connect(t, fmt.Sprint("server", i), append(c.Endpoints()[i:], c.Endpoints()[:i]...)...).Contexts()
		mustSync(ctx, t, tables[i])
	}
	var winners [names]atomic.Int32
	var running sync.WaitGroup
	for i, table := range tables {
		for j := range names {
			running.Go(func() {
				done, err := table.Add(ctx, contextID(fmt.Sprint(j)), fmt.Appendf(nil, "%d of %d", j, i), time.Now().Add(time.Duration(j)*time.Minute+time.Hour))
				if err != nil {
					t.Error(err)
				} else if done {
					winners[j].Add(int32(1 + i<<8))
				}
			})
		}
	}
	running.Wait()
	for i, table := range tables {
		mustSync(ctx, t, table)
		for j := range names {
			won := winners[j].Load()
			if won&0xFF != 1 {
				t.Fatalf("name %d was given to %d servers", j, won&0xFF)
			}
			if record, _ := table.Find(contextID(fmt.Sprint(j))); string(record) != fmt.Sprintf("%d of %d", j, won>>8) {
				t.Errorf("server %d has %q for name %d of server %d", i, record, j, won>>8)
			}
		}
	}
}

// TestContextsOver replaces a record whose time is over, though its lease is not.
func TestContextsOver(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	table := connect(t, "a", c.Endpoints()...).Contexts()
	mustSync(ctx, t, table)
	expires := time.Now().Add(50 * time.Millisecond)
	if done, err := table.Add(ctx, contextID("short"), []byte("1"), expires); err != nil || !done {
		t.Fatal(done, err)
	}
	for time.Now().Before(expires) {
		time.Sleep(time.Until(expires))
	}
	expectContext(t, table, "short", "")
	for range table.All() {
		t.Error("a context whose time is over is listed")
	}
	mustAdd(ctx, t, table, "short", "2", true)
	expectContext(t, table, "short", "2")
}

// TestContextsMissed compacts what a server that is cut off has missed.
func TestContextsMissed(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	way, err := link.Start(c.Address(0))
	if err != nil {
		t.Fatal(err)
	}
	defer way.Close()
	a, b := connect(t, "a", c.Endpoints()...).Contexts(), connect(t, "b", "http://"+way.Address.String()).Contexts()
	mustAdd(ctx, t, a, "one", "1", true)
	mustSync(ctx, t, b)
	expectContext(t, b, "one", "1")
	way.Cut(link.Both)
	mustAdd(ctx, t, a, "two", "2", true)
	if err := a.Remove(ctx, map[[32]byte][]byte{contextID("one"): []byte("1")}); err != nil {
		t.Fatal(err)
	}
	mustAdd(ctx, t, a, "three", "3", true)
	compact(ctx, t, c)
	// What it has known it knows on.
	if record, known := b.Find(contextID("one")); string(record) != "1" || !known {
		t.Errorf("%q, %v", record, known)
	}
	short, cancel := context.WithTimeout(ctx, 250*time.Millisecond)
	defer cancel()
	if err := b.Sync(short); err == nil {
		t.Error("Sync without a connection succeeded")
	}
	way.Cut(0)
	way.Break()
	mustSync(ctx, t, b)
	expectContext(t, b, "one", "")
	expectContext(t, b, "two", "2")
	expectContext(t, b, "three", "3")
}

// compact makes etcd forget its history.
func compact(ctx context.Context, t *testing.T, c *etcdtest.Cluster) {
	t.Helper()
	client := etcdClient(t, c)
	answer, err := client.Get(ctx, "any")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(ctx, answer.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

func etcdClient(t *testing.T, c *etcdtest.Cluster) *clientv3.Client {
	t.Helper()
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// TestContextsOutOfReach fails at once, and remembers.
func TestContextsOutOfReach(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	table := connect(t, "a", c.Endpoints()...).Contexts()
	mustAdd(ctx, t, table, "one", "1", true)
	c.Kill(0)
	for {
		done, err := table.Add(ctx, contextID("two"), []byte("2"), time.Now().Add(time.Hour))
		if done || err == nil {
			t.Fatal("added to a cluster that is not there")
		}
		if !errors.Is(err, ErrUnreachable) {
			t.Fatal(err)
		}
		if table.cluster.members.outOfReach() != nil {
			break
		}
	}
	expectContext(t, table, "one", "1")
	if err := c.Restart(ctx, 0); err != nil {
		t.Fatal(err)
	}
	mustSync(ctx, t, table)
	expectContext(t, table, "one", "1")
	mustAdd(ctx, t, table, strings.Repeat("x", 10), "2", true)
}

// BenchmarkContexts adds contexts, 16 at a time.
func BenchmarkContexts(b *testing.B) {
	ctx, c := begin(b, etcdtest.Config{Members: 3, Disk: true})
	table := connect(b, "a", c.Endpoints()...).Contexts()
	if err := table.Sync(ctx); err != nil {
		b.Fatal(err)
	}
	record := make([]byte, 500)
	var next atomic.Int64
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if done, err := table.Add(ctx, contextID(fmt.Sprint(next.Add(1))), record, time.Now().Add(time.Hour)); err != nil || !done {
				b.Error(done, err)
			}
		}
	})
}

// TestContextsMembersLost kills two members in turn. The table is followed at the others, although a watch was begun
// at a member that was gone.
func TestContextsMembersLost(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{Members: 3})
	a := connect(t, "a", c.Endpoint(2)).Contexts()
	b := connect(t, "b", c.Endpoint(0), c.Endpoint(1), c.Endpoint(2)).Contexts()
	mustSync(ctx, t, a)
	mustSync(ctx, t, b)
	add := func(name string) {
		t.Helper()
		for {
			done, err := a.Add(ctx, contextID(name), []byte(name), time.Now().Add(time.Hour))
			if record, _ := a.Find(contextID(name)); done || string(record) == name {
				return
			}
			if err == nil {
				t.Fatalf("%s is taken", name)
			}
		}
	}
	add("before")
	c.Kill(0)
	// A watch is begun at the dead member, as when it was found to be silent by others than the watch.
	b.cluster.members.mu.Lock()
	b.cluster.members.use(0)
	b.cluster.members.mu.Unlock()
	add("first")
	mustSync(ctx, t, b)
	expectContext(t, b, "first", "first")
	if err := c.Restart(ctx, 0); err != nil {
		t.Fatal(err)
	}
	c.Kill(1)
	add("second")
	mustSync(ctx, t, b)
	expectContext(t, b, "second", "second")
	expectContext(t, b, "before", "before")
}

// TestContextsReadAfterRestore brings back a backup of etcd: a server that reads the table again before anything is asked of it keeps
// nothing of what the backup does not have, neither what it was told of nor what it added itself.
func TestContextsReadAfterRestore(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	a, b := connect(t, "a", c.Endpoints()...).Contexts(), connect(t, "b", c.Endpoints()...).Contexts()
	mustAdd(ctx, t, a, "kept", "1", true)
	if err := c.Save(ctx); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		mustAdd(ctx, t, a, fmt.Sprint("lost", i), "x", true)
	}
	mustSync(ctx, t, b)
	if err := c.Restore(ctx); err != nil {
		t.Fatal(err)
	}
	for _, table := range []*Contexts{a, b} {
		for err := table.read(); err != nil; err = table.read() {
			if ctx.Err() != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		expectContext(t, table, "kept", "1")
		for i := range 20 {
			expectContext(t, table, fmt.Sprint("lost", i), "")
		}
	}
}

// TestContextsRestored brings back a backup of etcd under two servers. They have the same contexts afterwards, although revisions
// begin again before those that they have seen.
func TestContextsRestored(t *testing.T) {
	ctx, c := begin(t, etcdtest.Config{})
	a, b := connect(t, "a", c.Endpoints()...).Contexts(), connect(t, "b", c.Endpoints()...).Contexts()
	mustAdd(ctx, t, a, "kept", "1", true)
	if err := c.Save(ctx); err != nil {
		t.Fatal(err)
	}
	retry := func(what string, do func() error) {
		t.Helper()
		for err := do(); err != nil; err = do() {
			if ctx.Err() != nil {
				t.Fatalf("%s: %v", what, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	for i := range 50 {
		retry("add", func() error {
			_, err := a.Add(ctx, contextID(fmt.Sprint("lost", i)), []byte("x"), time.Now().Add(time.Hour))
			return err
		})
	}
	retry("sync", func() error { return b.Sync(ctx) })
	expectContext(t, b, "lost7", "x")
	if err := c.Restore(ctx); err != nil {
		t.Fatal(err)
	}
	retry("add", func() error {
		_, err := a.Add(ctx, contextID("new"), []byte("of a"), time.Now().Add(time.Hour))
		return err
	})
	retry("sync", func() error { return b.Sync(ctx) })
	expectContext(t, b, "new", "of a")
	expectContext(t, b, "kept", "1")
	expectContext(t, b, "lost7", "")
	retry("sync", func() error { return a.Sync(ctx) }) // another member may have just started
	expectContext(t, a, "new", "of a")
	expectContext(t, a, "lost7", "")
	// The watch goes on from there.
	retry("remove", func() error { return a.Remove(ctx, map[[32]byte][]byte{contextID("kept"): []byte("1")}) })
	for record, known := b.Find(contextID("kept")); record != nil || !known; record, known = b.Find(contextID("kept")) {
		if ctx.Err() != nil {
			t.Fatal("b never learns that a context was removed")
		}
		time.Sleep(10 * time.Millisecond)
	}
}
