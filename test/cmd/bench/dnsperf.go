package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// queriesFile writes questions for the address of every host of a zone, in an order that is random and always the same.
func queriesFile(path string, zone zoneSpec) error {
	var b strings.Builder
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(zone.hosts) {
		fmt.Fprintf(&b, "%s A\n", zone.host(i))
	}
	return os.WriteFile(path, []byte(b.String()), 0o600)
}

var (
	dnsperfRate = regexp.MustCompile(`Queries per second:\s+([0-9.]+)`)
	dnsperfLost = regexp.MustCompile(`Queries lost:\s+([0-9]+)`)
	dnsperfGood = regexp.MustCompile(`NOERROR [0-9]+ \(100\.00%\)`)
)

// query asks a server as fast as it answers. It returns the rate of answers and how many queries got none.
func query(ctx context.Context, s *subject, file string, duration time.Duration) (perSecond float64, lost int, err error) {
	cmd := exec.CommandContext(ctx, "dnsperf", "-s", s.address.Addr().String(), "-p", fmt.Sprint(s.address.Port()), "-d", file,
		"-l", fmt.Sprint(max(1, int(duration.Seconds()))), "-c", "8", "-T", "1", "-q", "200",
		// Room for every answer outstanding, or dnsperf itself loses some, and no long wait for one that is lost: the CPU
		// time is measured until dnsperf ends.
		"-b", "1024", "-t", "1")
	output, err := cmd.CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("dnsperf: %w\n%s", err, output)
	}
	rate, none := dnsperfRate.FindSubmatch(output), dnsperfLost.FindSubmatch(output)
	if rate == nil || none == nil {
		return 0, 0, fmt.Errorf("dnsperf said:\n%s", output)
	}
	if !dnsperfGood.Match(output) {
		return 0, 0, fmt.Errorf("%s answered not every query with NOERROR:\n%s", s.name, output)
	}
	if lost, err = strconv.Atoi(string(none[1])); err != nil {
		return 0, 0, err
	}
	perSecond, err = strconv.ParseFloat(string(rate[1]), 64)
	return perSecond, lost, err
}
