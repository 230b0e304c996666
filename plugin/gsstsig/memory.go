package gsstsig

import (
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/gsstsig/coredns-gsstsig/zone"
)

// manyRecords is how many records a zone has at least for returnMemory to be worth its time.
const manyRecords = 100_000

// returnMemory has the memory that loading a zone took, beside the zone itself, given back to the system. It is about as much
// as the zone has, and the Go runtime would keep it for later.
func returnMemory(z *zone.Zone) {
	if z.Snapshot().Len() >= manyRecords {
		go debug.FreeOSMemory()
	}
}

// memoryInterval is how often it is looked whether memory is to be given back.
const memoryInterval = 10 * time.Second

// The memory that is worth its time to be given back: so much, and this part of what is in use.
const (
	muchMemory    = 64 << 20
	memoryPortion = 4
)

// busyPortion is the part of the memory in use that a process takes anew in an interval if it has work to do.
const busyPortion = 32

// memoryReading is what the Go runtime knows about the memory of the process, in octets.
type memoryReading struct {
	taken uint64 // since the start
	inUse uint64 // at the last collection
	held  uint64 // what the heap has of the system now
}

// returnIdleMemory looks at each tick whether the process has become idle and holds much memory that it does not use, and
// gives that back to the system. The Go runtime keeps as much again as is in use, for the time that work comes: after many
// updates in a large zone that is hundreds of megabytes.
func returnIdleMemory(ticks <-chan time.Time) {
	last := readMemory()
	for range ticks {
		now := readMemory()
		if now.returnable(last) {
			debug.FreeOSMemory()
		}
		last = now
	}
}

// returnable reports whether there is much memory to give back, and little was taken since an earlier reading.
func (m memoryReading) returnable(earlier memoryReading) bool {
	idle := m.taken-earlier.taken <= m.inUse/busyPortion
	return idle && m.held >= m.inUse+max(muchMemory, m.inUse/memoryPortion)
}

func readMemory() memoryReading {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	return memoryReading{
		taken: samples[0].Value.Uint64(),
		inUse: samples[1].Value.Uint64(),
		held:  samples[2].Value.Uint64() + samples[3].Value.Uint64(),
	}
}
