//go:build !linux

package process

import "os/exec"

// startToDieWithParent starts a program; the system cannot do more.
func startToDieWithParent(cmd *exec.Cmd) (*Process, error) { return StartGuarded(cmd) }
