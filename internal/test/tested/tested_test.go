package tested

import (
	"slices"
	"strings"
	"testing"
)

var tried = []Entry{
	{Client: "b", Version: "1.2.3", Path: "two"},
	{Client: "a", Version: "4.5", Path: "other, and more"},
	{Client: "b", Version: "1.2.3", Path: "one", Failed: true},
}

// TestAccount: what is tried again, as by -count, is one entry.
func TestAccount(t *testing.T) {
	client := Client{Name: "a", Package: "package-a"}
	for range 2 {
		t.Run("tried", func(t *testing.T) { Path(t, client, "one") })
	}
	got := account(func(c Client) string { return "1 of " + c.Package })
	if want := []Entry{{Client: "a", Version: "1 of package-a", Path: "one"}}; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestTable(t *testing.T) {
	lines := strings.Split(Table(tried), "\n")
	for i, want := range []string{
		"client version passed paths tried", "a 4.5 1 of 1 other, and more", "b 1.2.3 1 of 2 one (FAILED); two", "",
	} {
		if got := strings.Join(strings.Fields(lines[i]), " "); got != want {
			t.Errorf("line %d: %q, want %q", i, got, want)
		}
	}
}

// TestDifferences compares a table that Write has written with what was tried then and later.
func TestDifferences(t *testing.T) {
	text, err := Write("before\n"+begin+"old\n"+end+"after\n", tried)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(text, "before\n"+begin) || !strings.HasSuffix(text, end+"after\n") || strings.Contains(text, "old") {
		t.Errorf("written:\n%s", text)
	}
	for _, test := range []struct {
		name    string
		entries []Entry
		want    []string
	}{
		{"the same", tried, nil},
		{"a security update", append([]Entry{{Client: "b", Version: "1.2.9", Path: "one"}}, tried...), nil},
		{"another series", append([]Entry{{Client: "b", Version: "1.3.0", Path: "one"}}, tried...),
			[]string{"b 1.3 was tried and is not there"}},
		{"one series in place of another", []Entry{tried[1], {Client: "b", Version: "1.10.0", Path: "one"}},
			[]string{"b 1.10 was tried and is not there", "b 1.2 is there and was not tried"}},
		{"more", append([]Entry{{Client: "c", Version: "7.8", Path: "one"}, {Client: "a", Version: "4.5", Path: "new"}}, tried...),
			[]string{`a 4.5: "new" was tried and is not there`, "c 7.8 was tried and is not there"}},
		{"less", tried[:1], []string{"a 4.5 is there and was not tried", `b 1.2: "one" is there and was not tried`}},
	} {
		if got, err := Differences(text, test.entries); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, %v; want %q", test.name, got, err, test.want)
		}
	}
	if _, err := Differences("no table", tried); err == nil {
		t.Error("a text without a table has no differences")
	}
}

func TestUpstream(t *testing.T) {
	for version, want := range map[string]string{
		"1:9.18.47-1~deb12u1": "9.18.47", "2:4.17.12+dfsg-0+deb12u3": "4.17.12", "2.8.2-4+deb12u1": "2.8.2", "0.9.1-1": "0.9.1",
		"v1.15.0": "1.15.0", "unknown": "unknown",
	} {
		if got := upstream(version); got != want {
			t.Errorf("%s: %q, want %q", version, got, want)
		}
	}
	if compareVersions("9.18.47", "9.20.1") >= 0 || compareVersions("9.18", "9.9") <= 0 || compareVersions("4.17", "4.17.12") >= 0 {
		t.Error("versions are not in order")
	}
	if got := series("9.18.47"); got != "9.18" {
		t.Errorf("series %q", got)
	}
}
