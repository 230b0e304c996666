//go:build !unix

package gsstsig

// refuseUpgrades does nothing where there is no SIGUSR2.
func refuseUpgrades() {}
