package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// outputLines is how many lines of a test's output are kept, the last ones.
const outputLines = 30

// report is what one process has told of its tests.
type report struct {
	results results
	output  map[string][]string // of each test, the last lines
}

func newReport() report { return report{make(results), make(map[string][]string)} }

// readEvents reads what go test -json prints (see go doc test2json). A test that was running when the process ended has
// failed. A parallel test that was waiting for its turn has no outcome.
func readEvents(r io.Reader) (report, error) {
	read := newReport()
	running := make(map[string]bool)
	for decoder := json.NewDecoder(r); ; {
		var event struct{ Action, Test, Output string }
		if err := decoder.Decode(&event); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return report{}, fmt.Errorf("read what the tests printed: %w", err)
		}
		if event.Test == "" {
			continue
		}
		switch event.Action {
		case "run", "cont":
			running[event.Test] = true
		case "pause":
			delete(running, event.Test)
		case "pass", "fail", "skip":
			delete(running, event.Test)
			read.results[event.Test] = event.Action
		case "output":
			lines := append(read.output[event.Test], event.Output)
			read.output[event.Test] = lines[max(0, len(lines)-outputLines):]
		}
	}
	for test := range running {
		read.results[test] = "fail"
	}
	return read, nil
}

// add takes over what another process has told of other tests.
func (r report) add(other report) {
	maps.Copy(r.results, other.results)
	maps.Copy(r.output, other.output)
}

// missing returns the tests that have no outcome.
func (r report) missing(tests []string) []string {
	return slices.DeleteFunc(slices.Clone(tests), func(test string) bool { return r.results[test] != "" })
}
