//go:build !unix

package listener

// watchTermination does nothing where caddy takes no SIGUSR1.
func (*process) watchTermination(<-chan struct{}) {}
