package admin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMigrateGivesUp: if the zone cannot be copied, the updates of clients are taken again, unless the zone was frozen before.
func TestMigrateGivesUp(t *testing.T) {
	s := newSite(t, "")
	s.start()
	text, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(s.dir, "other")
	to := writeFile(t, strings.Replace(string(text), "database "+filepath.Join(s.dir, "db"), "database "+other, 1))
	frozen := func() bool { return strings.Contains(s.must("", "status"), "frozen") }

	s.must("", "migrate", "example.test", "-to", to)
	if !frozen() {
		t.Error("the zone was copied and takes updates")
	}
	refused := func() {
		t.Helper()
		status, out, errs := s.command("", "migrate", "example.test", "-to", to)
		if status != ExitNo || !strings.Contains(errs, "has the zone example.test. already") || !strings.Contains(errs, "remove the directory "+filepath.Join(other, "example.test")) {
			t.Errorf("migrate to a place that has the zone: exit status %d:\n%s%s", status, out, errs)
		}
	}
	refused()
	if !frozen() {
		t.Error("the zone was frozen before, and is not any more")
	}
	s.must("", "thaw", "example.test")
	refused()
	if frozen() {
		t.Error("the zone stays frozen after migrate has failed")
	}
}
