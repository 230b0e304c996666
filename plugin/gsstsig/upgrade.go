package gsstsig

import (
	"errors"

	"github.com/coredns/caddy"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// errUpgrade is why a running server is not replaced by another process on SIGUSR2, which caddy would do: it starts the
// binary again, hands its sockets over, and stops once the new process serves. The new process cannot open the databases
// while the old one uses them, and a context that both know could be used to replay a message.
var errUpgrade = diagnose.WithFix(
	errors.New("SIGUSR2: a running server cannot be replaced while it serves, since the databases and the contexts of clients are its own; it goes on unchanged"),
	"restart CoreDNS to run another binary; to load a changed Corefile send SIGUSR1")

// isUpgrade reports whether caddy started this process to replace a running one, and it has not started serving. Once it
// serves, another instance is that of a reload.
func isUpgrade() bool { return caddy.IsUpgrade() && len(caddy.Instances()) == 1 }
