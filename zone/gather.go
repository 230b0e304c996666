package zone

import "time"

// A commit to a store that several servers share takes milliseconds, in which all clients that wait for it can do
// nothing else. The first of them to be back with another update would have a commit alone, and the others would wait
// for its end too. So the writer of such a zone waits a little, until as many updates are there as before.

// A crowd is how many updates were under way lately, and how long a commit took. It is guarded by Zone.writing.
type crowd struct {
	updates int
	commit  time.Duration
}

const (
	// maxGathering and maxLull are how long the writer waits in all, and from one update to the next, in parts of the
	// time of a commit.
	maxGathering = 2
	maxLull      = 8
	// maxCommit bounds that time: while a member of etcd fails over, a commit takes seconds.
	maxCommit = 20 * time.Millisecond
	// maxCrowd is how many updates are worth waiting for. More are busy with each other: while a commit is under way for
	// some, the others send theirs.
	maxCrowd = 32
)

// note notes that a batch is done, before its updates get their results, and how many these and those that wait are.
func (c *crowd) note(updates int, done *Commit) {
	c.updates = updates
	if done.Conflicts > 0 {
		c.updates = 0 // the next batch has to wait for other servers
	}
	if done.Duration > 0 {
		c.commit = min(done.Duration, maxCommit)
	}
}

// gather waits for the updates of the clients that have just got their results. The caller holds z.writing.
func (z *Zone) gather() {
	crowd := min(z.crowd.updates, maxCrowd)
	if !z.shared || crowd < 2 {
		return
	}
	enough, count := z.queue.expect(crowd)
	if count >= crowd {
		return
	}
	defer z.queue.expect(0)
	lull := time.NewTicker(z.crowd.commit/maxLull + 1)
	defer lull.Stop()
	for end := z.queue.clock() + z.crowd.commit/maxGathering; ; {
		select {
		case <-enough:
			return
		case <-z.closing:
			return
		case <-lull.C:
		}
		before := count
		if count = z.queue.length(); count == before || z.queue.clock() >= end {
			return
		}
	}
}

// joinTime is for how long after its beginning other updates may join a batch: they have what is left of settleTime.
const joinTime = settleTime / 5

// join adds updates that wait to a batch that has to be decided on again, as far as there is room.
func (z *Zone) join(live []*pending) []*pending {
	octets := 0
	for _, p := range live {
		octets += p.size
	}
	for _, p := range z.queue.take(live[len(live):], octets) {
		if p.state.CompareAndSwap(waiting, taken) {
			live = append(live, p)
		}
	}
	return live
}
