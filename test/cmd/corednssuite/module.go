package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"
)

const (
	ourModule     = "github.com/gsstsig/coredns-gsstsig"
	coreDNSModule = "github.com/coredns/coredns"
)

// module is a copy of the CoreDNS module that can be changed.
type module struct {
	dir     string // temporary directory, with everything below it
	version string // of CoreDNS
}

func (m module) root() string   { return filepath.Join(m.dir, "coredns") }
func (m module) tests() string  { return filepath.Join(m.root(), "test") }
func (m module) keytab() string { return filepath.Join(m.dir, "dns.keytab") }
func (m module) record() string { return filepath.Join(m.dir, "corefiles") } // see extrablock.AddAndRecord

// copyModule copies the CoreDNS module that this module requires below dir, and lets the copy import this module. The whole
// of it, because the tests read certificates and pages of plugins.
func copyModule(ctx context.Context, dir string) (module, error) {
	m := module{dir: dir}
	if _, err := run(ctx, exec.Command("go", "mod", "download", coreDNSModule)); err != nil {
		return m, err
	}
	ours, err := list(ctx, ourModule, "{{.Dir}}")
	if err != nil {
		return m, err
	}
	coreDNS, err := list(ctx, coreDNSModule, "{{.Dir}}")
	if err != nil {
		return m, err
	}
	if m.version, err = list(ctx, coreDNSModule, "{{.Version}}"); err != nil {
		return m, err
	}
	if err := os.CopyFS(m.root(), os.DirFS(coreDNS)); err != nil {
		return m, fmt.Errorf("copy CoreDNS: %w", err)
	}
	edit := exec.Command("go", "mod", "edit", "-require="+ourModule+"@v0.0.0", "-replace="+ourModule+"="+ours)
	edit.Dir = m.root()
	if _, err := run(ctx, edit); err != nil {
		return m, err
	}
	if err := mergeSums(filepath.Join(m.root(), "go.sum"), filepath.Join(ours, "go.sum")); err != nil {
		return m, err
	}
	return m, writeKeytab(m.keytab())
}

// list returns what go list knows of a module.
func list(ctx context.Context, path, format string) (string, error) {
	text, err := run(ctx, exec.Command("go", "list", "-m", "-f", format, path))
	return strings.TrimSpace(text), err
}

// mergeSums adds the lines of the go.sum file from to the file to.
func mergeSums(to, from string) error {
	lines := make(map[string]bool)
	for _, file := range []string{to, from} {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			lines[line] = true
		}
	}
	return os.WriteFile(to, []byte(strings.Join(slices.Sorted(maps.Keys(lines)), "")), 0o600)
}

// writeKeytab writes a keytab with the key of a DNS server. No client has a ticket for it.
func writeKeytab(file string) error {
	k := keytab.New()
	if err := k.AddEntry("DNS/ns1.example.test", "EXAMPLE.TEST", "password", time.Now(), 1, 18); err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	content, err := k.Marshal()
	if err != nil {
		return fmt.Errorf("encode the keytab: %w", err)
	}
	return os.WriteFile(file, content, 0o600)
}

// build compiles the tests and returns the binary's path. overlay is empty, or a file for go build -overlay.
func (m module) build(ctx context.Context, name, overlay string) (string, error) {
	binary := filepath.Join(m.dir, name+".test")
	// -mod=mod completes go.mod and go.sum.
	cmd := exec.Command("go", "test", "-c", "-mod=mod", "-buildvcs=false", "-vet=off", "-overlay="+overlay, "-o", binary, "./test")
	cmd.Dir = m.root()
	cmd.Env = append(os.Environ(), "GOWORK=off")
	_, err := run(ctx, cmd)
	return binary, err
}
