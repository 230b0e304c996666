package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// maxPath is how long the path of a unix socket may be: sockaddr_un has 108 octets with the final zero, and 104 where BSD comes
// from.
const maxPath = 103

// dialTimeout bounds the question whether a process has a socket.
const dialTimeout = 2 * time.Second

// Errors of Listen that a caller may want to tell apart.
var (
	ErrTooLong = errors.New("the path is too long for a unix socket")
	ErrInUse   = errors.New("another process serves the control socket")
)

// Listen makes the socket. It replaces one that a process left behind which is gone, and no other file.
func Listen(path string) (net.Listener, error) {
	if err := checkLength(path); err != nil {
		return nil, err
	}
	defer lockDirectory(filepath.Dir(path))()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: ownerOnly}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, explainListen(path, err)
	}
	if err := closeToOthers(path); err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
	}
	return l, nil
}

// Check returns why Listen could not make the socket, as far as the path tells. It makes nothing, and takes no notice of a process
// that serves the socket.
func Check(path string) error {
	if err := checkLength(path); err != nil {
		return err
	}
	if _, err := isSocket(path); err != nil {
		return err
	}
	directory := filepath.Dir(path)
	switch info, err := os.Stat(directory); {
	case err != nil:
		return explainListen(path, err)
	case !info.IsDir():
		return explainListen(path, &fs.PathError{Op: "open", Path: directory, Err: syscall.ENOTDIR})
	}
	if err := mayMakeIn(directory); err != nil {
		return explainListen(path, &fs.PathError{Op: "write to", Path: directory, Err: err})
	}
	return nil
}

func checkLength(path string) error {
	if len(path) <= maxPath {
		return nil
	}
	return diagnose.WithFix(fmt.Errorf("control socket %s: %w: %d octets of at most %d", path, ErrTooLong, len(path), maxPath),
		"name a shorter one by the property control, such as control /run/coredns/control.sock")
}

// isSocket reports whether there is a socket, an error if there is another file.
func isSocket(path string) (bool, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, explainListen(path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return false, diagnose.WithFix(fmt.Errorf("control socket %s: there is a file of another kind", path), "remove it, or name another path by the property control")
	}
	return true, nil
}

// removeStale removes a socket that no process serves.
func removeStale(path string) error {
	if found, err := isSocket(path); !found {
		return err
	}
	conn, err := net.DialTimeout("unix", path, dialTimeout)
	if err == nil {
		conn.Close()
		return diagnose.WithFix(fmt.Errorf("%w %s", ErrInUse, path), "stop that process, or name another path by the property control")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return explainListen(path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explainListen(path, err)
	}
	return nil
}

func explainListen(path string, err error) error {
	err = fmt.Errorf("control socket %s: %w", path, err)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return diagnose.WithFix(err, "let the user that the server runs as (uid %d) write to the directory, or name another path by the property control", os.Geteuid())
	case errors.Is(err, fs.ErrNotExist):
		return diagnose.WithFix(err, "make the directory, or name another path by the property control")
	}
	return diagnose.WithFix(err, "name another path by the property control")
}
