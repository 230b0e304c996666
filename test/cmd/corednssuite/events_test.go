package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestReadEvents(t *testing.T) {
	const events = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"pass","Package":"p","Test":"TestGood","Elapsed":0.1}
{"Action":"run","Package":"p","Test":"TestBad"}
{"Action":"run","Package":"p","Test":"TestBad/part"}
{"Action":"fail","Package":"p","Test":"TestBad/part"}
{"Action":"fail","Package":"p","Test":"TestBad"}
{"Action":"run","Package":"p","Test":"TestWaiting"}
{"Action":"pause","Package":"p","Test":"TestWaiting"}
{"Action":"run","Package":"p","Test":"TestParallel"}
{"Action":"pause","Package":"p","Test":"TestParallel"}
{"Action":"cont","Package":"p","Test":"TestParallel"}
{"Action":"run","Package":"p","Test":"TestPanic"}
{"Action":"output","Package":"p","Output":"panic: no\n"}
{"Action":"fail","Package":"p"}
`
	read, err := readEvents(strings.NewReader(events))
	if err != nil {
		t.Fatal(err)
	}
	want := results{"TestGood": "pass", "TestBad": "fail", "TestBad/part": "fail", "TestParallel": "fail", "TestPanic": "fail"}
	if !maps.Equal(read.results, want) {
		t.Errorf("got %v, want %v", read.results, want)
	}
	if missing := read.missing([]string{"TestGood", "TestWaiting", "TestLater"}); !slices.Equal(missing, []string{"TestWaiting", "TestLater"}) {
		t.Errorf("missing are %v", missing)
	}
	if output := read.output["TestGood"]; !slices.Equal(output, []string{"=== RUN   TestGood\n"}) {
		t.Errorf("the output is %q", output)
	}
	if _, err := readEvents(strings.NewReader("FAIL")); err == nil {
		t.Error("what is not JSON was read without an error")
	}
}

func TestOutputIsBounded(t *testing.T) {
	var events strings.Builder
	for i := range 2 * outputLines {
		fmt.Fprintf(&events, `{"Action":"output","Test":"TestLong","Output":"%d"}`+"\n", i)
	}
	read, err := readEvents(strings.NewReader(events.String()))
	if err != nil {
		t.Fatal(err)
	}
	lines := read.output["TestLong"]
	if len(lines) != outputLines || lines[outputLines-1] != fmt.Sprint(2*outputLines-1) {
		t.Errorf("%d lines are kept, want the last %d", len(lines), outputLines)
	}
}
