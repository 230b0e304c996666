package standard

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Check returns what is wrong with the citations, nothing if they and the lists fit together.
func Check(lists []*List, citations []Citation) []string {
	var problems []string
	for _, c := range citations {
		test := c.File + ": " + c.Test
		i := slices.IndexFunc(lists, func(l *List) bool { return l.Name == c.Standard })
		switch {
		case i < 0:
			problems = append(problems, fmt.Sprintf("%s cites %s, of which there is no list", test, c.Standard))
		case lists[i].find(c.Requirement) == nil:
			problems = append(problems, fmt.Sprintf("%s cites %s %q, which is not in its list", test, c.Standard, c.Requirement))
		case lists[i].find(c.Requirement).NotHere != "":
			problems = append(problems, fmt.Sprintf("%s cites %s %q, of which the list says that it does not arise here", test, c.Standard, c.Requirement))
		}
	}
	for _, l := range lists {
		for _, r := range l.Requirements {
			if r.needsTest() && len(of(citations, l, &r)) == 0 {
				problems = append(problems, fmt.Sprintf("no test cites %s %q: %s", l.Name, r.ID, r.Text))
			}
		}
	}
	return problems
}

// of returns the citations of one requirement, each test once, deviations first.
func of(citations []Citation, l *List, r *Requirement) []Citation {
	var found []Citation
	for _, c := range citations {
		if c.Standard == l.Name && c.Requirement == r.ID {
			found = append(found, c)
		}
	}
	slices.SortStableFunc(found, func(a, b Citation) int {
		return cmp.Or(-cmp.Compare(min(1, len(a.Why)), min(1, len(b.Why))), cmp.Compare(a.Test, b.Test), cmp.Compare(a.File, b.File))
	})
	return slices.CompactFunc(found, func(a, b Citation) bool { return a == b })
}

const introduction = `# Standards

<!-- go test ./test/layout -run TestStandards -update writes this file -->

What the standards require of a DNS server that takes GSS-TSIG updates, what this server does, and the test that shows it.
Each row is one requirement, in other words than the standard's. The keyword is the standard's own; *rule* stands where it
says what is done without such a word.

This file is written from the tests and from the lists in ` + "`internal/test/standard`" + `: a test cites the requirements that it
fails without. A requirement without a test fails ` + "`go test ./test/layout`" + `, as does a test that cites what no list has.
Tests with many cases name them by the section: ` + "`go test ./zone -run 'TestUpdateClauses/3.4.2.3'`" + `.

`

// Document is docs/standards.md.
func Document(lists []*List, citations []Citation) string {
	var text strings.Builder
	text.WriteString(introduction)
	text.WriteString("| standard | | requirements | tested | of these, differs | does not arise | binds others |\n")
	text.WriteString("| --- | --- | ---: | ---: | ---: | ---: | ---: |\n")
	for _, l := range lists {
		var tested, differs, notHere, others int
		for _, r := range l.Requirements {
			cited := of(citations, l, &r)
			switch {
			case len(cited) > 0:
				tested++
				if cited[0].Why != "" {
					differs++
				}
			case r.NotHere != "":
				notHere++
			default:
				others++
			}
		}
		fmt.Fprintf(&text, "| [%s](#%s) | %s | %d | %d | %d | %d | %d |\n", l.Name, anchor(l), l.Title, len(l.Requirements), tested, differs, notHere, others)
	}

	text.WriteString("\n## Where this server differs\n\n| section | requirement | this server, and why | test |\n| --- | --- | --- | --- |\n")
	for _, l := range lists {
		for _, r := range l.Requirements {
			for _, c := range of(citations, l, &r) {
				if c.Why != "" {
					fmt.Fprintf(&text, "| %s %s | %s | %s | %s |\n", l.Name, r.Section, cell(r.Text), cell(c.Why), link(c))
				}
			}
		}
	}

	for _, l := range lists {
		fmt.Fprintf(&text, "\n## %s\n\n%s, <%s>\n\n", l.Name, l.Title, l.address())
		text.WriteString("| section | keyword | requirement | this server | tests |\n| --- | --- | --- | --- | --- |\n")
		for _, r := range l.Requirements {
			cited := of(citations, l, &r)
			var tests []string
			for _, c := range cited {
				if cell := link(c); !slices.Contains(tests, cell) {
					tests = append(tests, cell)
				}
			}
			behaviour := "does so"
			switch {
			case len(cited) > 0 && cited[0].Why != "":
				behaviour = "[differs](#where-this-server-differs)"
			case len(cited) > 0:
			case r.NotHere != "":
				behaviour = "does not arise: " + r.NotHere
			case r.Party == Client:
				behaviour = "binds clients"
			default:
				behaviour = "binds others"
			}
			fmt.Fprintf(&text, "| %s | %s | %s | %s | %s |\n", r.Section, r.Keyword, cell(r.Text), cell(behaviour), strings.Join(tests, ", "))
		}
	}
	return text.String()
}

// anchor is the fragment of a list's heading.
func anchor(l *List) string { return strings.ToLower(strings.ReplaceAll(l.Name, " ", "-")) }

// cell is text in a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// link leads from the document to the file of a test.
func link(c Citation) string {
	return fmt.Sprintf("[%s](%s)", c.Test, path.Join("..", c.File))
}
