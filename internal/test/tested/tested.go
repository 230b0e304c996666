// Package tested keeps account of which clients the end-to-end tests ran, in which version, and what of them: the table
// that "make test" ends with, and that the README has as "Tested with".
//
// A test names a client and a way of using it by [Path]. TestMain ends with [Print]. When all packages of tests are
// through, the program in report puts their accounts together and compares them with the README.
package tested

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/test/debian13"
)

// Environment variable with the directory that the accounts go to, one file for each package of tests.
const directoryVariable = "TESTED_WITH"

// Client is a program that the server is tested with. It has its version from Package or from Module; without both it is one
// of this module, which is as old as the server.
type Client struct {
	Name      string
	Package   string // Debian's
	Debian13  bool   // of Debian 13, wherever the other programs come from
	Module    string // of this module's build, or of that in ModuleDir
	ModuleDir string // of a module below test
}

// Entry is one way of using a client that was tried.
type Entry struct {
	Client  string
	Version string // upstream's: without what Debian adds to it
	Path    string
	Failed  bool
}

type path struct {
	client Client
	name   string
	failed bool
}

var (
	mu    sync.Mutex // guards what follows
	paths []*path
)

// Path notes that the test, or what of it follows, tries a client in the way that name says. It is safe for concurrent
// use.
func Path(t *testing.T, client Client, name string) {
	t.Helper()
	p := &path{client: client, name: name}
	mu.Lock()
	paths = append(paths, p)
	mu.Unlock()
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		p.failed = t.Failed()
	})
}

// Print prints what was tried to standard output, and writes it into a file of the given name where the environment
// says so. It is for the end of TestMain.
func Print(name string) error {
	entries := account(version)
	if len(entries) == 0 {
		return nil
	}
	fmt.Print(Table(entries))
	dir := os.Getenv(directoryVariable)
	if dir == "" {
		return nil
	}
	text, err := json.MarshalIndent(entries, "", "\t")
	if err != nil {
		return err
	}
	if debian13.Chosen() {
		name += "-debian13" // beside the account of the same package with the machine's programs
	}
	return os.WriteFile(filepath.Join(dir, name), text, 0o644)
}

// Read reads the accounts of all packages that Print wrote into a directory.
func Read(dir string) ([]Entry, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			return nil, err
		}
		var entries []Entry
		if err := json.Unmarshal(text, &entries); err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name(), err)
		}
		all = append(all, entries...)
	}
	return all, nil
}

// account is what was tried so far. A path that was tried several times is one entry, which has failed if it did once.
func account(version func(Client) string) []Entry {
	mu.Lock()
	defer mu.Unlock()
	var entries []Entry
	versions := make(map[Client]string)
	for _, p := range paths {
		if _, known := versions[p.client]; !known {
			versions[p.client] = version(p.client)
		}
		e := Entry{Client: p.client.Name, Version: versions[p.client], Path: p.name}
		at := slices.IndexFunc(entries, func(other Entry) bool {
			other.Failed = false
			return other == e
		})
		if at < 0 {
			at, entries = len(entries), append(entries, e)
		}
		entries[at].Failed = entries[at].Failed || p.failed
	}
	return entries
}
