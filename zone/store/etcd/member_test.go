package etcd

import (
	"context"
	"errors"
	"net"
	"testing"
)

// TestLoginHoldsUpNobody: a member that does not answer a login has no request wait longer than it may, and requests at the same time
// wait for one login.
func TestLoginHoldsUpNobody(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	options, err := Options{Endpoints: []string{"https://" + silent.Addr().String()}, Server: "a", Username: "u", Password: "p"}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	m := newMembers(&options)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	var first *login
	for range 3 {
		if _, err := m.get(over, m.all[0]); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		x := m.all[0]
		x.mu.Lock()
		l := x.login
		x.mu.Unlock()
		if first == nil {
			first = l
		}
		if l == nil || l != first {
			t.Fatal("the login has ended, or there is another one")
		}
	}
	if _, err := silent.Accept(); err != nil { // the login is under way
		t.Fatal(err)
	}
	m.close()
	<-first.done
	if first.err == nil {
		t.Error("a member that is closed has a client")
	}
}
