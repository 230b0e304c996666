package standard

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Party is whom a requirement binds.
type Party string

const (
	Server Party = "server"
	Client Party = "client"
	Both   Party = "both"
	Others Party = "others" // a KDC, an administrator, authors of other standards
)

// Requirement is one statement of a standard about what somebody does.
type Requirement struct {
	ID      string // section and some words, as tests cite it
	Section string
	Keyword string
	Party   Party
	Text    string
	NotHere string // why it does not arise in this server; empty if it does
}

// needsTest reports whether a test has to cite the requirement.
func (r *Requirement) needsTest() bool {
	return r.NotHere == "" && (r.Party == Server || r.Party == Both)
}

// List is a standard with its requirements, in the order of its sections.
type List struct {
	Name         string // "RFC 2136"
	Title        string
	Requirements []Requirement
}

func (l *List) find(id string) *Requirement {
	if i := slices.IndexFunc(l.Requirements, func(r Requirement) bool { return r.ID == id }); i >= 0 {
		return &l.Requirements[i]
	}
	return nil
}

// number is that of the RFC, 0 for another standard.
func (l *List) number() int {
	n, _ := strconv.Atoi(strings.TrimPrefix(l.Name, "RFC "))
	return n
}

// named reports whether the name is that of an RFC, or of a protocol of Microsoft's Open Specifications.
func (l *List) named() bool {
	return l.number() > 0 || strings.HasPrefix(l.Name, "MS-") && len(l.Name) > 3
}

// address is where the standard can be read.
func (l *List) address() string {
	if n := l.number(); n > 0 {
		return fmt.Sprintf("https://www.rfc-editor.org/rfc/rfc%d", n)
	}
	return "https://learn.microsoft.com/openspecs/windows_protocols/" + strings.ToLower(l.Name)
}

// compareLists orders RFCs by their numbers, and others behind them by their names.
func compareLists(a, b *List) int {
	if (a.number() == 0) != (b.number() == 0) {
		return b.number() - a.number()
	}
	return cmp.Or(cmp.Compare(a.number(), b.number()), cmp.Compare(a.Name, b.Name))
}

// Lists reads the lists of all standards, RFCs first.
func Lists() ([]*List, error) { return lists() }

var lists = sync.OnceValues(func() ([]*List, error) {
	names, err := fs.Glob(files, "lists/*.txt")
	if err != nil {
		return nil, err
	}
	var all []*List
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		list, err := parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, list)
	}
	slices.SortFunc(all, compareLists)
	return all, nil
})

func listOf(standard string) (*List, error) {
	all, err := Lists()
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(all, func(l *List) bool { return l.Name == standard }); i >= 0 {
		return all[i], nil
	}
	return nil, fmt.Errorf("there is no list of %s", standard)
}

// parse reads one list. Its first line is the standard's name and title; empty lines and those that begin with # are
// comments.
func parse(text string) (*List, error) {
	list := new(List)
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if list.Name == "" {
			var found bool
			if list.Name, list.Title, found = strings.Cut(line, ": "); !found || !list.named() {
				return nil, fmt.Errorf("line %d: %q is neither RFC NUMBER: TITLE nor MS-NAME: TITLE", i+1, line)
			}
			continue
		}
		requirement, err := parseRequirement(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if list.find(requirement.ID) != nil {
			return nil, fmt.Errorf("line %d: %q is there twice", i+1, requirement.ID)
		}
		if n := len(list.Requirements); n > 0 && compareSections(requirement.Section, list.Requirements[n-1].Section) < 0 {
			return nil, fmt.Errorf("line %d: section %s comes after %s", i+1, requirement.Section, list.Requirements[n-1].Section)
		}
		list.Requirements = append(list.Requirements, requirement)
	}
	if len(list.Requirements) == 0 {
		return nil, fmt.Errorf("no requirements")
	}
	return list, nil
}

func parseRequirement(line string) (Requirement, error) {
	fields := strings.Split(line, " | ")
	if len(fields) < 4 || len(fields) > 5 {
		return Requirement{}, fmt.Errorf("%d fields in %q, 4 or 5 are due", len(fields), line)
	}
	r := Requirement{ID: fields[0], Keyword: fields[1], Party: Party(fields[2]), Text: fields[3]}
	var words string
	r.Section, words, _ = strings.Cut(r.ID, " ")
	if len(fields) == 5 {
		var found bool
		if r.NotHere, found = strings.CutPrefix(fields[4], "not here: "); !found {
			return Requirement{}, fmt.Errorf("the last field of %q does not begin with %q", r.ID, "not here: ")
		}
	}
	switch {
	case words == "" || r.Keyword == "" || r.Text == "":
		return Requirement{}, fmt.Errorf("an empty field in %q", line)
	case !slices.Contains([]Party{Server, Client, Both, Others}, r.Party):
		return Requirement{}, fmt.Errorf("%q: nobody is called %s", r.ID, r.Party)
	case !strings.HasSuffix(r.Text, ".") || r.NotHere != "" && !strings.HasSuffix(r.NotHere, "."):
		return Requirement{}, fmt.Errorf("%q: no sentence", r.ID)
	}
	return r, nil
}

// compareSections orders by the numbers of the sections.
func compareSections(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) // without leading zeros
	})
}
