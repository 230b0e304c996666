package tested

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
)

// row is a client of one series of versions with all that was tried of it.
type row struct {
	client, version string
	paths           []string // sorted
	failed          map[string]bool
}

// key tells rows apart.
func key(client, version string) string { return client + " " + series(version) }

// rows puts entries of the same client in the same series together, in the order of the clients' names and versions.
func rows(entries []Entry) []row {
	var all []row
	for _, e := range entries {
		i := slices.IndexFunc(all, func(r row) bool { return key(r.client, r.version) == key(e.Client, e.Version) })
		if i < 0 {
			i = len(all)
			all = append(all, row{client: e.Client, version: e.Version, failed: make(map[string]bool)})
		}
		if !slices.Contains(all[i].paths, e.Path) {
			all[i].paths = append(all[i].paths, e.Path)
		}
		all[i].failed[e.Path] = all[i].failed[e.Path] || e.Failed
	}
	for _, r := range all {
		slices.Sort(r.paths)
	}
	slices.SortFunc(all, func(a, b row) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.client), strings.ToLower(b.client)), compareVersions(a.version, b.version))
	})
	return all
}

// Table is what was tried, one line for each client.
func Table(entries []Entry) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "client\tversion\tpassed\tpaths tried")
	for _, r := range rows(entries) {
		passed := len(r.paths)
		var names []string
		for _, path := range r.paths {
			if r.failed[path] {
				passed--
				path += " (FAILED)"
			}
			names = append(names, path)
		}
		fmt.Fprintf(w, "%s\t%s\t%d of %d\t%s\n", r.client, r.version, passed, len(names), strings.Join(names, "; "))
	}
	_ = w.Flush() // a strings.Builder takes everything
	return text.String()
}

// The README's table stands between these lines.
const (
	begin = "<!-- tested with: `make tested` writes this table -->\n"
	end   = "<!-- end of tested with -->\n"
)

// errNoPlace means that the text lacks the two lines that the table stands between.
var errNoPlace = errors.New("there is no place for the table: " + strings.TrimSpace(begin) + " and " + strings.TrimSpace(end))

// cut splits a text at the table.
func cut(text string) (before, table, after string, err error) {
	before, rest, found := strings.Cut(text, begin)
	table, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return "", "", "", errNoPlace
	}
	return before, table, after, nil
}

// Write returns the text with its table replaced by that of what was tried.
func Write(text string, entries []Entry) (string, error) {
	before, _, after, err := cut(text)
	if err != nil {
		return "", err
	}
	var table strings.Builder
	table.WriteString("\n| client | version | tried |\n| --- | --- | --- |\n")
	for _, r := range rows(entries) {
		fmt.Fprintf(&table, "| %s | %s | %s |\n", r.client, r.version, strings.Join(r.paths, "; "))
	}
	return before + begin + table.String() + "\n" + end + after, nil
}

// Differences tells in what a text's table differs from what was tried, one line for each, nothing when it does not. Of
// versions the first two numbers count.
func Differences(text string, entries []Entry) ([]string, error) {
	_, table, _, err := cut(text)
	if err != nil {
		return nil, err
	}
	written := make(map[string][]string) // paths, by key
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) != 3 || strings.HasPrefix(line, "| client |") || strings.HasPrefix(line, "| --- |") {
			continue
		}
		written[key(strings.TrimSpace(cells[0]), cells[1])] = strings.Split(strings.TrimSpace(cells[2]), "; ")
	}
	var lines []string
	for _, r := range rows(entries) {
		name := key(r.client, r.version)
		has, found := written[name]
		if !found {
			lines = append(lines, name+" was tried and is not there")
			continue
		}
		delete(written, name)
		for _, path := range r.paths {
			if !slices.Contains(has, path) {
				lines = append(lines, fmt.Sprintf("%s: %q was tried and is not there", name, path))
			}
		}
		for _, path := range has {
			if !slices.Contains(r.paths, path) {
				lines = append(lines, fmt.Sprintf("%s: %q is there and was not tried", name, path))
			}
		}
	}
	for name := range written {
		lines = append(lines, name+" is there and was not tried")
	}
	slices.Sort(lines)
	return lines, nil
}
