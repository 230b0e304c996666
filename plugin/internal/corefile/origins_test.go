package corefile

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestOriginsOnce: a zone that the server block has by several transports and ports is one zone, which needs no name in `file`.
func TestOriginsOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "Corefile")
	text := "example.test tls://example.test example.test:5353 {\ngsstsig {\nkeytab dns.keytab\nfile db\n}\n}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	servers, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"example.test."}; !slices.Equal(servers[0].Origins, want) {
		t.Errorf("got %q, want %q", servers[0].Origins, want)
	}
}
