package krb5

import "sync"

// windowSize is how far behind the highest number seen a MIC may come and
// still be checked for being new. UDP reorders, and so do the goroutines that
// verify concurrently.
const windowSize = 1024

// window remembers which sequence numbers of one direction have been seen.
// It is safe for concurrent use.
type window struct {
	mu    sync.Mutex
	first uint64 // the peer's first number
	next  uint64 // one above the highest number seen, counted from first
	short bool   // the numbers have 32 bits and wrap, as in RFC 1964
	seen  [windowSize / 64]uint64
}

// add records a number whose MIC has been verified, and reports whether it was
// new. Numbers older than the window, and those before the peer's first, are
// not. Numbers are 64 bits wide (RFC 4121, section 4.2.4), and may jump ahead:
// messages get lost.
func (w *window) add(number uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := number - w.first
	if w.short {
		// The one of these 32 bits that is nearest to what is expected.
		n = w.next + uint64(int64(int32(uint32(n)-uint32(w.next))))
	}
	if n >= 1<<63 {
		return false
	}
	if n >= w.next {
		if n-w.next >= windowSize {
			w.seen = [windowSize / 64]uint64{}
		} else {
			for i := w.next; i < n; i++ {
				w.seen[i/64%(windowSize/64)] &^= 1 << (i % 64)
			}
		}
		w.next = n + 1
	} else if w.next-n > windowSize || w.seen[n/64%(windowSize/64)]&(1<<(n%64)) != 0 {
		return false
	}
	w.seen[n/64%(windowSize/64)] |= 1 << (n % 64)
	return true
}
