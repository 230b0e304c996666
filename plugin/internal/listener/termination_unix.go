//go:build unix

package listener

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Caddy takes signals from a channel that has room for one, and does not read it while it reloads. If another SIGUSR1 waits
// there, a SIGTERM is lost: the server goes on until it is killed, and the contexts of its clients are lost with it. So a SIGTERM
// that comes during a restart is sent again after that, until an instance begins to stop, or for a while: a program that embeds
// CoreDNS may ignore the signal. One that comes before caddy has called back is still lost.

const (
	// terminationTime is how long after a restart a signal may still be lost: caddy has to come back to its channel.
	terminationTime = time.Second
	// terminationInterval is what caddy has to begin with.
	terminationInterval = 250 * time.Millisecond
	// terminationAttempts is how often the signal is sent again at most.
	terminationAttempts = 120
)

// watchTermination watches for SIGTERM until a while after a restart, which ends when done is closed.
func (p *process) watchTermination(done <-chan struct{}) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	stops := p.stops.Load()
	p.watching.Go(func() {
		<-done
		lost := false
		select {
		case <-signals: // which came meanwhile, or comes now
			lost = true
		case <-time.After(terminationTime):
		}
		signal.Stop(signals) // a program that does not ask for the signal ends by it
		if !lost {
			return
		}
		for range terminationAttempts {
			if time.Sleep(terminationInterval); p.stops.Load() != stops {
				return
			}
			if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
				return
			}
		}
	})
}
