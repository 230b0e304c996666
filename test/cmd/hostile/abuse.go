package main

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// insider is a client whose ticket is good and who abuses it. Its identity is the one that is recorded.
const insider = 0

// An abuse is what an insider sends: the message of that number, starting with 1.
type abuse struct {
	name    string
	message func(n int) *dns.Msg
	period  int  // after how many messages the same ones follow, 0 for never
	unread  bool // the answers are not read
	udp     bool // as fast as they go, answers are not waited for
}

// ordinary is what the abuses are compared with: updates like those of the good clients.
var ordinary = abuse{name: "ordinary updates", message: func(n int) *dns.Msg {
	return updateOf("client0."+zoneName, uint32(n))
}}

// namesEach is how many names a message of many names has.
const namesEach = 250

var abuses = []abuse{
	{name: "long names", period: 2, message: func(n int) *dns.Msg {
		return addressesOf(n%2 == 1, namesEach, func(i int) string {
			return fmt.Sprintf("%s.%s.%s.long%d.", strings.Repeat("x", 60), strings.Repeat("y", 60), strings.Repeat("z", 60), i)
		})
	}},
	{name: "deep names", period: 4, message: func(n int) *dns.Msg {
		// As many names as the limit on empty non-terminals permits, and then what it refuses.
		names := 9
		if n%4 > 1 {
			names = namesEach
		}
		return addressesOf(n%2 == 1, names, func(i int) string { return strings.Repeat("a.", 100) + fmt.Sprintf("deep%d.", i) })
	}},
	{name: "nothing to change", period: 1, message: func(int) *dns.Msg {
		return addressesOf(false, 1, func(int) string { return "missing." })
	}},
	{name: "tombstones", message: func(n int) *dns.Msg {
		return addressesOf(n%2 == 1, namesEach, func(i int) string { return fmt.Sprintf("t%d-%d.", (n-1)/2, i) })
	}},
	{name: "unread answers", message: ordinary.message, unread: true},
	{name: "messages by UDP", message: ordinary.message, udp: true},
}

// abuseOf returns the one of that name.
func abuseOf(name string) (abuse, bool) {
	all := append([]abuse{ordinary}, abuses...)
	i := slices.IndexFunc(all, func(a abuse) bool { return a.name == name })
	if i < 0 {
		return abuse{}, false
	}
	return all[i], true
}

// addressesOf adds an address to that many names, or deletes the names.
func addressesOf(add bool, names int, name func(i int) string) *dns.Msg {
	m := new(dns.Msg).SetUpdate(zoneName)
	for i := range names {
		header := dns.RR_Header{Name: name(i) + zoneName, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}
		if add {
			m.Insert([]dns.RR{&dns.A{Hdr: header, A: net.IPv4(10, 0, 0, 1)}})
		} else {
			m.RemoveName([]dns.RR{&dns.A{Hdr: header}})
		}
	}
	return m
}
