package layout

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const (
	module  = "github.com/gsstsig/coredns-gsstsig"
	coreDNS = "github.com/coredns/"
)

// goList runs go list for the module's packages and returns the lines of what it prints.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	return strings.Fields(string(output))
}

// within tells whether a package is the one of the given path or lies below it.
func within(pkg, path string) bool {
	return pkg == path || strings.HasPrefix(pkg, strings.TrimSuffix(path, "/")+"/")
}

// TestLibrariesStandAlone keeps zone and gsstsig usable without CoreDNS and without each other.
func TestLibrariesStandAlone(t *testing.T) {
	for _, rule := range []struct {
		tree      string
		forbidden []string
	}{
		{"gsstsig", []string{coreDNS, module + "/zone", module + "/plugin", module + "/test"}},
		{"gsstsig/krb5", []string{"github.com/miekg/dns", module + "/gsstsig/spnego"}},
		{"gsstsig/spnego", []string{"github.com/miekg/dns", module + "/gsstsig/krb5"}},
		{"zone", []string{coreDNS, module + "/gsstsig", module + "/plugin", module + "/test"}},
		{"zone/store", []string{module + "/zone/policy", "github.com/miekg/dns"}},
		{"plugin", []string{module + "/test"}},
	} {
		t.Run(rule.tree, func(t *testing.T) {
			packages := goList(t, module+"/"+rule.tree+"/...")
			if len(packages) == 0 {
				t.Fatal("no packages")
			}
			for _, pkg := range packages {
				for _, dependency := range goList(t, "-deps", pkg) {
					if dependency == pkg || within(dependency, module+"/"+rule.tree) {
						continue
					}
					for _, forbidden := range rule.forbidden {
						if within(dependency, forbidden) {
							t.Errorf("%s imports %s", pkg, dependency)
						}
					}
				}
			}
		})
	}
}

// TestNoEscapeHatches keeps unsafe and C out of the module's own packages, tests included.
func TestNoEscapeHatches(t *testing.T) {
	imports := goList(t, "-tags", "e2e", "-f", "{{range .Imports}}{{$.ImportPath}}:{{.}} {{end}}"+
		"{{range .TestImports}}{{$.ImportPath}}:{{.}} {{end}}{{range .XTestImports}}{{$.ImportPath}}:{{.}} {{end}}", module+"/...")
	for _, entry := range imports {
		pkg, imported, _ := strings.Cut(entry, ":")
		if slices.Contains([]string{"unsafe", "C"}, imported) {
			t.Errorf("%s imports %s", pkg, imported)
		}
	}
	if len(imports) == 0 {
		t.Error("no imports found")
	}
}
