//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
)

// unitFile is the unit that comes with the binary.
var unitFile = filepath.Join("..", "..", "coredns-build", "coredns.service")

// TestServiceUnit has systemd read the unit that comes with the binary. It says what it does not know or find.
func TestServiceUnit(t *testing.T) {
	t.Parallel()
	path, err := process.LookPath("systemd-analyze")
	if err != nil {
		t.Fatal(err)
	}
	unit, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	binary, err := shared.coredns()
	if err != nil {
		t.Fatal(err)
	}
	verify := func(text string) string {
		t.Helper()
		copied := filepath.Join(t.TempDir(), "coredns.service")
		if err := os.WriteFile(copied, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		output, err := exec.CommandContext(testContext(t), path, "verify", copied).CombinedOutput()
		if err != nil {
			t.Errorf("%v", err)
		}
		return string(output)
	}
	// The package brings the page of the manual, too.
	text := strings.NewReplacer("/usr/bin/coredns", binary, "man:coredns-gsstsig(8) ", "").Replace(string(unit))
	if said := verify(text); said != "" {
		t.Errorf("systemd says: %s", said)
	}
	if said := verify(strings.Replace(text, "ProtectSystem=", "ProtectSistem=", 1)); !strings.Contains(said, "ProtectSistem") {
		t.Errorf("of an option that it does not know systemd says %q", said)
	}
	// systemd's own verdict, from 0 (best) to 100.
	if output, err := exec.CommandContext(testContext(t), path, "security", "--offline=true", "--threshold=20", "--no-pager", unitFile).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestServiceUnitSystemCalls runs the server as it is delivered, and wants all its system calls to be among those that the
// unit permits: systemd makes the kernel refuse the others.
func TestServiceUnitSystemCalls(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	dir := t.TempDir()
	binary, err := server.BuildRelease(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	// With -D the server is the process that is started, and strace a child of it.
	traced, calls := filepath.Join(dir, "traced"), filepath.Join(dir, "calls")
	script := fmt.Sprintf("#!/bin/sh\nexec strace -D -f -qq -e signal=none -o %s %s \"$@\"\n", calls, binary)
	if err := os.WriteFile(traced, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	database := filepath.Join(dir, "database")
	corefile := block(forwardZone, shared.keytab, "database "+database)
	s, err := server.Start(ctx, server.Config{Binary: traced, Corefile: corefile, Probe: forwardZone})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	client := logIn(t, host1)
	for i := range 3 {
		outcome := nsupdate(ctx, t, s.Address, "-g", client.env, fmt.Sprintf("update add calls%d.example.test 300 A 192.0.2.1", i))
		if outcome.Rcode != "NOERROR" {
			t.Fatalf("nsupdate:\n%s", outcome.Output)
		}
	}
	if _, err := dnsutils.Dig(ctx, s.Address, "calls0.example.test", "A", "+short", "+tcp"); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}

	permitted := unitSystemCalls(ctx, t)
	made, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for line := range strings.Lines(string(made)) {
		// PID NAME(ARGUMENTS...
		_, call, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, _, found := strings.Cut(strings.TrimSpace(call), "(")
		if !found || strings.Contains(name, " ") || seen[name] { // such as "<... futex resumed>"
			continue
		}
		seen[name] = true
		if !permitted[name] {
			t.Errorf("the unit does not permit %s", strings.TrimSpace(call))
		}
	}
	for _, name := range []string{"fdatasync", "recvmmsg", "sendmmsg", "accept4"} {
		if !seen[name] {
			t.Errorf("strace did not see %s", name)
		}
	}
}

// unitSystemCalls is what the lines SystemCallFilter of the unit come to.
func unitSystemCalls(ctx context.Context, t *testing.T) map[string]bool {
	t.Helper()
	path, err := process.LookPath("systemd-analyze")
	if err != nil {
		t.Fatal(err)
	}
	unit, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	groups := make(map[string][]string)
	listed, err := exec.CommandContext(ctx, path, "syscall-filter", "--no-pager").Output()
	if err != nil {
		t.Fatal(err)
	}
	group := ""
	for line := range strings.Lines(string(listed)) {
		switch word := strings.TrimSpace(line); {
		case strings.HasPrefix(line, "@"):
			group = word
		case word != "" && !strings.HasPrefix(word, "#"):
			groups[group] = append(groups[group], word)
		}
	}
	permitted := make(map[string]bool)
	var set func(word string, to bool)
	set = func(word string, to bool) {
		if !strings.HasPrefix(word, "@") {
			permitted[word] = to
			return
		}
		if groups[word] == nil {
			t.Fatalf("systemd does not know the group %s", word)
		}
		for _, member := range groups[word] {
			set(member, to)
		}
	}
	for line := range strings.Lines(string(unit)) {
		words, found := strings.CutPrefix(strings.TrimSpace(line), "SystemCallFilter=")
		if !found {
			continue
		}
		words, denied := strings.CutPrefix(words, "~")
		for _, word := range strings.Fields(words) {
			set(word, !denied)
		}
	}
	if len(permitted) == 0 {
		t.Fatal("the unit has no SystemCallFilter")
	}
	return permitted
}
