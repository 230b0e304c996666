package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	stock := results{
		"TestSame": "pass", "TestBothFail": "fail", "TestWorse": "pass", "TestBetter": "fail", "TestSkipped": "pass", "TestGone": "pass",
		"TestParent": "pass", "TestParent/a": "pass", "TestParent/b": "pass", "TestParent/b/1": "pass",
		"TestNames": "pass", "TestNames/port_5301": "pass",
	}
	ours := results{
		"TestSame": "pass", "TestBothFail": "fail", "TestWorse": "fail", "TestBetter": "pass", "TestSkipped": "skip",
		"TestParent": "fail", "TestParent/a": "pass", "TestParent/b": "fail", "TestParent/b/1": "fail",
		"TestNames": "pass", "TestNames/port_5302": "pass",
	}
	want := []difference{
		{"TestBetter", "fail", "pass"},
		{"TestGone", "pass", "none"},
		{"TestParent/b/1", "pass", "fail"},
		{"TestSkipped", "pass", "skip"},
		{"TestWorse", "pass", "fail"},
	}
	got := compare(stock, ours)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	steady, unsteady := repeated(got, []difference{{"TestWorse", "pass", "fail"}, {"TestGone", "pass", "fail"}, {"TestNew", "pass", "fail"}})
	if !slices.Equal(steady, want[4:]) || !slices.Equal(unsteady, want[:4]) {
		t.Errorf("%v again and %v not; want %v and %v", steady, unsteady, want[4:], want[:4])
	}
	if n := failBoth(stock, ours); n != 1 {
		t.Errorf("%d tests fail on both, want 1", n)
	}
	if n := ours.count("fail"); n != 3 {
		t.Errorf("%d tests failed, want 3: subtests do not count", n)
	}
}

func TestJudge(t *testing.T) {
	differences := []difference{{"TestBetter", "fail", "pass"}, {"TestOther", "fail", "skip"}, {"TestWorse/a", "pass", "fail"}}
	excuse := exception{"TestWorse/a", "a reason"}
	all := regexp.MustCompile("")
	tests := map[string]struct {
		known     []exception
		selection string
		want      []string // parts of what is wrong
	}{
		"not known":                {nil, "", []string{"TestWorse/a passes on CoreDNS's listener, here: fail"}},
		"known":                    {[]exception{excuse}, "", nil},
		"without a reason":         {[]exception{{test: "TestWorse/a"}}, "", []string{"without a reason"}},
		"no longer differs":        {[]exception{excuse, {"TestSame", "a reason"}}, "", []string{"TestSame is known to fail, but"}},
		"is better":                {[]exception{excuse, {"TestBetter", "a reason"}}, "", []string{"TestBetter is known to fail, but"}},
		"not selected":             {[]exception{excuse, {"TestSame", "a reason"}}, "^TestWorse$", nil},
		"subtest of another known": {[]exception{{"TestWorse", "a reason"}}, "", []string{"TestWorse is known to fail, but", "TestWorse/a passes"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			wrong := unexpected(differences, test.known, regexp.MustCompile(test.selection))
			if len(wrong) != len(test.want) {
				t.Fatalf("wrong are %q, want %q", wrong, test.want)
			}
			for i, part := range test.want {
				if !strings.Contains(wrong[i], part) {
					t.Errorf("%q, want %q in it", wrong[i], part)
				}
			}
		})
	}
	if wrong := unexpected(differences[:2], nil, all); wrong != nil {
		t.Errorf("wrong are %q, though nothing passes on CoreDNS's listener alone", wrong)
	}
}
