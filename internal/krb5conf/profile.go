package krb5conf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	// maxSize bounds what is read of all files together, in octets.
	maxSize = 1 << 20
	// maxIncludes bounds how deep files include each other, which may be in a circle.
	maxIncludes = 16
)

// A profile is what several files say, as MIT's library reads them. A relation that is in more of them has the values of all, those
// of the first file first.
type profile []*node

// A node is a section, or a relation, which has a value.
type node struct {
	name     string
	value    string
	section  bool
	final    bool // a section that later files have no part in
	children []*node
}

// readProfile reads a list of files, separated as in PATH. Those that are missing, or that the user may not read, are passed over
// if there is one that is not.
func readProfile(list string) (profile, error) {
	var p profile
	var missing []error
	r := &reader{left: maxSize}
	for _, file := range filepath.SplitList(list) {
		if file == "" {
			break // as for MIT's library
		}
		root := &node{section: true}
		switch err := r.file(file, root, 0); {
		case err == nil:
			p = append(p, root)
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission):
			missing = append(missing, err)
		default:
			return nil, err
		}
	}
	if p == nil {
		return nil, errors.Join(missing...)
	}
	return p, nil
}

// values returns the values of a relation, which is named by its sections and its own name.
func (p profile) values(path ...string) (values []string) {
	for _, section := range p.sections(path[:len(path)-1]...) {
		for _, child := range section.children {
			if child.name == path[len(path)-1] && !child.section {
				values = append(values, child.value)
			}
		}
	}
	return values
}

// names returns what is in a section, each name once: its sections or its relations.
func (p profile) names(sections bool, path ...string) (names []string) {
	seen := make(map[string]bool)
	for _, section := range p.sections(path...) {
		for _, child := range section.children {
			if child.section == sections && !seen[child.name] {
				seen[child.name] = true
				names = append(names, child.name)
			}
		}
	}
	return names
}

// sections returns the section of that path in each file, up to the first file where it, or one around it, is final.
func (p profile) sections(path ...string) (found []*node) {
	for _, at := range p {
		final := false
		for _, name := range path {
			if at = at.child(name); at == nil {
				break
			}
			final = final || at.final
		}
		if at != nil {
			found = append(found, at)
		}
		if final {
			break
		}
	}
	return found
}

// child returns the section of that name, nil if there is none.
func (n *node) child(name string) *node {
	for _, child := range n.children {
		if child.section && child.name == name {
			return child
		}
	}
	return nil
}

// subsection returns the section of that name, which it makes if there is none.
func (n *node) subsection(name string) *node {
	child := n.child(name)
	if child == nil {
		child = &node{name: name, section: true}
		n.children = append(n.children, child)
	}
	return child
}

// reader reads files.
type reader struct {
	left int // how many octets may be read
}

// file reads a file into root. A device such as /dev/null is a file too. That it is missing is an error of package fs; that one
// which it includes is missing is not.
func (r *reader) file(name string, root *node, depth int) error {
	if depth > maxIncludes {
		return fmt.Errorf("%s: files include each other more than %d deep", name, maxIncludes)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(r.left)+1))
	if err != nil {
		return err
	}
	if len(text) > r.left {
		return fmt.Errorf("%s: there are more than %d octets in all", name, maxSize)
	}
	r.left -= len(text)
	p := parser{path: []*node{root}}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if err := r.line(&p, strings.TrimRight(string(line), spaces), depth); err != nil {
			return fmt.Errorf("%s:%d: %v", name, number, err)
		}
	}
	return nil
}

// spaces are what C takes for white space.
const spaces = " \t\n\v\f\r"

// line takes one line, without the white space at its end.
func (r *reader) line(p *parser, line string, depth int) error {
	if end := strings.IndexAny(line+" ", spaces); end > 0 {
		argument := strings.TrimLeft(line[end:], spaces)
		switch line[:end] {
		case "include":
			return r.file(argument, p.path[0], depth+1)
		case "includedir":
			return r.directory(argument, p.path[0], depth+1)
		}
	}
	return p.line(line)
}

// directory reads the files of a directory in the order of their names.
func (r *reader) directory(name string, root *node, depth int) error {
	entries, err := os.ReadDir(name)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if includable(entry.Name()) {
			if err := r.file(filepath.Join(name, entry.Name()), root, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// includable reports whether includedir takes a file of that name: not what editors and packages leave beside the files.
func includable(name string) bool {
	if strings.HasSuffix(name, ".conf") && !strings.HasPrefix(name, ".") {
		return true
	}
	return strings.IndexFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	}) < 0
}

// parser reads the lines of one file.
type parser struct {
	path  []*node // from the root of the file's entry to the section that lines belong to
	brace bool    // the next line begins a section
}

func (p *parser) line(line string) error {
	if p.brace {
		if !strings.HasPrefix(strings.TrimLeft(line, spaces), "{") {
			return errors.New("expected {")
		}
		p.brace = false
		return nil
	}
	if len(p.path) == 1 && !strings.HasPrefix(line, "[") {
		return nil // in front of the first section all is a comment
	}
	line = strings.TrimLeft(line, spaces)
	switch {
	case line == "" || line[0] == ';' || line[0] == '#':
		return nil
	case line[0] == '[':
		return p.header(line[1:])
	case line[0] == '}':
		if len(p.path) < 3 {
			return errors.New("a } without {")
		}
		if strings.HasPrefix(line, "}*") {
			p.path[len(p.path)-1].final = true
		}
		p.path = p.path[:len(p.path)-1]
		return nil
	}
	return p.relation(line)
}

// header takes a line with the name of a section, after the bracket.
func (p *parser) header(line string) error {
	if len(p.path) > 2 {
		return errors.New("a section begins in another one: a } is missing")
	}
	name, rest, ok := strings.Cut(line, "]")
	if !ok {
		return errors.New("expected ]")
	}
	section := p.path[0].subsection(name)
	if strings.HasPrefix(rest, "*") {
		section.final = true
		rest = rest[1:]
	}
	if rest = strings.TrimLeft(rest, spaces); rest != "" && rest[0] != ';' && rest[0] != '#' {
		return errors.New("expected nothing after ]")
	}
	p.path = []*node{p.path[0], section}
	return nil
}

// relation takes a line with a name and a value, or the beginning of a section.
func (p *parser) relation(line string) error {
	name, value, ok := strings.Cut(line, "=")
	name = strings.TrimRight(name, spaces)
	if !ok || name == "" || strings.ContainsAny(name, spaces) {
		return errors.New("expected NAME = VALUE")
	}
	name, _, final := strings.Cut(name, "*")
	value = strings.TrimLeft(value, spaces)
	last := p.path[len(p.path)-1]
	switch {
	case value == "" || value[0] == '{' && strings.TrimLeft(value[1:], spaces) == "":
		p.brace = value == ""
		section := last.subsection(name)
		section.final = section.final || final
		p.path = append(p.path, section)
	case value[0] == '"':
		last.children = append(last.children, &node{name: name, value: unquote(value[1:])})
	default:
		last.children = append(last.children, &node{name: name, value: value})
	}
	return nil
}

// unquote returns what is in front of the closing quotation mark.
func unquote(value string) string {
	var text strings.Builder
	for i := 0; i < len(value) && value[i] != '"'; i++ {
		c := value[i]
		if c == '\\' && i+1 < len(value) {
			i++
			switch c = value[i]; c {
			case 'n':
				c = '\n'
			case 't':
				c = '\t'
			case 'b':
				c = '\b'
			}
		}
		text.WriteByte(c)
	}
	return text.String()
}
