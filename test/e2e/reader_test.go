//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

// Programs that read the zone.
var (
	digClient  = tested.Client{Name: "dig", Package: "bind9-dnsutils"}
	delvClient = tested.Client{Name: "delv", Package: "bind9-dnsutils"}
	kdigClient = tested.Client{Name: "kdig", Package: "knot-dnsutils"}
)

// TestReaders has dig and kdig read a zone in every way that administrators do. What each prints has to match as often
// as the row says.
func TestReaders(t *testing.T) {
	t.Parallel()
	const records = 3000 // a transfer of several messages
	ours := startBlock(t, forwardZone+" "+reverseZone, []string{"file db " + forwardZone, fmt.Sprintf("grant %s zonesub ANY", peerKey)},
		[]string{"transfer {\n        to 127.0.0.1\n    }", tsigLine, "log"}, map[string]string{
			"db": largeSeed(records) + "many 300 IN TXT " + fmt.Sprintf("%0255d %0255d %0255d", 1, 2, 3) + "\n",
		})
	first := serial(t, ours.Address, forwardZone)
	const (
		right = "hmac-sha256:" + peerKey + ":" + peerSecret
		wrong = "hmac-sha256:" + peerKey + ":YW5vdGhlciBvbmU="
	)
	for _, command := range []string{
		"update add new.example.test 300 A 192.0.2.40", "update add 40.2.0.192.in-addr.arpa 300 PTR new.example.test.",
	} {
		outcome, err := dnsutils.Update{Server: ours.Address, Key: right, Commands: []string{command}}.Run(testContext(t))
		if err != nil || outcome.Rcode != "NOERROR" {
			t.Fatalf("%v\n%s", err, outcome.Output)
		}
	}
	soa := `(?m)^example\.test\.\s+\d+\s+IN\s+SOA\s`
	for _, test := range []struct {
		path  string
		args  []string
		match string
		times int
	}{
		{"UDP", []string{"h1.example.test", "A"}, `(?m)^h1\.example\.test\.\s+300\s+IN\s+A\s+10\.0\.0\.1$`, 1},
		{severalQueries, []string{"+tcp", "+keepopen", "h1.example.test", "A", "h2.example.test", "A", "h3.example.test", "A"},
			`(?m)^h[123]\.example\.test\.\s+300\s+IN\s+A\s`, 3},
		{"DNSSEC OK", []string{"+dnssec", "h1.example.test", "A"}, `(?m)^h1\.example\.test\.\s+300\s+IN\s+A\s`, 1},
		{"a truncated answer again by TCP", []string{"+noedns", "many.example.test", "TXT"}, `(?m)^many\.example\.test\.\s+300\s+IN\s+TXT\s`, 1},
		{"-x", []string{"-x", "192.0.2.40"}, `(?m)^40\.2\.0\.192\.in-addr\.arpa\.\s+300\s+IN\s+PTR\s+new\.example\.test\.$`, 1},
		{"a query signed by a shared key", []string{"-y", right, "h1.example.test", "A"}, `(?m)^h1\.example\.test\.\s+300\s+IN\s+A\s`, 1},
		{"AXFR", []string{forwardZone, "AXFR"}, `(?m)^h\d+\.example\.test\.`, records},
		{"AXFR signed by a shared key", []string{"-y", right, forwardZone, "AXFR"}, `(?m)^h\d+\.example\.test\.`, records},
		{"IXFR", []string{forwardZone, fmt.Sprintf("IXFR=%d", first)}, soa, 4},
		{"IXFR, nothing new", []string{forwardZone, fmt.Sprintf("IXFR=%d", first+1)}, soa, 1},
		{"refused another secret", []string{"-y", wrong, forwardZone, "AXFR"}, `(?m)^h\d+\.example\.test\.`, 0},
	} {
		for _, client := range []tested.Client{digClient, kdigClient} {
			t.Run(client.Name+" "+test.path, func(t *testing.T) {
				tested.Path(t, client, test.path)
				program, err := process.LookPath(client.Name)
				if err != nil {
					t.Fatal(err)
				}
				cmd := exec.CommandContext(testContext(t), program, append([]string{
					"@" + ours.Address.Addr().String(), "-p", strconv.Itoa(int(ours.Address.Port())),
				}, test.args...)...)
				from := ours.Log().Len()
				output, err := cmd.CombinedOutput()
				// A failed signature is a status of its own.
				if exit := new(exec.ExitError); err != nil && !(errors.As(err, &exit) && test.times == 0) {
					t.Fatalf("%v\n%s", err, output)
				}
				if got := len(regexp.MustCompile(test.match).FindAll(output, -1)); got != test.times {
					t.Errorf("%s matches %d times, want %d:\n%s", test.match, got, test.times, last(string(output), 30))
				}
				if test.path == severalQueries {
					onOneConnection(t, ours.Log(), from)
				}
				if failed := unverified.Match(output); failed != (test.times == 0) {
					t.Errorf("verification failed: %v\n%s", failed, last(string(output), 30))
				}
			})
		}
	}
}

// severalQueries is a path whose queries come by one connection.
const severalQueries = "TCP, several queries on one connection"

// queryByTCP is a line of the log plugin with the client's port.
var queryByTCP = regexp.MustCompile(`127\.0\.0\.1:(\d+) - \d+ "A IN h\d\.example\.test\. tcp `)

// onOneConnection wants three such queries in the log behind from, of one client port.
func onOneConnection(t *testing.T, log *process.Output, from int) {
	t.Helper()
	var lines [][]string
	err := log.Wait(testContext(t), from, func(text string) bool {
		lines = queryByTCP.FindAllStringSubmatch(text, -1)
		return len(lines) == 3
	})
	if err != nil {
		t.Fatal(err)
	}
	if lines[1][1] != lines[0][1] || lines[2][1] != lines[0][1] {
		t.Errorf("more connections than one: %q", lines)
	}
}

// unverified is what the programs say of a signature or a refusal of theirs.
var unverified = regexp.MustCompile(`(?i)couldn't verify|verify signature|Transfer failed|TSIG verification failure|failed to verify|BADSIG|reply verification`)
