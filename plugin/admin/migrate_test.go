package admin

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/zone/store/disk"
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

// TestMigrateStopped: while the database of a server that is stopped is copied no server opens it: what that took would not be in the
// copy. One that has opened it and has no control socket yet, or none at all, is noticed.
func TestMigrateStopped(t *testing.T) {
	for _, control := range []string{"", "\t\tcontrol off"} {
		s := newSite(t, control)
		s.start()
		if control == "" {
			s.must("update add a.example.test 60 TXT a\n", "update", "example.test")
		}
		text, err := os.ReadFile(s.conf)
		if err != nil {
			t.Fatal(err)
		}
		to := writeFile(t, strings.Replace(string(text), "database "+filepath.Join(s.dir, "db"), "database "+filepath.Join(s.dir, "other"), 1))
		s.stop()
		directory := filepath.Join(s.dir, "db", "example.test")

		server, err := disk.Open(directory, disk.Options{Origin: "example.test."})
		if err != nil {
			t.Fatal(err)
		}
		if status, _, errs := s.command("", "migrate", "example.test", "-to", to); status != ExitNo || !strings.Contains(errs, "in use") && !strings.Contains(errs, "it cannot be frozen at the running server") {
			t.Errorf("%q: a database in use: exit status %d:\n%s", control, status, errs)
		}
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}

		m := migration{}
		if m.from, err = findHome(s.conf, "example.test."); err != nil {
			t.Fatal(err)
		}
		flags := controlFlags{conf: &s.conf, socket: new(string)}
		target, err := flags.open(Streams{Err: new(bytes.Buffer)})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.seal(target); err != nil {
			t.Fatal(err)
		}
		if _, err := disk.Open(directory, disk.Options{Origin: "example.test."}); !errors.Is(err, disk.ErrLocked) {
			t.Errorf("%q: opened while it is copied: %v", control, err)
		}
		m.unlock()
		target.close()
		s.must("", "migrate", "example.test", "-to", to)
		s.start()
		s.stop()
	}
}
