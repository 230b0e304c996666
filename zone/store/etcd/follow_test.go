package etcd

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestAwaitAnswer: a server's own batch that the watch brings waits for the answer to its proposal, but not for long, and
// others' do not wait.
func TestAwaitAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &follower{z: new(Zone), ctx: t.Context()}
		own, other := entry{entryHeader: entryHeader{batch: id{1}}}, entry{entryHeader: entryHeader{batch: id{2}}}
		wait := func(e *entry) time.Duration {
			begun := time.Now()
			f.awaitAnswer(e)
			return time.Since(begun)
		}
		if took := wait(&own); took != 0 {
			t.Errorf("nothing is under way: %s", took)
		}
		way := &underWay{own.batch, make(chan struct{})}
		f.z.underWay.Store(way)
		if took := wait(&other); took != 0 {
			t.Errorf("another batch: %s", took)
		}
		if took := wait(&own); took != answerPatience {
			t.Errorf("no answer: %s", took)
		}
		const answer = time.Millisecond
		time.AfterFunc(answer, func() { close(way.ended) })
		if took := wait(&own); took != answer {
			t.Errorf("an answer after %s: %s", answer, took)
		}
	})
}
