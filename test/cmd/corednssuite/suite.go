package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// processTime bounds one process with tests. All of them take less than a minute.
const processTime = 5 * time.Minute

// list returns the names of the tests in the binary that the expression selects.
func (m module) list(ctx context.Context, binary string, selection *regexp.Regexp) ([]string, error) {
	cmd := exec.Command(binary, "-test.list", "^Test")
	cmd.Dir = m.tests()
	text, err := run(ctx, cmd)
	if err != nil {
		return nil, err
	}
	var tests []string
	for _, name := range strings.Fields(text) {
		if selection.MatchString(name) {
			tests = append(tests, name)
		}
	}
	if len(tests) == 0 {
		return nil, fmt.Errorf("CoreDNS %s has no test that matches %q", m.version, selection)
	}
	return tests, nil
}

// runTests runs the tests in one process. If a test ends the process, the tests after it run in another one.
func (m module) runTests(ctx context.Context, binary string, tests []string) (report, error) {
	all := newReport()
	for left := tests; len(left) > 0; {
		read, said, err := m.runProcess(ctx, binary, left)
		if err != nil {
			return report{}, err
		}
		all.add(read)
		still := all.missing(left)
		if len(still) == len(left) {
			return report{}, fmt.Errorf("%s ends before its first test:\n%s", binary, said)
		}
		left = still
	}
	return all, nil
}

// runProcess runs the tests in one process, as far as that comes. said is the end of what the process has written.
func (m module) runProcess(ctx context.Context, binary string, tests []string) (read report, said string, err error) {
	temporary := filepath.Join(m.dir, "tmp")
	if err := os.MkdirAll(temporary, 0o700); err != nil {
		return report{}, "", err
	}
	cmd := exec.Command(binary, "-test.v=test2json", "-test.timeout="+processTime.String(), "-test.run=^("+strings.Join(tests, "|")+")$")
	cmd.Dir = m.tests()
	cmd.Env = append(os.Environ(), "TMPDIR="+temporary)
	text, failed := run(ctx, cmd) // fails where a test does
	if ctx.Err() != nil {
		return report{}, "", ctx.Err()
	}
	convert := exec.Command("go", "tool", "test2json")
	convert.Stdin = strings.NewReader(text)
	events, err := run(ctx, convert)
	if err != nil {
		return report{}, "", err
	}
	read, err = readEvents(strings.NewReader(events))
	said = tail(text)
	if failed != nil {
		said += failed.Error()
	}
	return read, said, err
}
