package gsstsigtest

import (
	"sync"
	"time"
)

// Fault is a way to misbehave.
type Fault struct {
	kind  kind
	delay time.Duration
}

type kind int

const (
	none kind = iota
	wrongMAC
	echoMAC
	expired
	badTime
	refused
	slow
)

// The faults. Each occurs with real servers.
var (
	// WrongMAC: the answer's MAC is not the right one, as if it had been
	// changed on the way. The update was done.
	WrongMAC = Fault{kind: wrongMAC}
	// EchoMAC: the answer comes with the request's own MAC, as some answers of
	// Windows do. To take it for a signature of the server's is a mistake: any
	// host could send it. The update was done.
	EchoMAC = Fault{kind: echoMAC}
	// ExpiredContext: the server has forgotten all contexts, as after a
	// restart, and says BADKEY. A client makes another one.
	ExpiredContext = Fault{kind: expired}
	// BadTime: the server's clock is an hour ahead, so that it says BADTIME,
	// signed, and tells its own time.
	BadTime = Fault{kind: badTime}
	// Refused: the update is refused, signed.
	Refused = Fault{kind: refused}
)

// ahead is how wrong the clock of BadTime is.
const ahead = time.Hour

// Slow has an answer come late. A client that asks again meanwhile sends a
// second update, or is taken for an attacker that repeats a signature.
func Slow(by time.Duration) Fault { return Fault{kind: slow, delay: by} }

// Misbehave has the server do so at the next UPDATE messages, so many times;
// less than once means until it is told otherwise. What concerns signatures
// does nothing to unsigned ones. TKEY and queries are always answered as they
// should be. The zero Fault, or a call for another, ends the one before.
func (k *Kit) Misbehave(f Fault, times int) { k.server.faults.set(f, times) }

// Misbehaved returns how many UPDATE messages have met a fault.
func (k *Kit) Misbehaved() int {
	k.server.faults.mu.Lock()
	defer k.server.faults.mu.Unlock()
	return k.server.faults.met
}

// faults hands out what is to go wrong. It is safe for concurrent use.
type faults struct {
	mu      sync.Mutex
	fault   Fault
	left    int
	forever bool
	met     int
}

func (f *faults) set(fault Fault, times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.left, f.forever = fault, times, times < 1
}

// next is what is to go wrong with one more message.
func (f *faults) next() Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault.kind == none || !f.forever && f.left == 0 {
		return Fault{}
	}
	if !f.forever {
		f.left--
	}
	f.met++
	return f.fault
}

// spoil changes the signature of an answer in place. One that is not signed
// stays as it is.
func (f Fault) spoil(answer, request []byte) {
	if f.kind != wrongMAC && f.kind != echoMAC {
		return
	}
	signature, err := FindSignature(answer)
	if err != nil || signature == nil || len(signature.MAC) == 0 {
		return
	}
	if f.kind == wrongMAC {
		signature.MAC[len(signature.MAC)-1] ^= 1
		return
	}
	// Both are of the same key, and so of the same length.
	if of, err := FindSignature(request); err == nil && of != nil {
		copy(signature.MAC, of.MAC)
	}
}
