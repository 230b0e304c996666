//go:build unix

package admin

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestControlByUsers: the server's user administers it, and so does root; others are told which user may. Without root there is one user
// to test with.
func TestControlByUsers(t *testing.T) {
	s := newSite(t, "")
	socket := filepath.Join(s.dir, "s")
	text, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.conf, []byte(strings.Replace(string(text), "\t\tdatabase", "\t\tcontrol "+socket+"\n\t\tdatabase", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.must(someNames, "update", "example.test")
	const nobody = 65534
	program := copyOfTest(t)
	status, output := programAs(t, program, os.Geteuid(), "status", "-control", socket)
	if status != ExitOK || !strings.Contains(output, "example.test.") {
		t.Errorf("the server's user: exit status %d: %s", status, output)
	}
	if os.Geteuid() != 0 {
		return
	}
	for _, command := range [][]string{{"status"}, {"show", "example.test"}, {"own", "a.example.test", clientA}, {"freeze", "example.test"}, {"contexts"}} {
		status, output := programAs(t, program, nobody, append(command, "-control", socket)...)
		if status != ExitNo || !strings.Contains(output, fmt.Sprintf("user %d may not connect", nobody)) || !strings.Contains(output, "the server runs as (uid 0)") {
			t.Errorf("%v by another user: exit status %d: %s", command, status, output)
		}
	}
	// A server of another user: root may administer it.
	if err := os.Chown(socket, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	for _, uid := range []int{0, nobody} {
		if status, output := programAs(t, program, uid, "show", "example.test", "-control", socket); status != ExitOK || !strings.Contains(output, "192.0.2.1") {
			t.Errorf("uid %d: exit status %d: %s", uid, status, output)
		}
	}
}

// programAs runs the commands in a process of that user.
func programAs(t *testing.T, program string, uid int, args ...string) (status int, output string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), asProgram+"=gsstsigctl")
	cmd.Dir = "/"
	if uid != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}
