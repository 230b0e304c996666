//go:build unix

package admin

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
)

// corefileOnInput is set in the environment of a process that runAs starts. It reads the Corefile from standard input: root may
// have it in a place where the user cannot read it yet.
const corefileOnInput = "GSSTSIG_COREFILE_ON_INPUT"

// runAs runs the command check in a process of another user, with all of the user's groups, and returns its exit status. Nothing
// is done if this process is one of the user already.
func runAs(program, name, conf string, flags *flag.FlagSet, s Streams) (status int, done bool, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, false, diagnose.WithFix(err, "name the user that the server runs as, as the unit of systemd has it (User=)")
	}
	credential, err := credentialOf(u)
	if err != nil {
		return 0, false, err
	}
	if int(credential.Uid) == os.Geteuid() {
		return 0, false, nil
	}
	if os.Geteuid() != 0 {
		return 0, false, diagnose.WithFix(fmt.Errorf("-user %s: only root can examine files as another user", name),
			"run the command as root, or as %s without -user", name)
	}
	in, err := os.Open(conf)
	if err != nil {
		return 0, false, diagnose.WithFix(err, "name the Corefile of the server by -conf")
	}
	defer in.Close()
	executable, err := os.Executable()
	if err != nil {
		return 0, false, err
	}
	args := append(strings.Fields(program)[1:], "check")
	flags.VisitAll(func(f *flag.Flag) {
		if value := f.Value.String(); value != f.DefValue {
			args = append(args, "-"+f.Name+"="+value)
		}
	})
	cmd := exec.Command(executable, args...)
	cmd.Env = append(os.Environ(), corefileOnInput+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, s.Out, s.Err
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode(), true, nil
	case errors.Is(err, fs.ErrPermission):
		return 0, false, diagnose.WithFix(fmt.Errorf("%s cannot run this program: %w", name, err), "put it where every user can run it, such as /usr/local/bin")
	case err != nil:
		return 0, false, err
	}
	return ExitOK, true, nil
}

// credentialOf returns the numbers of a user and of all groups that it is a member of.
func credentialOf(u *user.User) (*syscall.Credential, error) {
	ids := []string{u.Uid, u.Gid}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of the user %s: %w", u.Username, err)
	}
	var numbers []uint32
	for _, id := range append(ids, groups...) {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", u.Username, err)
		}
		numbers = append(numbers, uint32(n))
	}
	return &syscall.Credential{Uid: numbers[0], Gid: numbers[1], Groups: numbers[2:]}, nil
}

// user says as whom files are examined, and what that user lacks for the ports of the server.
func (c *checker) user(configuration *corefile.Configuration) {
	name := "uid " + strconv.Itoa(os.Geteuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if os.Geteuid() == 0 {
		c.ok("user "+name, "it can read and write every file; -user NAME examines files as the server's user sees them")
		return
	}
	c.ok("user "+name, "files are examined as this user sees them")
	if ports := privileged(configuration.Ports, firstUnprivilegedPort()); len(ports) > 0 {
		c.ok("user "+name, "to listen on port %s it needs the capability CAP_NET_BIND_SERVICE. The unit coredns.service gives it; "+
			"elsewhere: setcap cap_net_bind_service=+ep on the program, or the sysctl net.ipv4.ip_unprivileged_port_start", strings.Join(ports, ", "))
	}
}

// privileged returns the ports below the first that every user may listen on.
func privileged(ports []string, first int) []string {
	return slices.DeleteFunc(slices.Clone(ports), func(port string) bool {
		n, err := strconv.Atoi(port)
		return err != nil || n == 0 || n >= first
	})
}

// firstUnprivilegedPort is the first port that every user may listen on.
func firstUnprivilegedPort() int {
	const standard = 1024
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return standard
	}
	first, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return standard
	}
	return first
}

// Permissions of access(2).
const (
	mayRead    = 4
	mayWrite   = 2
	mayExecute = 1
)

// databaseAccess returns the errors of directories and files that the server could not use as this user.
func databaseAccess(b *corefile.Block) []diagnose.Finding {
	if b.Database == "" {
		return nil
	}
	problem, fix := "", fmt.Sprintf("make the user that the server runs as the owner of %s and of everything in it", b.Database)
	for path := filepath.Clean(b.Database); ; path = filepath.Dir(path) {
		err := syscall.Access(path, mayRead|mayWrite|mayExecute)
		if path != filepath.Clean(b.Database) {
			err = syscall.Access(path, mayWrite|mayExecute)
		}
		if errors.Is(err, fs.ErrNotExist) && filepath.Dir(path) != path {
			continue
		}
		switch info, failure := os.Stat(path); {
		case failure == nil && !info.IsDir():
			problem, fix = path+" is not a directory", "name a directory that exists or can be made"
		case err != nil && path == filepath.Clean(b.Database):
			problem = fmt.Sprintf("it cannot use the directory %s: %v", path, err)
		case err != nil:
			problem = fmt.Sprintf("it cannot make the directory %s in %s: %v", b.Database, path, err)
		}
		break
	}
	for _, origin := range b.Origins {
		if problem != "" {
			break
		}
		// What cannot be examined is an error of its own: the zone is not read then.
		_ = filepath.WalkDir(b.DatabaseOf(origin), func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			mode := uint32(mayRead | mayWrite)
			if entry.IsDir() {
				mode |= mayExecute
			}
			if err := syscall.Access(path, mode); err != nil && !errors.Is(err, fs.ErrNotExist) {
				problem = fmt.Sprintf("it cannot read and write %s: %v", path, err)
				return fs.SkipAll
			}
			return nil
		})
	}
	if problem == "" {
		return nil
	}
	return []diagnose.Finding{{Severity: diagnose.Error, Subject: b.Position, Problem: "the server does not start: database: " + problem, Fix: fix}}
}
