package krb5

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

func replayKeyN(n int) replayKey {
	return replayKeyOf(testClient, testService, testNow, fmt.Append(nil, n))
}

// One client can fill half of the cache, and then has to leave room to others.
func TestReplayCacheHasRoomForOthers(t *testing.T) {
	const limit = 64 * 64
	c := NewReplayCache(limit)
	c.keepFor(DefaultClockSkew)
	count := func(client Principal, now time.Time) (accepted int) {
		for n := range 2 * limit {
			at := now.Add(time.Duration(n%600-300) * time.Second)
			switch err := c.add(replayKeyOf(client, testService, at, fmt.Append(nil, n)), at, now); {
			case err == nil:
				accepted++
			case !errors.Is(err, ErrReplayCacheFull):
				t.Fatal(err)
			}
		}
		return accepted
	}
	greedy := mustPrincipal("host/greedy.example.test@EXAMPLE.TEST")
	if n := count(greedy, testNow); n != limit/2 {
		t.Errorf("one client has %d of %d", n, limit)
	}
	for i := range 4 {
		if n := count(mustPrincipal(fmt.Sprintf("host/%d.example.test@EXAMPLE.TEST", i)), testNow); n != limit/clientShare {
			t.Errorf("client %d has %d of %d", i, n, limit)
		}
	}
	if n := count(mustPrincipal("host/late.example.test@EXAMPLE.TEST"), testNow); n != 0 {
		t.Errorf("beyond the limit there are %d", n)
	}
	// What is forgotten is no longer on the account.
	if n := count(greedy, testNow.Add(time.Hour)); n != limit/2 {
		t.Errorf("an hour later the client has %d of %d", n, limit)
	}
}

// gokrb5's cache looks first and adds later: of 20,000 authenticators that
// came twice at the same time it let 24 pass twice.
func TestReplayCacheAcceptsOnce(t *testing.T) {
	standard.Requires(t, "MS-KILE", "3.4.3 replay cache")
	const count = 20_000
	c := NewReplayCache(0)
	c.keepFor(DefaultClockSkew)
	var accepted [count]atomic.Int32
	var wg sync.WaitGroup
	start := make(chan struct{})
	const workers = 8
	for w := range workers {
		wg.Go(func() {
			<-start
			// Workers come in pairs that go through the same numbers in step.
			for n := w / 2; n < count; n += workers / 2 {
				if err := c.add(replayKeyN(n), testNow, testNow); err == nil {
					accepted[n].Add(1)
				} else if !errors.Is(err, ErrReplay) {
					t.Error(err)
				}
			}
		})
	}
	close(start)
	wg.Wait()
	for n := range accepted {
		if got := accepted[n].Load(); got != 1 {
			t.Errorf("authenticator %d was accepted %d times", n, got)
		}
	}
	if c.Len() != count {
		t.Errorf("%d remembered", c.Len())
	}
}

func TestAcceptorAcceptsATokenOnceWhenItComesTwiceAtOnce(t *testing.T) {
	a := newTestAcceptor(t)
	for n := range 200 {
		token := requestSpec{at: testNow.Add(time.Duration(n) * time.Microsecond)}.token()
		var accepted atomic.Int32
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := a.NewContext().Accept(token); err == nil {
					accepted.Add(1)
				}
			})
		}
		wg.Wait()
		if accepted.Load() != 1 {
			t.Fatalf("accepted %d times", accepted.Load())
		}
	}
}

// gokrb5's cache ignores the realm and the cipher text.
func TestReplayCacheTellsAuthenticatorsApart(t *testing.T) {
	c := NewReplayCache(0)
	c.keepFor(DefaultClockSkew)
	cipher := []byte("cipher")
	for _, k := range []struct {
		client, service string
		at              time.Time
		cipher          []byte
	}{
		{"a/b@R", "DNS/n@R", testNow, cipher},
		{"a/b@S", "DNS/n@R", testNow, cipher},
		{"a@R", "DNS/n@R", testNow, cipher},
		{`a\/b@R`, "DNS/n@R", testNow, cipher},
		{"ab@R", "DNS/n@R", testNow, cipher},
		{"a/b@R", "DNS/m@R", testNow, cipher},
		{"a/b@R", "DNS/n@S", testNow, cipher},
		{"a/b@R", "DNS/n@R", testNow.Add(time.Microsecond), cipher},
		{"a/b@R", "DNS/n@R", testNow.Add(time.Second), cipher},
		{"a/b@R", "DNS/n@R", testNow, []byte("cipheR")},
	} {
		key := replayKeyOf(mustPrincipal(k.client), mustPrincipal(k.service), k.at, k.cipher)
		if err := c.add(key, k.at, testNow); err != nil {
			t.Errorf("%+v: %v", k, err)
		}
		if err := c.add(key, k.at, testNow); !errors.Is(err, ErrReplay) {
			t.Errorf("%+v again: %v", k, err)
		}
	}
}

func TestReplayCacheRemembersAsLongAsNeeded(t *testing.T) {
	standard.Requires(t, "RFC 4120", "3.2.3 replays")
	c := NewReplayCache(0)
	c.keepFor(time.Minute)
	for _, at := range []time.Duration{-time.Minute, 0, time.Minute} {
		k := replayKeyOf(testClient, testService, testNow.Add(at), nil)
		if err := c.add(k, testNow.Add(at), testNow); err != nil {
			t.Fatalf("%v: %v", at, err)
		}
		for now := max(at, 0); now <= at+time.Minute; now += time.Second {
			if err := c.add(k, testNow.Add(at), testNow.Add(now)); !errors.Is(err, ErrReplay) {
				t.Errorf("authenticator of %v at %v: %v", at, now, err)
			}
		}
	}
}

func TestReplayCacheForgets(t *testing.T) {
	c := NewReplayCache(64 * 64)
	c.keepFor(time.Minute)
	now := testNow
	for n := range 50_000 {
		now = now.Add(100 * time.Millisecond)
		if err := c.add(replayKeyN(n), now, now); err != nil {
			t.Fatalf("%d: %v", n, err)
		}
	}
	// A minute and a bucket or two of ten a second.
	if n := c.Len(); n < 600 || n > 1000 {
		t.Errorf("%d remembered", n)
	}
}

func TestReplayCacheIsBoundedAndNeverForgetsTheLiving(t *testing.T) {
	const limit = 1000
	c := NewReplayCache(limit)
	c.keepFor(time.Minute)
	var kept []int
	key := func(n int) replayKey { // of many clients
		return replayKeyOf(mustPrincipal(fmt.Sprintf("host/%d@EXAMPLE.TEST", n%100)), testService, testNow, fmt.Append(nil, n))
	}
	for n := range 5000 {
		switch err := c.add(key(n), testNow, testNow); {
		case err == nil:
			kept = append(kept, n)
		case !errors.Is(err, ErrReplayCacheFull):
			t.Fatal(err)
		}
	}
	if len(kept) > limit || len(kept) < limit*9/10 || c.Len() != len(kept) {
		t.Errorf("%d kept, %d remembered", len(kept), c.Len())
	}
	for _, n := range kept {
		if err := c.add(key(n), testNow, testNow); !errors.Is(err, ErrReplay) {
			t.Fatalf("%d: %v", n, err)
		}
	}
	later := testNow.Add(2 * time.Minute)
	if err := c.add(key(9999), later, later); err != nil {
		t.Errorf("after all have expired: %v", err)
	}
}

// Neither a clock set back nor a larger skew brings back what was forgotten.
func TestReplayCacheRefusesWhatItMayHaveForgotten(t *testing.T) {
	c := NewReplayCache(0)
	c.keepFor(time.Minute)
	k := replayKeyN(1)
	if err := c.add(k, testNow, testNow); err != nil {
		t.Fatal(err)
	}
	later := testNow.Add(time.Hour)
	for n := range 2000 { // reach every shard
		if err := c.add(replayKeyN(n+10), later, later); err != nil {
			t.Fatal(err)
		}
	}
	c.keepFor(2 * time.Hour)
	for _, now := range []time.Time{testNow, later} {
		if err := c.add(k, testNow, now); !errors.Is(err, ErrReplay) {
			t.Errorf("at %v: %v", now, err)
		}
	}
}

// A clock that was wrong for a moment, far ahead, leaves nothing behind.
func TestReplayCacheAfterAClockJump(t *testing.T) {
	c := NewReplayCache(1)
	c.keepFor(time.Minute)
	ahead := testNow.AddDate(50, 0, 0)
	if err := c.add(replayKeyN(0), testNow, testNow); err != nil {
		t.Fatal(err)
	}
	if err := c.add(replayKeyN(0), testNow, ahead); !errors.Is(err, ErrReplay) {
		t.Fatal(err)
	}
	for n := range 10 {
		now := testNow.Add(time.Duration(n+1) * 2 * time.Minute)
		if err := c.add(replayKeyN(n), now, now); err != nil {
			t.Errorf("%d: %v", n, err)
		}
	}
}

// A wall clock that is set ahead and back again: nothing is accepted twice, and
// those who come afterwards are not locked out.
func TestReplayCacheCountsByAClockThatIsNeverSet(t *testing.T) {
	hour, back, later := testNow.Add(time.Hour), testNow.Add(2*time.Second), testNow.Add(6*time.Minute)
	c := NewReplayCache(64) // one shard
	c.keepFor(5 * time.Minute)
	for _, step := range []struct {
		key     int
		at, now time.Time
		elapsed time.Duration
		want    error
	}{
		{1, testNow, testNow, 0, nil},
		{2, hour, hour, time.Second, nil}, // of a client whose clock was as wrong
		{1, testNow, back, 2 * time.Second, ErrReplay},
		{3, back, back, 2 * time.Second, nil},
		{2, hour, back, 2 * time.Second, ErrReplay},
		{4, later, later, 6 * time.Minute, nil}, // both clocks agree that 1 and 3 are over
		{2, hour, hour, time.Hour, ErrReplay},
	} {
		if err := c.addAt(replayKeyN(step.key), step.at, step.now, step.elapsed); !errors.Is(err, step.want) {
			t.Errorf("%+v: %v", step, err)
		}
	}
	if c.Len() != 1 {
		t.Errorf("%d remembered", c.Len())
	}
}

// A wall clock that was ahead for longer than authenticators are remembered, and with it the clocks of clients (a KDC
// on the same machine, a host of virtual machines), locks nobody out when it is right again. What was accepted then is
// not accepted again when the right time comes to it.
func TestReplayCacheAfterAClockThatWasAhead(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"ten minutes": 10 * time.Minute, "a day": 24 * time.Hour, "100 years": 100 * 365 * 24 * time.Hour} {
		c := NewReplayCache(64) // one shard
		c.shards[0].limit = 1 << 12
		c.keepFor(5 * time.Minute)
		var elapsed time.Duration
		n := 0
		add := func(ahead time.Duration) {
			t.Helper()
			now := testNow.Add(elapsed + ahead)
			if err := c.addAt(replayKeyN(n), now, now, elapsed); err != nil {
				t.Errorf("%s ahead: after %v a client is refused: %v", name, elapsed, err)
			}
			n++
			elapsed += 5 * time.Second
		}
		for elapsed < time.Hour {
			add(0)
		}
		first, begin := n, elapsed
		for elapsed < begin+9*time.Minute {
			add(ahead)
		}
		last := n
		for range 10 {
			add(0)
		}
		for i := first; i < last; i++ {
			at := testNow.Add(begin + ahead + time.Duration(i-first)*5*time.Second)
			if err := c.addAt(replayKeyN(i), at, at, elapsed+ahead); !errors.Is(err, ErrReplay) {
				t.Errorf("%s ahead: accepted again: %v", name, err)
			}
		}
	}
}

// The cache remembers for the largest skew of all its acceptors, whole seconds
// at least, and an older time that is forgotten later opens no gap.
func TestReplayCacheRemembersForTheLargestSkew(t *testing.T) {
	c := NewReplayCache(1)
	for _, skew := range []time.Duration{10*time.Minute + time.Millisecond, time.Minute} {
		c.keepFor(skew)
	}
	if got := c.shards[0].skew; got != 601 {
		t.Errorf("remembers for %d s", got)
	}

	c = NewReplayCache(64) // one shard
	c.keepFor(time.Minute)
	old := testNow.Add(-50 * time.Second)
	for n, at := range []time.Time{testNow, old} {
		if err := c.addAt(replayKeyN(n), at, testNow, 0); err != nil {
			t.Fatal(err)
		}
	}
	// Both are forgotten by one sweep, in the order of a map, or by two.
	later := testNow.Add(5 * time.Minute)
	if err := c.addAt(replayKeyN(2), later, later, 5*time.Minute); err != nil {
		t.Fatal(err)
	}
	for n, at := range []time.Time{testNow, old} {
		if err := c.addAt(replayKeyN(n), at, testNow, 5*time.Minute); !errors.Is(err, ErrReplay) {
			t.Errorf("%d: %v", n, err)
		}
	}
}

// An acceptor has the cache remember for its own skew: a client whose clock is
// late by nearly as much gets in, once.
func TestReplayCacheKeepsForAcceptors(t *testing.T) {
	a := newTestAcceptor(t, func(c *AcceptorConfig) {
		c.ClockSkew, c.Replays = 2*time.Hour, NewReplayCache(64)
		c.Replays.keepFor(time.Minute)
	})
	late := testNow.Add(-119 * time.Minute)
	accept(t, a, requestSpec{}.token())
	token := requestSpec{at: late}.token()
	accept(t, a, token)
	refuse(t, a, token, ErrReplay, codeRepeat)
	if got := a.replays.shards[0].skew; got != 2*60*60 {
		t.Errorf("remembers for %d s", got)
	}
}

func TestReplayCacheBeforeTheEpoch(t *testing.T) {
	c := NewReplayCache(0)
	c.keepFor(time.Minute)
	at := time.Unix(-5, 0)
	k := replayKeyOf(testClient, testService, at, nil)
	if err := c.add(k, at, at); err != nil {
		t.Fatal(err)
	}
	if err := c.add(k, at, at.Add(30*time.Second)); !errors.Is(err, ErrReplay) {
		t.Error(err)
	}
}
