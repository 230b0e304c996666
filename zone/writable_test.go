package zone

import (
	"errors"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestWritable: a zone whose store fails says so, asks it again once a second, and says when it works again, without an update.
func TestWritable(t *testing.T) {
	now := time.Now()
	z, f := faulty(t, func(c *Config) { c.Now = func() time.Time { return now } })
	check := func(what string, want error) {
		t.Helper()
		if err := z.Writable(); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	full, broken := errors.New("no space left on device"), errors.New("input/output error")
	check("at first", nil)
	f.Fail(full)
	check("before any commit", nil)
	serial := z.Snapshot().Serial()
	if r := apply(t, z, "U a.example.test. 5 IN A 192.0.2.1"); r.Rcode != dns.RcodeServerFailure {
		t.Fatalf("%+v", r)
	}
	check("after the commit", full)
	f.Fail(broken)
	check("at once", full)
	now = now.Add(time.Second)
	check("a second later", broken)
	f.Fail(nil)
	check("mended", broken)
	now = now.Add(time.Second)
	check("a second later", nil)
	if z.Snapshot().Serial() != serial {
		t.Error("the serial changed")
	}
	f.Fail(full)
	apply(t, z, "U a.example.test. 5 IN A 192.0.2.1")
	f.Fail(nil)
	if r := apply(t, z, "U a.example.test. 5 IN A 192.0.2.1"); r.Rcode != dns.RcodeSuccess {
		t.Fatalf("%+v", r)
	}
	check("after an update", nil)
}
