package linearizable

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/miekg/dns"
)

// random makes a history of so many updates that are under way at once, some of unknown outcome, and the path that they make.
func random(source *rand.Rand, updates, atOnce int) (path []string, list []porcupine.Operation) {
	g := NewGenerator(source, testZone, "g", principals...)
	s := new(state)
	path = []string{""}
	for i := range updates {
		u := g.Next()
		op := porcupine.Operation{
			ClientId: i, Input: u,
			Call: int64(100*i - source.IntN(100*atOnce)), Return: int64(100*i + 1 + source.IntN(100*atOnce)),
		}
		unknown := source.IntN(5) == 0
		if unknown {
			op.Output, op.Return = output{rcode: Unknown}, math.MaxInt64
		}
		if !unknown || source.IntN(2) == 0 {
			rcode, after := s.update(u)
			if !unknown {
				op.Output = output{rcode: rcode}
			}
			if after != s {
				s = after
				path = append(path, textOf(s.contents()))
			}
			g.Answered(u)
		}
		list = append(list, op)
	}
	return path, append(list, lastRead("g", path, list))
}

// TestSearchAsPorcupine: both find the same, in histories that have an order and in some that have none.
func TestSearchAsPorcupine(t *testing.T) {
	source := rand.New(rand.NewPCG(5, 6))
	results := make(map[bool]int)
	for i := range 400 {
		path, list := random(source, 14, 3)
		if wrong := source.IntN(3); i%2 == 1 && wrong < 2 {
			// Another answer, or another order of the changes.
			if at := source.IntN(len(list) - 1); wrong == 0 && list[at].Output.(output).rcode != Unknown {
				list[at].Output = output{rcode: []int{dns.RcodeSuccess, dns.RcodeRefused, dns.RcodeYXDomain, dns.RcodeNXRrset}[source.IntN(4)]}
			} else if at := 1 + source.IntN(len(path)); at+1 < len(path) {
				path[at], path[at+1] = path[at+1], path[at]
			}
		}
		found, err := ordered(t.Context(), path, list)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 && !found {
			t.Fatalf("%d: no order found:\n%s", i, describe(list))
		}
		want := porcupine.CheckOperationsTimeout(modelOf(path), list, time.Minute)
		if want == porcupine.Unknown || found != (want == porcupine.Ok) {
			t.Fatalf("%d: order found: %v, by porcupine: %v:\n%s", i, found, want, describe(list))
		}
		results[found]++
	}
	if results[true] < 100 || results[false] < 50 {
		t.Errorf("orders found: %v", results)
	}
}

// TestSearchManyAtOnce: many updates at once, many of unknown outcome.
func TestSearchManyAtOnce(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			path, list := random(rand.New(rand.NewPCG(seed, 7)), 200, 20)
			if found, err := ordered(t.Context(), path, list); !found || err != nil {
				t.Errorf("%v, %v:\n%s", found, err, describe(list))
			}
			// Nothing has met this prerequisite: all of the search is in vain.
			u := &Update{Group: "g", Zone: testZone, Principal: principals[0], Prerequisites: []Line{{Form: SetExists, Name: "g-none." + testZone, Type: dns.TypeA}}}
			list = append(list, porcupine.Operation{Input: u, Call: 9000, Output: output{rcode: dns.RcodeSuccess}, Return: 11000})
			if found, err := ordered(t.Context(), path, list); found || err != nil {
				t.Errorf("where there is no order: %v, %v:\n%s", found, err, describe(list))
			}
		})
	}
}
