//go:build unix

package listener

import (
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// BenchmarkUDPQuery compares a query through this listener with one through CoreDNS's own server, both answered by
// whoami, and with one that is answered from its octets: also on a socket for every address, and where CoreDNS's metrics
// count it. A client keeps a window of queries on their way. On a busy machine, the CPU time, of client and server together,
// tells more than the time passed.
func BenchmarkUDPQuery(b *testing.B) {
	probeAnswerers.Store("short", answerShortly)
	defer probeAnswerers.Delete("short")
	for _, way := range []struct {
		name, directive string
		qtype           uint16
	}{
		{"listener", "bind 127.0.0.1\nprobe a", dns.TypeA},
		{"shortcut", "bind 127.0.0.1\nprobe short", dns.TypeTXT},
		{"every address", "probe short", dns.TypeTXT},
		{"counted", "bind 127.0.0.1\nprometheus 127.0.0.1:0\nprobe short", dns.TypeTXT},
		{"stock", "bind 127.0.0.1", dns.TypeA},
	} {
		b.Run(way.name, func(b *testing.B) {
			port := freePort(b)
			start(b, fmt.Sprintf("example.org:%s {\n%s\nwhoami\n}", port, way.directive))
			q := query("next.example.org.", way.qtype)
			q.SetEdns0(1232, false)
			wire, err := q.Pack()
			if err != nil {
				b.Fatal(err)
			}
			// The server's goroutines run once a query is answered.
			ask(b, "udp", local(port), q)
			b.ReportAllocs()
			b.ResetTimer()
			before := cpuTime(b)
			b.RunParallel(func(pb *testing.PB) {
				c, err := net.Dial("udp", local(port))
				if err != nil {
					b.Error(err)
					return
				}
				defer c.Close()
				buffer := make([]byte, 1232)
				const window = 100
				for more := true; more; {
					sent := 0
					for ; sent < window && more; sent++ {
						if more = pb.Next(); !more {
							break
						}
						if _, err := c.Write(wire); err != nil {
							b.Error(err)
							return
						}
					}
					for range sent {
						c.SetReadDeadline(time.Now().Add(5 * time.Second))
						if _, err := c.Read(buffer); err != nil {
							b.Error(err)
							return
						}
					}
				}
			})
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

func cpuTime(b *testing.B) int64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return used.Utime.Nano() + used.Stime.Nano()
}
