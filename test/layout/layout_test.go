package layout

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const (
	module  = "github.com/gsstsig/coredns-gsstsig"
	coreDNS = "github.com/coredns/"
	tests   = module + "/internal/test" // what tests are made of
)

// public are the packages that other modules may import. The suites and programs below test are not meant to be imported,
// though the compiler would permit it.
var public = []string{
	"gsstsig",
	"gsstsig/client",
	"gsstsig/gsstsigtest",
	"gsstsig/krb5",
	"gsstsig/krb5/krb5test",
	"gsstsig/spnego",
	"plugin/admin",
	"plugin/gsstsig",
	"zone",
	"zone/policy",
	"zone/policy/policytest",
	"zone/store",
	"zone/store/disk",
	"zone/store/etcd",
	"zone/store/storetest",
}

// goList runs go list for the module's packages and returns the lines of what it prints.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	return strings.Split(strings.TrimSpace(string(output)), "\n")
}

// within tells whether a package is the one of the given path or lies below it.
func within(pkg, path string) bool {
	return pkg == path || strings.HasPrefix(pkg, strings.TrimSuffix(path, "/")+"/")
}

// TestLibrariesStandAlone keeps zone and gsstsig usable without CoreDNS and without each other.
func TestLibrariesStandAlone(t *testing.T) {
	dependencies := make(map[string][]string) // of each package, all the way down
	for _, line := range goList(t, "-f", `{{.ImportPath}} {{join .Deps " "}}`, module+"/...") {
		words := strings.Fields(line)
		dependencies[words[0]] = words[1:]
	}
	for _, rule := range []struct {
		tree      string
		forbidden []string
	}{
		{"gsstsig", []string{coreDNS, module + "/zone", module + "/plugin", tests, module + "/test"}},
		{"gsstsig/krb5", []string{"github.com/miekg/dns", module + "/gsstsig/spnego"}},
		{"gsstsig/spnego", []string{"github.com/miekg/dns", module + "/gsstsig/krb5"}},
		{"zone", []string{coreDNS, module + "/gsstsig", module + "/plugin", tests, module + "/test"}},
		{"zone/store", []string{module + "/zone/policy", "github.com/miekg/dns"}},
		{"plugin", []string{tests, module + "/test"}},
		{"internal", []string{coreDNS, module + "/gsstsig", module + "/zone", module + "/plugin", module + "/test"}},
		{"internal/dnswire", []string{module, "github.com/miekg/dns"}},
		{"internal/masterfile", []string{"github.com/miekg/dns"}},
	} {
		t.Run(rule.tree, func(t *testing.T) {
			tree, found := module+"/"+rule.tree, false
			for pkg, imported := range dependencies {
				// What serves tests alone may need more than what it serves.
				if !within(pkg, tree) || within(pkg, tests) || within(pkg, module+"/gsstsig/gsstsigtest") {
					continue
				}
				found = true
				for _, dependency := range imported {
					forbids := func(path string) bool { return within(dependency, path) }
					if !within(dependency, tree) && slices.ContainsFunc(rule.forbidden, forbids) {
						t.Errorf("%s imports %s", pkg, dependency)
					}
				}
			}
			if !found {
				t.Error("no packages")
			}
		})
	}
}

// TestPublicLine compares the packages that others can import with the list of those that they may: what is public is so on
// purpose.
func TestPublicLine(t *testing.T) {
	var found []string
	for _, pkg := range goList(t, module+"/...") {
		path := strings.TrimPrefix(pkg, module+"/")
		if !slices.Contains(strings.Split(path, "/"), "internal") && !within(path, "test") && !within(path, "coredns-build") {
			found = append(found, path)
		}
	}
	slices.Sort(found)
	if !slices.Equal(found, public) {
		t.Errorf("packages that others can import:\n%s\nshould be:\n%s", strings.Join(found, "\n"), strings.Join(public, "\n"))
	}
}

// TestNoEscapeHatches keeps unsafe and C out of the module's own packages, tests included.
func TestNoEscapeHatches(t *testing.T) {
	format := `{{.ImportPath}} {{join .Imports " "}} {{join .TestImports " "}} {{join .XTestImports " "}}`
	for _, line := range goList(t, "-tags", "e2e", "-f", format, module+"/...") {
		words := strings.Fields(line)
		for _, imported := range words[1:] {
			if imported == "unsafe" || imported == "C" {
				t.Errorf("%s imports %s", words[0], imported)
			}
		}
	}
}

// TestDependenciesAreListed compares the table of dependencies in the README with what go.mod requires directly: each module has
// a purpose there, and none is there that is gone.
func TestDependenciesAreListed(t *testing.T) {
	const heading = "## What it is built on\n"
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), heading)
	if !found {
		t.Fatalf("the README has no %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	listed := make(map[string]bool)
	for line := range strings.Lines(section) {
		columns := strings.Split(strings.TrimSpace(line), "|")
		if len(columns) != 4 || !strings.Contains(columns[1], "`") {
			continue
		}
		if strings.TrimSpace(columns[2]) == "" {
			t.Errorf("%s: no purpose", columns[1])
		}
		for name := range strings.SplitSeq(columns[1], ",") {
			listed[strings.Trim(strings.TrimSpace(name), "`")] = true
		}
	}
	for _, path := range goList(t, "-m", "-f", "{{if not (or .Main .Indirect)}}{{.Path}}{{end}}", "all") {
		if path == "" {
			continue
		}
		name := strings.TrimPrefix(path, "github.com/")
		if !listed[name] {
			t.Errorf("the README does not say what %s is for", path)
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("the README lists %s, which go.mod does not require directly", name)
	}
}
