//go:build unix

package control

import (
	"fmt"
	"os"
	"syscall"
)

// mayMakeIn returns an error if this user cannot make files in a directory.
func mayMakeIn(directory string) error {
	const mayWrite, mayExecute = 2, 1 // of access(2)
	return syscall.Access(directory, mayWrite|mayExecute)
}

// ownerOf names the owner of a file for a message, if it can be seen.
func ownerOf(path string) string {
	info, err := os.Lstat(path)
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf(" (uid %d)", stat.Uid)
}
