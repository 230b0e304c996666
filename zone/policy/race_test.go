package policy_test

import (
	"context"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/policy"
)

// TestTombstoneProtectsName has one principal delete and add its name again and again while another
// one waits for the moment at which it is free.
func TestTombstoneProtectsName(t *testing.T) {
	const origin = "example.test."
	z := openZone(t, origin, mustRecords(t, origin), zone.Config{})
	p := newPolicy(t, policy.Config{})
	apply := func(user, text string) int {
		id := policy.Identity{Kind: policy.Kerberos, Name: user + "@EXAMPLE.TEST", Components: []string{user}, Realm: "EXAMPLE.TEST"}
		return z.Apply(context.Background(), &zone.Update{
			Message: message(t, origin, changes(t, text)), Authorize: p.Authorizer(id)}).Rcode
	}
	if rcode := apply("carol", "add desk A 192.0.2.1"); rcode != dns.RcodeSuccess {
		t.Fatal(dns.RcodeToString[rcode])
	}
	var wait sync.WaitGroup
	done := make(chan struct{})
	defer wait.Wait()
	defer close(done)
	wait.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if rcode := apply("bob", "add desk A 192.0.2.66"); rcode != dns.RcodeRefused {
				t.Errorf("the stranger gets %s", dns.RcodeToString[rcode])
				return
			}
		}
	})
	for range 1_000 {
		for _, text := range []string{"delete desk", "add desk A 192.0.2.1"} {
			if rcode := apply("carol", text); rcode != dns.RcodeSuccess {
				t.Fatalf("the owner gets %s", dns.RcodeToString[rcode])
			}
		}
	}
}

// TestAuthorizerIsConcurrent uses one policy and one authorizer from many goroutines; for the race
// detector.
func TestAuthorizerIsConcurrent(t *testing.T) {
	z := openZone(t, "example.test.", mustRecords(t, "example.test."), zone.Config{})
	authorize := newPolicy(t, policy.Config{}).Authorizer(stranger)
	octets := message(t, "example.test.", changes(t, `add new A 192.0.2.1; delete a; add a TXT "x"`))
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 200 {
				if authorize(propose(t, z, octets)).Allow {
					t.Error("allowed")
				}
			}
		})
	}
	wait.Wait()
}
