package krb5

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/internal/regular"
)

// Bounds on a krb5.conf, which an administrator wrote.
const (
	maxConfiguration = 1 << 20
	maxIncludes      = 64
	maxIncludeDepth  = 8
)

// ReadTransitPolicy takes the section [capaths] from a krb5.conf and what it
// includes:
//
//	[capaths]
//	    CLIENT.TEST = {
//	        SERVICE.TEST = MIDDLE.TEST
//	        OTHER.TEST = .
//	    }
//
// The realms between those of a client and a service come on several lines or
// on one; "." stands for none. A file without such a section leaves the
// hierarchy. Errors name the file and the line.
func ReadTransitPolicy(file string) (*TransitPolicy, error) {
	p := &TransitPolicy{paths: make(map[realmPair][]string)}
	r := capathsReader{paths: p.paths}
	if err := r.file(file, 0); err != nil {
		return nil, err
	}
	return p, nil
}

// capathsReader collects paths from a file and its includes.
type capathsReader struct {
	paths    map[realmPair][]string
	includes int
}

func (r *capathsReader) file(name string, depth int) error {
	if r.includes++; depth > maxIncludeDepth || r.includes > maxIncludes {
		return fmt.Errorf("krb5.conf %s: too many files include each other", name)
	}
	f, err := regular.Open(name)
	if err != nil {
		return fmt.Errorf("krb5.conf: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfiguration+1))
	if err == nil && len(b) > maxConfiguration {
		err = fmt.Errorf("larger than %d octets", maxConfiguration)
	}
	if err != nil {
		return fmt.Errorf("krb5.conf %s: %w", name, err)
	}
	var (
		section string
		open    []string // the names of the braces that are open
	)
	line := 0
	for text := range bytes.Lines(b) {
		line++
		s := strings.TrimSpace(string(text))
		at := func(err error) error { return fmt.Errorf("krb5.conf %s, line %d: %w", name, line, err) }
		switch {
		case s == "" || s[0] == '#' || s[0] == ';':
		case s[0] == '[':
			end := strings.IndexByte(s, ']')
			if end < 0 || len(open) > 0 {
				return at(errors.New("a section begins inside another, or its name is not closed"))
			}
			section = strings.TrimSpace(s[1:end])
		case len(open) == 0 && (strings.HasPrefix(s, "include ") || strings.HasPrefix(s, "includedir ")):
			directive, path, _ := strings.Cut(s, " ")
			if err := r.include(directive, strings.TrimSpace(path), depth); err != nil {
				return at(err)
			}
		case section != "capaths":
			// Other sections belong to others, who may allow more.
		case s[0] == '}':
			if len(open) == 0 {
				return at(errors.New("} without {"))
			}
			open = open[:len(open)-1]
		default:
			key, value, found := strings.Cut(s, "=")
			key, value = strings.TrimSpace(key), strings.TrimSpace(value)
			key = strings.TrimSuffix(key, "*")
			switch {
			case !found || key == "":
				return at(errors.New("neither NAME = VALUE nor NAME = {"))
			case value == "{" && len(open) == 0:
				open = append(open, key)
			case value == "{" || len(open) == 0:
				return at(errors.New("in [capaths] every client's realm has one pair of braces with realms in it"))
			default:
				r.add(open[0], key, value)
			}
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("krb5.conf %s: { is not closed", name)
	}
	return nil
}

func (r *capathsReader) add(client, service, value string) {
	pair := realmPair{client, service}
	list := r.paths[pair]
	for _, realm := range strings.FieldsFunc(strings.Trim(value, `"`), func(c rune) bool { return c == ' ' || c == '\t' || c == ',' }) {
		if realm != "." {
			list = append(list, realm)
		}
	}
	r.paths[pair] = list
}

// include reads a file, or those of a directory whose names MIT Kerberos
// would take: of letters, digits, "-" and "_" only, or ending in ".conf".
func (r *capathsReader) include(directive, path string, depth int) error {
	if directive == "include" {
		return r.file(path, depth+1)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		plain := !strings.ContainsFunc(e.Name(), func(c rune) bool {
			return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_')
		})
		if !e.IsDir() && (plain || strings.HasSuffix(e.Name(), ".conf") && e.Name()[0] != '.') {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	for _, n := range names {
		if err := r.file(filepath.Join(path, n), depth+1); err != nil {
			return err
		}
	}
	return nil
}
