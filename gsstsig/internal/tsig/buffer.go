package tsig

import "sync"

// maxBuffer keeps one large message from holding its memory for good.
const maxBuffer = 16 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// Buffer returns an empty buffer for what a MAC covers. Give it back by
// Release when nothing refers to its octets any more. BenchmarkVerifyHMAC and
// BenchmarkSign are the reason for the pool.
func Buffer() *[]byte { return buffers.Get().(*[]byte) }

// Release makes a buffer available again.
func Release(b *[]byte) {
	if cap(*b) <= maxBuffer {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}
