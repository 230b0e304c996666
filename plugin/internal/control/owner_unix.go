//go:build unix

package control

import (
	"fmt"
	"os"
	"syscall"
)

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
