//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

// TestServiceUnit has systemd read the unit that comes with the binary. It says what it does not know or find.
func TestServiceUnit(t *testing.T) {
	t.Parallel()
	path, err := process.LookPath("systemd-analyze")
	if err != nil {
		t.Fatal(err)
	}
	unit, err := os.ReadFile(filepath.Join("..", "..", "coredns-build", "coredns.service"))
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
	text := strings.ReplaceAll(string(unit), "/usr/local/bin/coredns", binary)
	if said := verify(text); said != "" {
		t.Errorf("systemd says: %s", said)
	}
	if said := verify(strings.Replace(text, "ProtectSystem=", "ProtectSistem=", 1)); !strings.Contains(said, "ProtectSistem") {
		t.Errorf("of an option that it does not know systemd says %q", said)
	}
}
