package zone

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// waitingUpdate is one for a test of the queue alone.
func waitingUpdate(source string, size int) *pending {
	return &pending{update: &Update{Source: source}, size: size}
}

// sourcesOf lists the sources of updates in their order.
func sourcesOf(batch []*pending) string {
	var s []string
	for _, p := range batch {
		s = append(s, p.update.Source)
	}
	return strings.Join(s, "")
}

// The writer takes one update of each source in turn, in the order in which they came, and goes on
// with the source after the last.
func TestQueueTakesTurns(t *testing.T) {
	limits := Limits{}.withDefaults()
	q := queue{clock: sinceStart}
	for _, source := range "aaaaaaabbbcdaa" {
		if refused, _ := q.put(waitingUpdate(string(source), 1), &limits); refused != nil {
			t.Fatal(refused)
		}
	}
	for i, want := range []string{"abcd", "abab", "aaaa", "aa", ""} {
		if got := sourcesOf(q.take(make([]*pending, 0, 4), 0)); got != want {
			t.Errorf("batch %d: %q, want %q", i, got, want)
		}
	}
	if q.length() != 0 || q.octets != 0 || q.next != nil || len(q.lines) != 0 {
		t.Errorf("%+v", &q)
	}
}

// A batch ends when it is large, and until then no source has more than a share of it.
func TestBatchIsBoundedByOctets(t *testing.T) {
	limits := Limits{}.withDefaults()
	q := queue{clock: sinceStart}
	put := func(source string, size, n int) {
		for range n {
			q.put(waitingUpdate(source, size), &limits)
		}
	}
	put("A", batchOctets/4, 10)
	put("b", 1000, 10)
	put("c", 1000, 1)
	for i, want := range []string{"AbcAbbbbbbbbb", "AAAA", "AAAA"} {
		if got := sourcesOf(q.take(make([]*pending, 0, 256), 0)); got != want {
			t.Errorf("batch %d: %q, want %q", i, got, want)
		}
	}
	put("A", 2*batchOctets, 2)
	if got := sourcesOf(q.take(make([]*pending, 0, 256), 0)); got != "A" {
		t.Errorf("one that is larger than a batch: %q", got)
	}
}

// A source that has had more than its share of the writer's time waits while another is active.
func TestQueueSharesTheTime(t *testing.T) {
	limits := Limits{}.withDefaults()
	var now time.Duration
	q := queue{clock: func() time.Duration { return now }}
	put := func(sources string) {
		for _, source := range sources {
			q.put(waitingUpdate(string(source), 1<<18), &limits)
		}
	}
	// next takes the next updates, of which each takes 10 milliseconds.
	next := func(want string, wait time.Duration) {
		t.Helper()
		batch := q.take(make([]*pending, 0, 1), 0)
		if got := sourcesOf(batch); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
		for _, p := range batch {
			p.took = 10 * time.Millisecond
			now += p.took
		}
		q.charge(batch)
		if _, got := q.waiting(); got != wait {
			t.Fatalf("%v until the next, want %v", got, wait)
		}
	}
	put("abaaa")
	next("a", 0) // due at 30 milliseconds
	next("b", 5*time.Millisecond)
	next("", 5*time.Millisecond)
	put("b")
	now += 5 * time.Millisecond
	next("a", 0)
	next("b", 5*time.Millisecond)
	put("aa")
	now += time.Second
	next("a", 0) // alone
	next("a", 0)
	next("a", 0)
	next("a", 0)
	if some, _ := q.waiting(); some {
		t.Error("updates wait")
	}
	// A measured time is no better than what the update can take.
	put("cd")
	batch := q.take(make([]*pending, 0, 2), 0)
	for _, p := range batch {
		p.took, p.size = time.Hour, 100
	}
	q.charge(batch)
	put("c")
	next("c", 0)
}

// An update that has to wait for its source's share of the time is done later, whether or not others
// come.
func TestApplyWaitsForItsShare(t *testing.T) {
	z, _ := faulty(t, nil)
	var now atomic.Int64
	z.queue.clock = func() time.Duration { return time.Duration(now.Load()) }
	apply := func(source string) Result {
		m := new(dns.Msg).SetUpdate("example.test.")
		m.Insert([]dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: source + ".example.test.", Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{fmt.Sprint(now.Load())}}})
		return z.Apply(t.Context(), &Update{Message: pack(t, m), Source: source})
	}
	for _, source := range []string{"heavy", "light"} {
		if r := apply(source); !r.Changed {
			t.Fatal(r)
		}
	}
	z.queue.charge([]*pending{{update: &Update{Source: "heavy"}, took: time.Second, size: 1 << 30}})
	now.Store(int64(time.Millisecond))
	heavy := make(chan Result)
	go func() { heavy <- apply("heavy") }()
	queued(t, z, 1)
	if r := apply("light"); !r.Changed {
		t.Fatal(r)
	}
	if z.queue.length() != 1 {
		t.Fatal("the other update does not wait")
	}
	now.Store(int64(time.Hour))
	if r := <-heavy; !r.Changed {
		t.Fatal(r)
	}
}

// When the queue is full, the newest update of the source with the most in it is removed, by number
// and by octets.
func TestFullQueueTakesFromTheHeaviest(t *testing.T) {
	for name, tc := range map[string]struct {
		limits Limits
		size   int
		limit  string
	}{
		"updates": {Limits{Queue: 8}, 10, "Queue"},
		"octets":  {Limits{QueueOctets: 8_000}, 1_000, "QueueOctets"},
	} {
		t.Run(name, func(t *testing.T) {
			limits := tc.limits.withDefaults()
			q := queue{clock: sinceStart}
			var heavy []*pending
			for range 8 {
				heavy = append(heavy, waitingUpdate("h", tc.size))
				if refused, _ := q.put(heavy[len(heavy)-1], &limits); refused != nil {
					t.Fatal("refused before it was full")
				}
			}
			own := waitingUpdate("h", tc.size)
			if refused, limit := q.put(own, &limits); len(refused) != 1 || refused[0] != own || limit.Limit != tc.limit {
				t.Errorf("one more of its own: %v, %v", refused, limit)
			}
			for i := range 4 {
				refused, limit := q.put(waitingUpdate("n", tc.size), &limits)
				if len(refused) != 1 || refused[0] != heavy[7-i] || limit.Limit != tc.limit {
					t.Fatalf("neighbour's update %d: %v, %v", i, refused, limit)
				}
			}
			// Both have half.
			if refused, _ := q.put(waitingUpdate("n", tc.size), &limits); len(refused) != 1 || refused[0].update.Source != "n" {
				t.Errorf("more than half: %v", refused)
			}
			if refused, _ := q.put(waitingUpdate("x", tc.size), &limits); len(refused) != 1 || refused[0].update.Source == "x" {
				t.Errorf("a third: %v", refused)
			}
			if got := sourcesOf(q.take(make([]*pending, 0, 256), 0)); len(got) != 8 || strings.Count(got, "x") != 1 {
				t.Errorf("%q", got)
			}
		})
	}
}

// Whatever comes and goes, the queue's counts are right, no source overtakes itself, and what is put
// comes out once or is refused once.
func TestQueueModel(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		limits := Limits{Queue: 1 + r.IntN(20), QueueOctets: 1 + r.IntN(batchOctets)}.withDefaults()
		q := queue{clock: sinceStart}
		model := make(map[string][]*pending)
		for range 500 {
			if r.IntN(3) > 0 {
				p := waitingUpdate(string(rune('a'+r.IntN(5))), 1+r.IntN(batchOctets/8))
				refused, limit := q.put(p, &limits)
				model[p.update.Source] = append(model[p.update.Source], p)
				if (limit == nil) != (refused == nil) {
					t.Fatal(refused, limit)
				}
				for _, gone := range refused {
					line := model[gone.update.Source]
					if line[len(line)-1] != gone {
						t.Fatal("not the newest was refused")
					}
					model[gone.update.Source] = line[:len(line)-1]
				}
			} else {
				for _, p := range q.take(make([]*pending, 0, 1+r.IntN(8)), 0) {
					if line := model[p.update.Source]; line[0] != p {
						t.Fatal("not the oldest was taken")
					}
					model[p.update.Source] = model[p.update.Source][1:]
				}
			}
			count, octets := 0, 0
			for _, line := range model {
				for _, p := range line {
					count++
					octets += p.size
				}
			}
			if q.length() != count || q.octets != octets || count > limits.Queue || count > 1 && octets > limits.QueueOctets || (q.next == nil) != (count == 0) {
				t.Fatalf("%d updates of %d octets, counted %d of %d", count, octets, q.count, q.octets)
			}
		}
	}
}

// A neighbour's update comes into the next batch, no matter which source has filled the queue.
func TestNeighbourWaitsForOneBatch(t *testing.T) {
	z, f := faulty(t, func(c *Config) { c.Limits.Queue, c.Limits.Batch = 100, 10 })
	release := held(t, z, f)
	refused := make(chan Result, 100)
	var last uint32 // the serial
	finished := make(chan struct{})
	send := func(source, name string, done func(Result)) {
		m := message(t, "U "+name+".example.test. 5 IN A 192.0.2.1")
		go func() { done(z.Apply(context.Background(), &Update{Message: pack(t, m), Source: source})) }()
	}
	for i := range 100 {
		send("heavy", fmt.Sprint("heavy", i), func(r Result) { refused <- r })
		queued(t, z, i+1)
	}
	send("neighbour", "n", func(r Result) {
		last = r.After
		if r.Rcode != dns.RcodeSuccess {
			t.Errorf("%+v", r)
		}
		close(finished)
	})
	var limit *LimitError
	if r := <-refused; r.Rcode != dns.RcodeRefused || !errors.As(r.Err, &limit) || limit.Limit != "Queue" {
		t.Errorf("the heavy one's newest: %+v", r)
	}
	release()
	<-finished
	if last > 11+10 {
		t.Errorf("served as number %d", last-11)
	}
	for range 99 {
		if r := <-refused; r.Rcode != dns.RcodeSuccess {
			t.Errorf("%+v", r)
		}
	}
	if n := f.Commits(); slices.Max(n) > 10 {
		t.Errorf("%v", n)
	}
	verify(t, z.Snapshot())
}

// What names create above them is bounded, and counted once.
func TestNonTerminals(t *testing.T) {
	z := openText(t, testApex+"x.b.c.example.test. 60 IN A 192.0.2.1\n", func(c *Config) { c.Limits.NonTerminals = 4 })
	for _, step := range []struct {
		script string
		made   bool
	}{
		{"U 1.2.3.4.5.6.example.test. 60 IN A 192.0.2.1", false},
		{"U 1.2.3.4.5.example.test. 60 IN A 192.0.2.1", true},
		{"U 1.2.a.b.3.4.5.example.test. 60 IN A 192.0.2.1", true},
		{"U 1.a.b.a.b.c.example.test. 60 IN A 192.0.2.1\nU 2.a.b.a.b.c.example.test. 60 IN A 192.0.2.1\nU z.b.c.example.test. 60 IN A 192.0.2.1", true},
		{"U 1.i.j.example.test. 60 IN A 192.0.2.1\nU 1.k.l.example.test. 60 IN A 192.0.2.1\nU 1.m.example.test. 60 IN A 192.0.2.1", false},
		{"U 1.i.j.example.test. 60 IN A 192.0.2.1\nU 1.k.j.example.test. 60 IN A 192.0.2.1\nU 1.m.example.test. 60 IN A 192.0.2.1", true},
		// Those that another name needs are not made again.
		{"U 1.2.3.4.5.example.test. 0 ANY ANY\nU 1.2.a.b.3.4.5.example.test. 0 ANY ANY\nU 2.3.4.5.example.test. 60 IN A 192.0.2.1", true},
	} {
		r := apply(t, z, step.script)
		var limit *LimitError
		if r.Changed != step.made || !step.made && (r.Rcode != dns.RcodeRefused || !errors.As(r.Err, &limit) || limit.Limit != "NonTerminals") {
			t.Errorf("%s: %+v", step.script, r)
		}
		verify(t, z.Snapshot())
	}
}

// The names above one that comes are not removed with one that goes, to be made again: that would be
// work which no limit counts.
func TestNonTerminalsAreNotMadeAgain(t *testing.T) {
	deep := strings.Repeat("a.", 100) + "example.test."
	z := openText(t, testApex+"1."+deep+" 60 IN A 192.0.2.1\n", func(c *Config) { c.Limits.NonTerminals = 1 })
	p, err := z.Propose(pack(t, message(t, "U 1."+deep+" 0 ANY ANY\nU 2."+deep+" 60 IN A 192.0.2.1")))
	if err != nil {
		t.Fatal(err)
	}
	e := p.effect(nil)
	// Each that is made is a key of its own.
	if made := testing.AllocsPerRun(10, func() { e.apply(z.Snapshot().fork()) }); made > 50 {
		t.Errorf("%.0f allocations", made)
	}
}
