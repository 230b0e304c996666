//go:build unix

package gsstsig

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// refuseUpgrades takes SIGUSR2 over from caddy for the rest of the process's life. If caddy got as far as starting a second
// process, the file descriptors of all sockets would be in blocking mode from then on, and the next reload or stop would
// wait until one more message comes to each socket.
//
// Caddy registers for the signal in a goroutine of its own, which may come late: so it is taken over twice. Where that is too
// early still, the second process ends by errUpgrade.
var refuseUpgrades = sync.OnceFunc(func() {
	requests := make(chan os.Signal, 1)
	takeOver := func() {
		signal.Ignore(syscall.SIGUSR2) // ends the delivery to caddy
		signal.Notify(requests, syscall.SIGUSR2)
	}
	takeOver()
	again := time.After(time.Second)
	go func() {
		for {
			select {
			case <-requests:
				log.Error(errUpgrade)
			case <-again:
				takeOver()
			}
		}
	}()
})
