package etcd

import (
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

func TestTurns(t *testing.T) {
	const root = "/want/"
	var turns turns
	learn := func(servers ...string) {
		var kvs []*mvccpb.KeyValue
		for i, s := range servers {
			kvs = append(kvs, &mvccpb.KeyValue{Key: []byte(root + s), ModRevision: int64(10 + i)})
		}
		turns.learn(kvs, root, "b")
	}
	expect := func(last, want string) {
		t.Helper()
		if got := turns.ahead(last, "b"); got != want {
			t.Errorf("after %s it is %q before b, want %q", last, got, want)
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
	// Who has not lost waits for those who have.
	expect("b", "c")
	expect("c", "c")
	learn()
	expect("b", "")
}
