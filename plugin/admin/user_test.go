//go:build unix

package admin

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// checkAs runs check -user in a process of its own, as runAs starts one more with the same program.
func checkAs(t *testing.T, program string, args ...string) (status int, out string) {
	t.Helper()
	cmd := exec.Command(program, slices.Concat([]string{"check", "-offline"}, args)...)
	cmd.Env = append(os.Environ(), asProgram+"=gsstsigctl")
	cmd.Dir = "/"
	text, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// copyOfTest copies the test binary to where every user can run it.
func copyOfTest(t *testing.T) string {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(executable)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(shared(t), "admin.test")
	if err := os.WriteFile(copied, content, 0o755); err != nil {
		t.Fatal(err)
	}
	return copied
}

// shared makes a directory that every user can enter.
func shared(t *testing.T) string {
	t.Helper()
	directory, err := os.MkdirTemp("", "check")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(directory) })
	if err := os.Chmod(directory, 0o755); err != nil {
		t.Fatal(err)
	}
	return directory
}

// TestCheckAsUser: root examines files as the server's user sees them; others are told to.
func TestCheckAsUser(t *testing.T) {
	program := copyOfTest(t)
	conf := write(t, "\t\tdatabase {DIR}/data")
	directory := shared(t)
	keytab := filepath.Join(directory, "dns.keytab")
	key, err := os.ReadFile(keytabOf(t, conf))
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(keytabOf(t, conf), keytab, "{DIR}", directory, "\troot", "\t#").Replace(string(content))
	for name, content := range map[string][]byte{keytab: key, conf: []byte(text)} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if status, out := checkAs(t, program, "-conf", conf, "-user", "no-such-user"); status != ExitNo || !strings.Contains(out, "unknown user no-such-user. Fix: name the user") {
		t.Errorf("a user that does not exist: exit status %d:\n%s", status, out)
	}
	const name = "nobody"
	if os.Geteuid() != 0 {
		if status, out := checkAs(t, program, "-conf", conf, "-user", name); status != ExitNo || !strings.Contains(out, "only root can examine files as another user. Fix: ") {
			t.Errorf("not root: exit status %d:\n%s", status, out)
		}
		me, err := user.Current()
		if err != nil {
			t.Fatal(err)
		}
		if status, out := checkAs(t, program, "-conf", conf, "-user", me.Username); status != ExitOK || !strings.Contains(out, "ok      user "+me.Username) {
			t.Errorf("the same user: exit status %d:\n%s", status, out)
		}
		return
	}
	nobody, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	credential, err := credentialOf(nobody)
	if err != nil {
		t.Fatal(err)
	}
	give := func(paths ...string) {
		t.Helper()
		for _, path := range paths {
			if err := os.Chown(path, int(credential.Uid), int(credential.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	expect := func(what string, status int, says ...string) {
		t.Helper()
		got, out := checkAs(t, program, "-conf", conf, "-user", name)
		for _, words := range says {
			if got != status || !strings.Contains(out, words) {
				t.Errorf("%s: exit status %d, %q is not in:\n%s", what, got, words, out)
			}
		}
	}
	expect("a keytab of root", ExitNo, "keytab "+keytab+": permission denied", "warning Corefile: the user cannot read it")
	give(keytab)
	expect("a directory of root", ExitNo, fmt.Sprintf("it cannot make the directory %s/data in %s: permission denied", directory, directory), "make the user that the server runs as the owner")
	data := filepath.Join(directory, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	expect("a database of root", ExitNo, "it cannot use the directory "+data)
	give(data)
	expect("all is well", ExitOK, "ok      user nobody: files are examined as this user sees them", "ok      zone example.test.", "port 53 it needs the capability CAP_NET_BIND_SERVICE")
	writeCertificate(t, directory, "tls", time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	give(filepath.Join(directory, "tls.pem"))
	secured := text + fmt.Sprintf("\ntls://other.test {\n\ttls %[1]s/tls.pem %[1]s/tls.key\n\twhoami\n}\n", directory)
	if err := os.WriteFile(conf, []byte(secured), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("a certificate's key of root", ExitNo, "tls.key: permission denied", "Fix: let the user that the server runs as read the file")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out, errs := run(t, "load", "-database", data, "example.test", writeFile(t, master)); status != ExitOK {
		t.Fatal(out, errs)
	}
	expect("a zone that root has loaded", ExitOK, "ok      zone example.test.: serial ")
	zoneDirectory := filepath.Join(data, "example.test")
	entries, err := os.ReadDir(zoneDirectory)
	if err != nil || len(entries) == 0 {
		t.Fatal(entries, err)
	}
	if err := os.Chown(filepath.Join(zoneDirectory, entries[0].Name()), 0, 0); err != nil {
		t.Fatal(err)
	}
	expect("a file of root in it", ExitNo, "it cannot read and write "+filepath.Join(zoneDirectory, entries[0].Name()), "the owner of "+data)
}

// TestPrivileged: ports that the server's user needs a capability for.
func TestPrivileged(t *testing.T) {
	if got := privileged([]string{"53", "853", "1053", "0", "x"}, 1024); !slices.Equal(got, []string{"53", "853"}) {
		t.Errorf("%q", got)
	}
	if got := privileged([]string{"53"}, 53); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if first := firstUnprivilegedPort(); first < 0 || first > 65536 {
		t.Errorf("%d", first)
	}
}
