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
	// What the administrator changes now would not be in the copy.
	changed := func(want int) {
		t.Helper()
		if status, out, errs := s.command("update add late.example.test 60 TXT late\n", "update", "example.test"); status != want {
			t.Errorf("the administrator's update: exit status %d:\n%s%s", status, out, errs)
		}
	}
	changed(ExitNo)
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
	changed(ExitNo)
	if status, _, errs := s.command("", "thaw", "example.test"); status != ExitNo || !frozen() || !strings.Contains(errs, "Fix: if it moves by \"coredns gsstsig migrate\"") || !strings.Contains(errs, "thaw -all example.test.") {
		t.Errorf("a zone that moves is thawed: exit status %d:\n%s", status, errs)
	}
	changed(ExitNo)
	s.must("", "thaw", "-all", "example.test")
	refused()
	if frozen() {
		t.Error("the zone stays frozen after migrate has failed")
	}
	changed(ExitOK)
	s.must("", "freeze", "example.test")
	refused()
	if !frozen() {
		t.Error("the zone was frozen for clients, and is not any more")
	}
	changed(ExitOK)
	s.must("", "freeze", "-all", "example.test")
	changed(ExitNo)
	refused()
	changed(ExitNo)
}
