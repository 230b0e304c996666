//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package control

// lockDirectory does nothing where directories cannot be locked.
func lockDirectory(string) (unlock func()) { return func() {} }
