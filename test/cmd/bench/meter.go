package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// meter tells who used the CPUs during a measurement: the server, this process with its children (the generator), and
// all others.
type meter struct {
	server             *subject
	began              time.Time
	serverCPU, ownCPU  time.Duration
	machineCPU, passed time.Duration
}

func newMeter(s *subject) *meter {
	m := &meter{server: s, began: time.Now(), serverCPU: s.cpu(), ownCPU: ownCPU()}
	m.machineCPU, m.passed = machineCPU()
	return m
}

// usage is CPU time, and the share of the machine that went elsewhere.
type usage struct {
	server, generator time.Duration
	others            float64
}

func (m *meter) read() usage {
	u := usage{server: m.server.cpu() - m.serverCPU, generator: ownCPU() - m.ownCPU}
	busy, passed := machineCPU()
	if passed > m.passed {
		u.others = max(0, float64(busy-m.machineCPU-u.server-u.generator)/float64(passed-m.passed))
	}
	return u
}

// ownCPU is what this process and its children that have ended have used.
func ownCPU() time.Duration {
	var total time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var r syscall.Rusage
		if err := syscall.Getrusage(who, &r); err == nil {
			total += time.Duration(r.Utime.Nano() + r.Stime.Nano())
		}
	}
	return total
}

// machineCPU is how long all CPUs together have been at work, time stolen by the hypervisor included, and how long they
// have been up.
func machineCPU() (busy, passed time.Duration) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	// user nice system idle iowait irq softirq steal; what follows is counted in user already.
	for i, field := range strings.Fields(line)[1:9] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0
		}
		passed += time.Duration(n) * clockTick
		if i != 3 && i != 4 {
			busy += time.Duration(n) * clockTick
		}
	}
	return busy, passed
}

// median of an even number of values is the mean of the two in the middle; of none it is 0.
func median[T ~int64 | ~float64](values []T) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
