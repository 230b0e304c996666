// Package tested keeps account of which clients the end-to-end tests ran, in which version, and what of them: the table
// that "make test" ends with.
package tested

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// Environment variable with the directory that the tables go to, one file for each package of tests.
const directoryVariable = "TESTED_WITH"

// Client is a program that the server is tested with.
type Client struct {
	Name    string
	Package string // Debian's, which has the version; empty for one of this module, which is as old as the server
}

type path struct {
	client Client
	name   string
	failed bool
}

var (
	mu    sync.Mutex
	paths []*path
)

// Path notes that the test, or what of it follows, tries a client in the way that name says.
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

// Print prints the table to standard output, and into a file of the given name where the environment says so. It is for
// the end of TestMain.
func Print(name string) error {
	table := Table(version)
	if table == "" {
		return nil
	}
	fmt.Print(table)
	dir := os.Getenv(directoryVariable)
	if dir == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, name), []byte(table), 0o644)
}

// Table is what was tried so far, one line for each client. Version tells that of a package.
func Table(version func(pkg string) string) string {
	mu.Lock()
	defer mu.Unlock()
	var clients []Client
	of := make(map[Client][]*path)
	for _, p := range paths {
		if !slices.Contains(clients, p.client) {
			clients = append(clients, p.client)
		}
		of[p.client] = append(of[p.client], p)
	}
	if len(clients) == 0 {
		return ""
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "client\tversion\tpassed\tpaths tried")
	for _, client := range clients {
		var names []string
		passed := 0
		for _, p := range of[client] {
			name := p.name
			if p.failed {
				name += " (FAILED)"
			} else {
				passed++
			}
			names = append(names, name)
		}
		fmt.Fprintf(w, "%s\t%s\t%d of %d\t%s\n", client.Name, version(client.Package), passed, len(names), strings.Join(names, ", "))
	}
	_ = w.Flush() // a strings.Builder takes everything
	return text.String()
}

// Version is the client's, "unknown" where Debian's package is not installed.
func (c Client) Version() string { return version(c.Package) }

// version asks Debian's package database.
func version(pkg string) string {
	if pkg == "" {
		return "this one"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	output, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Version}", pkg).Output()
	if err != nil {
		return "unknown"
	}
	return string(output)
}
