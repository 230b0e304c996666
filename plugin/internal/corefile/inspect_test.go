package corefile

import (
	"log"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// TestInspectWithoutPlugins: a program without a server's plugins examines what it knows, and says which lines it has not
// examined. For it an unknown directive is no error: the server may have the plugin.
func TestInspectWithoutPlugins(t *testing.T) {
	const text = "example.test:5399 {\n\tgsstsig {\n\t\tkeytab dns.keytab\n\t}\n\tkubernetes cluster.local\n\tanotherplugin\n}\nother.test:5399 {\n\tanotherplugin x\n}\n"
	stock := dnsserver.Directives
	defer func() { dnsserver.Directives = stock }()
	dnsserver.Directives = append(slices.Clone(stock), pluginName)
	port := dnsserver.Port
	got := Inspect("Corefile", []byte(text), "5300")
	if len(got.Servers) != 1 || got.Servers[0].Position != "Corefile:2" || got.Keys == nil || !slices.Equal(got.Ports, []string{"5399"}) {
		t.Errorf("%+v", got)
	}
	if len(got.Findings) != 1 || got.Findings[0].Severity != diagnose.Warning ||
		!strings.Contains(got.Findings[0].Problem, "does not have the plugins kubernetes, anotherplugin, so") {
		t.Errorf("%v", got.Findings)
	}
	if dnsserver.Port != port {
		t.Errorf("the standard port is %s now", dnsserver.Port)
	}
	file := filepath.Join(t.TempDir(), "Corefile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if servers, err := ReadFile(file); err != nil || len(servers) != 1 {
		t.Errorf("%v, %v", servers, err)
	}
}

// TestInspectAtOnce: several calls at once leave what is global as it was, and each has its own standard port.
func TestInspectAtOnce(t *testing.T) {
	port, out := dnsserver.Port, log.Writer()
	var calls sync.WaitGroup
	for i := range 20 {
		calls.Go(func() {
			own := strconv.Itoa(5300 + i)
			if got := Inspect("Corefile", []byte("a.test {\n\twhoami\n}\n"), own); !slices.Equal(got.Ports, []string{own}) {
				t.Errorf("port %s: %+v", own, got)
			}
		})
	}
	calls.Wait()
	if dnsserver.Port != port || log.Writer() != out {
		t.Errorf("the standard port is %s now, it was %s; the same logger: %t", dnsserver.Port, port, log.Writer() == out)
	}
}

// TestInspectErrors: each wrong line has a finding; one error does not hide the others.
func TestInspectErrors(t *testing.T) {
	stock := dnsserver.Directives
	defer func() { dnsserver.Directives = stock }()
	dnsserver.Directives = []string{pluginName}
	got := Inspect("Corefile", []byte("a.test {\n\tgsstsig {\n\t\tkeytab\n\t}\n\tcahce\n}\nb.test {\n\tgsstsig {\n\t\tkeytab k\n\t\tlimit queue 0\n\t}\n}\nc.test {\n\tgsstsig {\n\t\tkeytab k\n\t}\n}\n"), "53")
	var lines []string
	for _, f := range got.Findings {
		if f.Severity == diagnose.Error && strings.HasPrefix(f.Problem, "the server does not start: ") && f.Fix != "" {
			lines = append(lines, f.Subject)
		}
	}
	if want := []string{"Corefile:3", "Corefile:10"}; !slices.Equal(lines, want) || got.Keys != nil {
		t.Errorf("errors at %q, want %q; keys %q", lines, want, got.Keys)
	}
	if len(got.Servers) != 1 || got.Servers[0].Position != "Corefile:14" {
		t.Errorf("blocks without errors: %+v", got.Servers)
	}
}
