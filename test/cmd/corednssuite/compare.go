package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// results are the outcomes of tests and subtests: "pass", "fail" or "skip".
type results map[string]string

// difference is a test whose outcomes on the two listeners differ. A test that did not run has the outcome "none".
type difference struct{ test, stock, ours string }

// worse tells whether the test passes on CoreDNS's listener alone.
func (d difference) worse() bool { return d.stock == "pass" }

// better tells whether the test passes on this project's listener alone.
func (d difference) better() bool { return d.ours == "pass" }

// compare returns the tests whose outcomes differ, sorted by name. Where a subtest differs, its parents are left out. A subtest
// that ran once only is left out: its parent tells whether that is a fault.
func compare(stock, ours results) []difference {
	all := maps.Clone(stock)
	maps.Copy(all, ours)
	differing := make(map[string]difference)
	for test := range all {
		d := difference{test, "none", "none"}
		if outcome, ok := stock[test]; ok {
			d.stock = outcome
		}
		if outcome, ok := ours[test]; ok {
			d.ours = outcome
		}
		if strings.Contains(test, "/") && (d.stock == "none" || d.ours == "none") {
			continue
		}
		if d.stock != d.ours {
			differing[test] = d
		}
	}
	for test := range all {
		if _, ok := differing[test]; !ok {
			continue
		}
		for i := range len(test) {
			if test[i] == '/' {
				delete(differing, test[:i])
			}
		}
	}
	return slices.SortedFunc(maps.Values(differing), func(a, b difference) int { return strings.Compare(a.test, b.test) })
}

// repeated divides the differences into those that a second comparison has found too, and the others.
func repeated(first, second []difference) (steady, unsteady []difference) {
	for _, d := range first {
		if slices.Contains(second, d) {
			steady = append(steady, d)
		} else {
			unsteady = append(unsteady, d)
		}
	}
	return steady, unsteady
}

// unexpected returns the differences that are not known: tests that pass on CoreDNS's listener alone without being known
// to, and known ones that no longer do. Of the known ones it looks at those that selection selects.
func unexpected(differences []difference, known []exception, selection *regexp.Regexp) []string {
	var wrong []string
	excused := make(map[string]bool)
	for _, k := range known {
		excused[k.test] = true
		top, _, _ := strings.Cut(k.test, "/")
		still := slices.ContainsFunc(differences, func(d difference) bool { return d.worse() && d.test == k.test })
		switch {
		case k.reason == "":
			wrong = append(wrong, fmt.Sprintf("%s is known to fail without a reason. Fix: write the reason into known.go.", k.test))
		case !still && selection.MatchString(top):
			wrong = append(wrong, fmt.Sprintf("%s is known to fail, but its results no longer differ. Fix: remove it from known.go.", k.test))
		}
	}
	for _, d := range differences {
		if d.worse() && !excused[d.test] {
			wrong = append(wrong, fmt.Sprintf("%s passes on CoreDNS's listener, here: %s", d.test, d.ours))
		}
	}
	return wrong
}

// count returns how many tests have the outcome, subtests not counted.
func (r results) count(outcome string) int {
	n := 0
	for test, o := range r {
		if o == outcome && !strings.Contains(test, "/") {
			n++
		}
	}
	return n
}

// failBoth returns how many tests fail in both runs, subtests not counted.
func failBoth(stock, ours results) int {
	n := 0
	for test, outcome := range stock {
		if outcome == "fail" && ours[test] == "fail" && !strings.Contains(test, "/") {
			n++
		}
	}
	return n
}
