package etcd

import (
	"slices"
	"testing"
	"time"
)

// TestZonesAreNotSearchedAllTheTime: a search visits all keys of all zones, so what it has found is used for a while.
func TestZonesAreNotSearchedAllTheTime(t *testing.T) {
	c, err := Open(Options{Endpoints: []string{"http://192.0.2.1:2379"}, Server: "a"})
	if err != nil {
		t.Fatal(err)
	}
	c.list.origins, c.list.due = []string{"example.test."}, time.Now().Add(time.Hour)
	if got, err := c.origins(t.Context()); err != nil || !slices.Equal(got, []string{"example.test."}) {
		t.Errorf("%q, %v", got, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c.list.due = time.Time{}
	if got, err := c.origins(t.Context()); err == nil {
		t.Errorf("%q of a cluster that is closed", got)
	}
}
