package zone

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone/store/storetest"
)

// TestGather: the writer waits for as many updates as there were before, until there is a lull or it has waited for long.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := openServer(t, storetest.NewCluster(storetest.ClusterOptions{}).Server("a"), nil)
		defer z.Close()
		z.queue.clock = sinceStart
		const commit = 8 * time.Millisecond
		for _, c := range []struct {
			name          string
			crowd, come   int
			every         time.Duration
			atLeast, most time.Duration
		}{
			{"alone", 1, 0, 0, 0, 0},
			{"all are back", 4, 4, 500 * time.Microsecond, 2 * time.Millisecond, 2 * time.Millisecond},
			{"all are there", 4, 4, 0, 0, 0},
			{"nobody comes", 4, 0, 0, commit / maxLull, commit/maxLull + time.Microsecond},
			{"a few come", 4, 2, 500 * time.Microsecond, commit / maxLull, 3 * commit / maxLull},
			{"one after the other", maxCrowd, 20, 900 * time.Microsecond, commit / maxGathering, commit/maxGathering + commit/maxLull},
			{"no more than are worth it", 10 * maxCrowd, maxCrowd, 0, 0, 0},
		} {
			z.crowd = crowd{}
			z.crowd.note(c.crowd, &Commit{Duration: commit})
			var all sync.WaitGroup
			all.Go(func() {
				for range c.come {
					time.Sleep(c.every)
					z.queue.put(waitingUpdate("x", 1), &z.settings.Load().limits)
				}
			})
			if c.every == 0 {
				all.Wait()
			}
			begun := time.Now()
			z.gather()
			if took := time.Since(begun); took < c.atLeast || took > c.most {
				t.Errorf("%s: waited for %s", c.name, took)
			}
			all.Wait()
			z.queue.take(make([]*pending, 0, 256), 0)
		}
		z.crowd.note(9, &Commit{Conflicts: 1})
		if z.crowd != (crowd{0, commit}) {
			t.Errorf("after a conflict: %+v", z.crowd)
		}
		z.crowd.note(2, &Commit{Duration: time.Second})
		if z.crowd != (crowd{2, maxCommit}) {
			t.Errorf("after a commit that took long: %+v", z.crowd)
		}
	})
}

// TestGatheredBatch: clients that waited for one commit share the next one.
func TestGatheredBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var commits []Commit
		z := openServer(t, storetest.NewCluster(storetest.ClusterOptions{}).Server("a"), func(c *Config) {
			c.Committed = func(c Commit) { commits = append(commits, c) }
		})
		defer z.Close()
		z.crowd = crowd{2, 8 * time.Millisecond}
		for range 2 {
			var other sync.WaitGroup
			other.Go(func() {
				time.Sleep(500 * time.Microsecond)
				if r := apply(t, z, fmt.Sprintf("U b.example.test. %d IN A 192.0.2.1", len(commits)+1)); !r.Changed {
					t.Errorf("%+v", r)
				}
			})
			if r := apply(t, z, fmt.Sprintf("U a.example.test. %d IN A 192.0.2.1", len(commits)+1)); !r.Changed {
				t.Errorf("%+v", r)
			}
			other.Wait()
			z.crowd.commit = 8 * time.Millisecond // this store's take no time
		}
		if len(commits) != 2 || commits[0].Updates != 2 || commits[1].Updates != 2 {
			t.Errorf("%+v", commits)
		}
	})
}

// TestJoin: what was queued while a batch met another server's is decided on with it, as far as there is room.
func TestJoin(t *testing.T) {
	cluster := storetest.NewCluster(storetest.ClusterOptions{})
	var commits []Commit
	first := cluster.Server("a")
	a := openServer(t, first, func(c *Config) {
		c.Limits.Batch = 3
		c.Committed = func(c Commit) { commits = append(commits, c) }
	})
	b := openServer(t, cluster.Server("b"), nil)
	var others sync.WaitGroup
	proposals := 0
	first.Faults(func(call storetest.Call) storetest.Fault {
		if call != storetest.Propose {
			return storetest.None
		}
		if proposals++; proposals > 1 {
			return storetest.None
		}
		for i := range 4 {
			others.Go(func() {
				if r := apply(t, a, fmt.Sprintf("U h%d.example.test. 5 IN A 192.0.2.1", i)); r.Rcode != dns.RcodeSuccess {
					t.Errorf("%+v", r)
				}
			})
		}
		until(t, "the others are queued", func() bool { return a.queue.length() == 4 })
		apply(t, b, "U b.example.test. 5 IN A 192.0.2.1")
		return storetest.None
	})
	if r := apply(t, a, "U a.example.test. 5 IN A 192.0.2.1"); r.Rcode != dns.RcodeSuccess {
		t.Errorf("%+v", r)
	}
	others.Wait()
	a.writing.Lock() // the last batch has been told of
	defer a.writing.Unlock()
	if len(commits) != 2 || commits[0].Updates != 3 || commits[0].Conflicts != 1 || commits[1].Updates != 2 {
		t.Errorf("%+v", commits)
	}
}
