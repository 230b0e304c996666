//go:build e2e && linux

package mit

import (
	"context"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

// release builds a release once for all tests.
var release = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(shared.dir, "release")
	return dir, buildRelease(shared.ctx, filepath.Join("..", ".."), dir, "v0.9.0")
})

// buildRelease runs the script of a repository, with a time of its own instead of the last commit's.
func buildRelease(ctx context.Context, repository, to, version string, architectures ...string) error {
	args := append([]string{to, version}, architectures...)
	cmd := exec.CommandContext(ctx, filepath.Join(repository, "coredns-build", "release.sh"), args...)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, output)
	}
	return nil
}

// debianPackage is the package of this machine's architecture in a release.
func debianPackage(t *testing.T, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*_"+runtime.GOARCH+".deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("packages: %q, %v", found, err)
	}
	return found[0]
}

// TestReleaseIsReproducible builds a release from two copies of the repository, in different places.
func TestReleaseIsReproducible(t *testing.T) {
	ctx := shared.ctx // it compiles for two architectures
	first, err := release()
	if err != nil {
		t.Fatal(err)
	}
	// Not a clone, in which the script would find the same commit.
	elsewhere := filepath.Join(t.TempDir(), "another", "place")
	if err := os.MkdirAll(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	copied := exec.CommandContext(ctx, "sh", "-ec", `git -c safe.directory='*' ls-files -z --cached --others --exclude-standard |
		tar -c --null -T - | tar -x -C "$1"`, "copy", elsewhere)
	copied.Dir = filepath.Join("..", "..")
	if output, err := copied.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	second := t.TempDir()
	if err := buildRelease(ctx, elsewhere, second, "v0.9.0"); err != nil {
		t.Fatal(err)
	}
	var sums [2]string
	for i, dir := range []string{first, second} {
		text, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = string(text)
		check := exec.CommandContext(ctx, "sha256sum", "--check", "--strict", "SHA256SUMS")
		check.Dir = dir
		if output, err := check.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, output)
		}
	}
	if sums[0] != sums[1] {
		t.Errorf("two builds differ:\n%s\n%s", sums[0], sums[1])
	}
	for _, arch := range []string{"amd64", "arm64"} {
		for _, name := range []string{"coredns-gsstsig-v0.9.0-linux-" + arch + ".tar.gz", "coredns-gsstsig-v0.9.0-linux-" + arch + ".cdx.json",
			"coredns-gsstsig_0.9.0_" + arch + ".deb"} {
			if !strings.Contains(sums[0], "  "+name+"\n") {
				t.Errorf("%s is missing:\n%s", name, sums[0])
			}
		}
	}
}

// TestReleasedArchives looks into the archives: static binaries of their architecture, and what belongs to them.
func TestReleasedArchives(t *testing.T) {
	ctx := testContext(t)
	dir, err := release()
	if err != nil {
		t.Fatal(err)
	}
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		into := t.TempDir()
		name := "coredns-gsstsig-v0.9.0-linux-" + arch
		if output, err := exec.CommandContext(ctx, "tar", "-xzf", filepath.Join(dir, name+".tar.gz"), "-C", into).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		for _, program := range []string{"coredns", "gsstsigctl"} {
			f, err := elf.Open(filepath.Join(into, name, program))
			if err != nil {
				t.Fatal(err)
			}
			if f.Machine != machine {
				t.Errorf("%s of %s is for %s", program, arch, f.Machine)
			}
			if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
				t.Errorf("%s of %s is not static: %q, %v", program, arch, libraries, err)
			}
			f.Close()
		}
		for _, file := range []string{"LICENSE", "README.md", "CHANGELOG.md", "Corefile", "coredns.service", "coredns.bash", "coredns.zsh",
			"coredns.fish", "coredns-gsstsig.8", "modules.cdx.json", "docs/first-steps.md", "docs/status-page.png", "plugin/README.md",
			"coredns-build/prometheus-alerts.yml"} {
			if info, err := os.Stat(filepath.Join(into, name, file)); err != nil || info.Size() == 0 {
				t.Errorf("%s: %v", file, err)
			}
		}
		if arch != runtime.GOARCH {
			continue
		}
		for _, command := range [][]string{{"coredns", "-version"}, {"coredns", "gsstsig", "-version"}, {"gsstsigctl", "-version"}} {
			output, err := exec.CommandContext(ctx, filepath.Join(into, name, command[0]), command[1:]...).CombinedOutput()
			if err != nil || !strings.Contains(string(output), "v0.9.0") {
				t.Errorf("%v: the version is not in %q (%v)", command, output, err)
			}
		}
	}
}

// systemctl does what systemd would do with the unit, as far as a server that runs can tell: nodes have no systemd.
const systemctl = `#!/bin/sh
set -eu
unit=/lib/systemd/system/coredns.service
value() { sed -n "s/^$1=//p" $unit; }
case "$*" in
"restart krb5-kdc krb5-admin-server")
	kadmind -nofork >/dev/null 2>&1 &
	exec krb5kdc -n
	;;
"enable --now coredns")
	umask "$(value UMask)"
	user=$(value User)
	install -d -m "$(value StateDirectoryMode)" -o "$user" -g "$user" "/var/lib/$(value StateDirectory)"
	install -d -m "$(value RuntimeDirectoryMode)" -o "$user" -g "$user" "/run/$(value RuntimeDirectory)"
	cd "$(value WorkingDirectory)"
	capability=$(value AmbientCapabilities | sed 's/^CAP_/+/' | tr A-Z a-z)
	exec setpriv --reuid "$user" --regid "$(value Group)" --clear-groups --no-new-privs \
		--bounding-set=-all,$capability --inh-caps=-all,$capability --ambient-caps=-all,$capability -- $(value ExecStart)
	;;
*)
	echo "systemctl $*: not known here" >&2
	exit 1
	;;
esac
`

// packageSite is a site whose name server gets its programs from the package.
func packageSite(t *testing.T, steps ...func(*site, context.Context) error) *site {
	t.Helper()
	dir, err := release()
	if err != nil {
		t.Fatal(err)
	}
	s := newSiteWith(t, "kdc1", func(c *node.Config) { c.OwnPrograms = true }, steps...)
	deb, err := os.ReadFile(debianPackage(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ns.WriteFile("/run/download/coredns-gsstsig_0.9.0_"+runtime.GOARCH+".deb", string(deb), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node.Node{s.kdc, s.ns} {
		if err := n.WriteFile("/run/programs/systemctl", systemctl, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// sh runs a script on a node and returns what it prints.
func sh(t *testing.T, n *node.Node, script string) string {
	t.Helper()
	output, err := n.Output(n.Command(testContext(t), "sh", "-ec", script))
	if err != nil {
		t.Fatal(err)
	}
	return output
}

// TestDebianPackage installs the package, upgrades it and removes it.
func TestDebianPackage(t *testing.T) {
	s := packageSite(t)
	sh(t, s.ns, "rm -rf /etc/coredns /var/lib/coredns; dpkg -i /run/download/*.deb")
	for path, want := range map[string]string{
		"/usr/bin/coredns":                                  "755 root:root",
		"/lib/systemd/system/coredns.service":               "644 root:root",
		"/etc/coredns/Corefile":                             "644 root:root",
		"/var/lib/coredns":                                  "700 coredns:coredns",
		"/usr/share/man/man8/coredns-gsstsig.8.gz":          "644 root:root",
		"/usr/share/bash-completion/completions/coredns":    "644 root:root",
		"/usr/share/zsh/vendor-completions/_coredns":        "644 root:root",
		"/usr/share/fish/vendor_completions.d/coredns.fish": "644 root:root",
		"/usr/share/doc/coredns-gsstsig/modules.cdx.json":   "644 root:root",
		"/usr/share/doc/coredns-gsstsig/docs/errors.md":     "644 root:root",
		"/usr/share/doc/coredns-gsstsig/plugin/README.md":   "644 root:root",
	} {
		if got := strings.TrimSpace(sh(t, s.ns, "stat -L -c '%a %U:%G' "+path)); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if got := sh(t, s.ns, "/usr/bin/coredns -version; dpkg -s coredns-gsstsig"); !strings.Contains(got, "v0.9.0") || !strings.Contains(got, "Status: install ok installed") {
		t.Errorf("after the installation:\n%s", got)
	}
	// dpkg asks what to do with the Corefile in no upgrade.
	if got := strings.TrimSpace(sh(t, s.ns, "dpkg-query -W -f '${Conffiles}' coredns-gsstsig")); got != "" {
		t.Errorf("conffiles: %s", got)
	}
	// The completions are scripts that their shell reads.
	sh(t, s.ns, "bash -n /usr/share/bash-completion/completions/coredns")

	upgrade := t.TempDir()
	if err := buildRelease(shared.ctx, filepath.Join("..", ".."), upgrade, "v0.9.1", runtime.GOARCH); err != nil {
		t.Fatal(err)
	}
	deb, err := os.ReadFile(debianPackage(t, upgrade))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ns.WriteFile("/run/download/new/coredns-gsstsig.deb", string(deb), 0o644); err != nil {
		t.Fatal(err)
	}
	got := sh(t, s.ns, `echo "# mine" >>/etc/coredns/Corefile
		echo data >/var/lib/coredns/zone
		dpkg -i /run/download/new/*.deb
		/usr/bin/coredns -version
		grep mine /etc/coredns/Corefile && cat /var/lib/coredns/zone && stat -c '%a %U' /var/lib/coredns`)
	for _, want := range []string{"v0.9.1", "# mine\ndata\n700 coredns\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("after the upgrade %q is missing:\n%s", want, got)
		}
	}
	got = sh(t, s.ns, `dpkg -r coredns-gsstsig; test ! -e /usr/bin/coredns; cat /etc/coredns/Corefile /var/lib/coredns/zone
		dpkg -P coredns-gsstsig; test ! -e /etc/coredns/Corefile; cat /var/lib/coredns/zone`)
	if !strings.HasSuffix(got, "data\n") || strings.Count(got, "data\n") != 2 || !strings.Contains(got, "# mine") {
		t.Errorf("after the removal:\n%s", got)
	}
}

// TestFirstSteps does what docs/first-steps.md says, in a realm that is not there yet.
func TestFirstSteps(t *testing.T) {
	tested.Path(t, nsupdate, "-g as docs/first-steps.md says")
	s := packageSite(t)
	sh(t, s.ns, "rm -rf /etc/coredns /var/lib/coredns; rm -f /etc/krb5.conf")
	client := s.add(t, "client1", 101)
	s.followWith(t, "first-steps.md", "/run/programs", client)
	s.expect(t, "client1.example.test", dns.TypeA, "10.78.0.101")
	s.expect(t, "www.example.test", dns.TypeCNAME, "client1.example.test.")
	owned := sh(t, s.ns, "cat /var/backups/example.test")
	if !strings.Contains(owned, "host/client1.example.test@EXAMPLE.TEST") {
		t.Errorf("the dump does not have the owner:\n%s", owned)
	}
	if got := sh(t, s.ns, "ps -o user= -C coredns"); strings.TrimSpace(got) != "coredns" {
		t.Errorf("the server runs as %q", got)
	}
}
