package standard

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const sample = `# A comment.
RFC 9999: Samples

1 does | MUST | server | The server does it.
1.2 says | SHOULD | client | The client says it.
1.10 keeps | rule | both | Both keep it.
2 forwards | MAY | server | The server forwards it. | not here: It forwards nothing.
`

func sampleList(t *testing.T) *List {
	t.Helper()
	list, err := parse(sample)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestParse(t *testing.T) {
	list := sampleList(t)
	if list.Name != "RFC 9999" || list.Title != "Samples" || len(list.Requirements) != 4 {
		t.Fatalf("%+v", list)
	}
	want := Requirement{ID: "2 forwards", Section: "2", Keyword: "MAY", Party: Server, Text: "The server forwards it.", NotHere: "It forwards nothing."}
	if got := *list.find("2 forwards"); got != want {
		t.Errorf("%+v", got)
	}
	for what, text := range map[string]string{
		"no name":           "1 does | MUST | server | The server does it.\n",
		"no name behind MS": "MS-: Samples\n1 does | MUST | server | The server does it.\n",
		"no number":         "RFC nine: Samples\n1 does | MUST | server | The server does it.\n",
		"nothing":           "RFC 9999: Samples\n",
		"fields missing":    sample + "3 does | MUST | server\n",
		"fields left":       sample + "3 does | MUST | server | It does. | not here: It does not. | more\n",
		"no words":          sample + "3 | MUST | server | It does.\n",
		"nobody":            sample + "3 does | MUST | cook | It does.\n",
		"no sentence":       sample + "3 does | MUST | server | It does\n",
		"no such reason":    sample + "3 does | MUST | server | It does. | It does not.\n",
		"twice":             sample + "2 forwards | MUST | server | It does.\n",
		"a section later":   sample + "1.9 does | MUST | server | It does.\n",
	} {
		if list, err := parse(text); err == nil {
			t.Errorf("%s: %+v", what, list)
		}
	}
}

// TestOpenSpecifications: standards of Microsoft have names, and come behind the RFCs.
func TestOpenSpecifications(t *testing.T) {
	named := func(name string) *List {
		list, err := parse(name + ": Samples\n1 does | MUST | server | The server does it.\n")
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	list := named("MS-KILE")
	if list.address() != "https://learn.microsoft.com/openspecs/windows_protocols/ms-kile" {
		t.Error(list.address())
	}
	ordered := []*List{named("RFC 1"), named("RFC 10"), named("MS-DNSP"), list}
	if !slices.IsSortedFunc(ordered, compareLists) || compareLists(list, ordered[0]) <= 0 {
		t.Error("the order is another")
	}
}

// The lists of this package are well-formed, and cite no standard twice.
func TestLists(t *testing.T) {
	all, err := Lists()
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(all); i++ {
		if compareLists(all[i-1], all[i]) >= 0 {
			t.Errorf("%s comes after %s", all[i].Name, all[i-1].Name)
		}
	}
	if _, err := listOf("RFC 1"); err == nil {
		t.Error("RFC 1 has a list")
	}
}

func goFile(body string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte("package p\n\nimport (\n\t\"testing\"\n\n\t\"" + importPath + "\"\n)\n\n" + body)}
}

func TestGather(t *testing.T) {
	citations, err := Gather(fstest.MapFS{
		"a/p/p_test.go": goFile(`
func TestOne(t *testing.T) {
	standard.Requires(t, "RFC 9999", "1 does", "1.10 keeps")
	t.Run("a part", func(t *testing.T) {
		standard.Deviates(t, "RFC 9999", "1 does", "It does " +
			"not.")
	})
	for _, name := range names {
		t.Run(name, func(t *testing.T) { standard.Requires(t, "RFC 9999", "1.2 says") })
	}
}

func helper() {}
`),
		"a/p/p.go":            &fstest.MapFile{Data: []byte("package p\n")},
		"a/q_test.go":         &fstest.MapFile{Data: []byte("package a\n\n// " + importPath + "\n")},
		".git/broken_test.go": &fstest.MapFile{Data: []byte(importPath)},
	})
	if err != nil {
		t.Fatal(err)
	}
	const file = "a/p/p_test.go"
	want := []Citation{
		{"RFC 9999", "1 does", "TestOne", file, ""},
		{"RFC 9999", "1.10 keeps", "TestOne", file, ""},
		{"RFC 9999", "1 does", "TestOne/a_part", file, "It does not."},
		{"RFC 9999", "1.2 says", "TestOne", file, ""},
	}
	if !slices.Equal(citations, want) {
		t.Errorf("got %+v", citations)
	}
	for what, body := range map[string]string{
		"outside of a test":    `func helper(t *testing.T) { standard.Requires(t, "RFC 9999", "1 does") }`,
		"a variable":           `func TestOne(t *testing.T) { standard.Requires(t, "RFC 9999", words) }`,
		"nothing cited":        `func TestOne(t *testing.T) { standard.Requires(t, "RFC 9999") }`,
		"a reason is missing":  `func TestOne(t *testing.T) { standard.Deviates(t, "RFC 9999", "1 does") }`,
		"a method of a suite":  `func (s suite) TestOne(t *testing.T) { standard.Requires(t, "RFC 9999", "1 does") }`,
		"a sum of other sorts": `func TestOne(t *testing.T) { standard.Requires(t, "RFC 9999", "1 does"+words) }`,
	} {
		if citations, err := Gather(fstest.MapFS{"p_test.go": goFile(body)}); err == nil {
			t.Errorf("%s: %+v", what, citations)
		}
	}
}

func TestCheck(t *testing.T) {
	lists := []*List{sampleList(t)}
	good := []Citation{
		{Standard: "RFC 9999", Requirement: "1 does", Test: "TestOne"},
		{Standard: "RFC 9999", Requirement: "1.10 keeps", Test: "TestOne", Why: "It keeps half."},
	}
	if problems := Check(lists, good); len(problems) > 0 {
		t.Errorf("%q", problems)
	}
	for what, test := range map[string]struct {
		citations []Citation
		want      string
	}{
		"nothing cited":            {nil, `no test cites RFC 9999 "1 does"`},
		"a standard without list":  {append(good[:2:2], Citation{Standard: "RFC 1", Requirement: "1 does", Test: "TestTwo"}), ": TestTwo cites RFC 1, of which"},
		"a requirement of nowhere": {append(good[:2:2], Citation{Standard: "RFC 9999", Requirement: "7 x", Test: "TestTwo"}), `"7 x", which is not`},
		"one that does not arise":  {append(good[:2:2], Citation{Standard: "RFC 9999", Requirement: "2 forwards", Test: "TestTwo"}), "does not arise"},
	} {
		problems := Check(lists, test.citations)
		if len(problems) == 0 || !strings.Contains(problems[0], test.want) {
			t.Errorf("%s: %q", what, problems)
		}
	}
}

func TestDocument(t *testing.T) {
	text := Document([]*List{sampleList(t)}, []Citation{
		{"RFC 9999", "1 does", "TestOne", "a/p/p_test.go", ""},
		{"RFC 9999", "1 does", "TestOne", "a/p/p_test.go", ""},
		{"RFC 9999", "1.10 keeps", "TestTwo", "a/p/p_test.go", ""},
		{"RFC 9999", "1.10 keeps", "TestThree", "a/p/p_test.go", "It keeps this | that."},
	})
	for _, line := range []string{
		"| [RFC 9999](#rfc-9999) | Samples | 4 | 2 | 1 | 1 | 1 |",
		`| RFC 9999 1.10 | Both keep it. | It keeps this \| that. | [TestThree](../a/p/p_test.go) |`,
		"| 1 | MUST | The server does it. | does so | [TestOne](../a/p/p_test.go) |",
		"| 1.2 | SHOULD | The client says it. | binds clients |  |",
		"| 1.10 | rule | Both keep it. | [differs](#where-this-server-differs) | [TestThree](../a/p/p_test.go), [TestTwo](../a/p/p_test.go) |",
		"| 2 | MAY | The server forwards it. | does not arise: It forwards nothing. |  |",
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("there is no line %s in\n%s", line, text)
		}
	}
}

// What is not in a list fails the test that cites it.
func TestCitations(t *testing.T) {
	all, err := Lists()
	if err != nil {
		t.Fatal(err)
	}
	name, id := all[0].Name, all[0].Requirements[0].ID
	for what, test := range map[string]struct {
		cite func(t testing.TB)
		want int
	}{
		"good":                  {func(t testing.TB) { Requires(t, name, id); Deviates(t, name, id, "why") }, 0},
		"no requirement":        {func(t testing.TB) { Requires(t, name) }, 1},
		"unknown":               {func(t testing.TB) { Requires(t, name, id, "0 x"); Deviates(t, "RFC 1", id, "why") }, 2},
		"deviates for no cause": {func(t testing.TB) { Deviates(t, name, id, "") }, 1},
	} {
		r := recorder{TB: t}
		test.cite(&r)
		if r.errors != test.want {
			t.Errorf("%s: %d errors", what, r.errors)
		}
	}
}

// recorder counts the errors of a test that is to fail.
type recorder struct {
	testing.TB
	errors int
}

func (r *recorder) Error(...any)          { r.errors++ }
func (r *recorder) Errorf(string, ...any) { r.errors++ }
