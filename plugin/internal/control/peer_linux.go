package control

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// checkPeer refuses a server that may be an impostor: in a directory that everyone can write to, anyone can make a socket, and its
// process is neither root's, nor of the user who asks, nor of the directory's owner.
func checkPeer(path string, conn net.Conn) error {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var failure error
	if err := raw.Control(func(fd uintptr) { peer, failure = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return err
	}
	if failure != nil {
		return failure
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	return checkUser(path, peer.Uid, uint32(os.Geteuid()), dir)
}

// checkUser decides about a server by its user.
func checkUser(path string, server, client uint32, dir fs.FileInfo) error {
	const writableByAll = 0o002
	stat, ok := dir.Sys().(*syscall.Stat_t)
	if !ok || dir.Mode()&writableByAll == 0 || server == 0 || server == client || server == stat.Uid {
		return nil
	}
	return diagnose.WithFix(fmt.Errorf("control socket %s: it is served by a process of the user %d, and everyone can make a socket in that directory", path, server),
		"find out who that is; name another path by the property control, in a directory that only the user of the server can write to")
}
