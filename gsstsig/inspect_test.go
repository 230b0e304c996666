package gsstsig

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

// TestContexts: contexts are listed with their use, and one that is dropped verifies no message any more.
func TestContexts(t *testing.T) {
	r := newRealm(t, nil)
	a := NewAuthenticator(nil, r.server)
	second, first := r.login("b.example.test.", login{}), r.login("a.example.test.", login{})
	list := r.table.Contexts()
	if len(list) != 2 || list[0].KeyName != "a.example.test." || list[1].KeyName != "b.example.test." {
		t.Fatalf("%+v", list)
	}
	for _, c := range list {
		if c.Messages != 0 || !c.LastUse.IsZero() || c.Created.IsZero() || !c.Expires.After(c.Created) || !c.Client.IsValid() ||
			c.Principal.Realm != testRealm || c.Service.Realm != testRealm || c.Enctype == 0 {
			t.Errorf("%+v", c)
		}
	}
	r.clock.advance(time.Minute)
	for range 2 {
		wire, _ := first.sign(updateMessage())
		if _, err := a.Authenticate(wire); err != nil {
			t.Fatal(err)
		}
	}
	forged, _ := second.sign(updateMessage())
	forged = bytes.Clone(forged)
	forged[len(forged)-10] ^= 1 // of the MAC
	if _, err := a.Authenticate(forged); err == nil {
		t.Fatal("a forged message verifies")
	}
	list = r.table.Contexts()
	if list[0].Messages != 2 || list[0].LastUse.Unix() != r.clock.now().Unix() || list[1].Messages != 0 || !list[1].LastUse.IsZero() {
		t.Errorf("%+v", list)
	}
	if _, err := json.Marshal(list); err != nil {
		t.Error(err)
	}
	dropped, _ := r.table.Drop(func(c ContextInfo) bool { return c.KeyName == "a.example.test." })
	if len(dropped) != 1 || dropped[0].Messages != 2 || len(r.table.Contexts()) != 1 {
		t.Errorf("dropped %+v, left %+v", dropped, r.table.Contexts())
	}
	wire, _ := first.sign(updateMessage())
	if _, err := a.Authenticate(wire); err == nil {
		t.Error("a message of a context that was dropped verifies")
	}
	r.clock.advance(2 * time.Hour)
	if list := r.table.Contexts(); len(list) != 0 {
		t.Errorf("expired: %+v", list)
	}
}
