package etcd

import (
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

func TestTurns(t *testing.T) {
	const root = "/want/"
	var turns turns
	now := time.Now().Add(2 * lately) // no commit is recent
	learn := func(servers ...string) {
		var kvs []*mvccpb.KeyValue
		for i, s := range servers {
			kvs = append(kvs, &mvccpb.KeyValue{Key: []byte(root + s), ModRevision: int64(10 + i)})
		}
		turns.learn(kvs, root, "b")
	}
	expect := func(last, want string) {
		t.Helper()
		if got, wait := turns.ahead(last, "b", now); got != want || got != "" && wait != patience {
			t.Errorf("after %s it is %q before b, for %s, want %q", last, got, wait, want)
		}
	}
	expect("a", "")
	learn("a", "b", "c")
	expect("a", "")
	expect("b", "c")
	expect("c", "a")
	expect("z", "a")
	turns.skip("a")
	expect("c", "")
	expect("b", "c")
	// Its key is the same: it is passed over still. With another one it has a turn again.
	learn("a", "b", "c")
	expect("c", "")
	turns.learn([]*mvccpb.KeyValue{{Key: []byte(root + "a"), ModRevision: 99}}, root, "b")
	expect("c", "a")
	turns.committed("a")
	expect("c", "")
	turns.put("b", true)
	if !turns.isMine() {
		t.Error("its key is not there")
	}
	learn("c")
	if turns.isMine() {
		t.Error("its key is there still")
	}
	// Who has not lost has a turn too.
	expect("b", "c")
	expect("c", "")
	expect("a", "")
	learn()
	expect("b", "")
}

// TestTurnsOfRecentCommitters: servers that commit all the time take turns once commits were lost, without keys, and one
// that does not go on is not waited for twice.
func TestTurnsOfRecentCommitters(t *testing.T) {
	var turns turns
	turns.note(4 * time.Millisecond)
	expect := func(last, want string, wantWait time.Duration, now time.Time) {
		t.Helper()
		if got, wait := turns.ahead(last, "b", now); got != want || wait != wantWait {
			t.Errorf("after %s it is %q before b, for %s, want %q, %s", last, got, wait, want, wantWait)
		}
	}
	turns.committed("a")
	turns.committed("c")
	now := time.Now()
	expect("b", "", 0, now) // nobody has lost
	turns.put("b", true)
	turns.put("b", false)
	const twice = 8 * time.Millisecond
	expect("b", "c", twice, now)
	expect("c", "a", twice, now)
	expect("a", "", 0, now)
	turns.skip("c")
	expect("b", "a", twice, now)
	turns.committed("c")
	expect("b", "c", twice, now)
	expect("b", "", 0, now.Add(2*lately))
	turns.learn([]*mvccpb.KeyValue{{Key: []byte("/want/a"), ModRevision: 1}}, "/want/", "b")
	expect("c", "a", patience, now) // longer, since it has put its key
	turns.note(time.Second)
	turns.note(time.Second)
	expect("b", "c", patience, now) // never longer than that
	turns.lost = now.Add(-contended)
	expect("b", "a", patience, now)
}
