package service

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/internal/regular"
	"github.com/gsstsig/coredns-gsstsig/zone"
	"github.com/gsstsig/coredns-gsstsig/zone/store"
)

// Seed returns what a zone of the block starts with, and how messages call it: its master file, or records made from the keytab. The
// addresses are those that the server answers on. seed calls warn with what is doubtful in the master file.
func (s *Service) Seed(origin string, addresses []net.IP, warn func(diagnose.Finding)) (source string, seed func() ([]store.Record, error)) {
	file, ok := s.Seeds[origin]
	if !ok {
		return "the SOA and NS records made from the keytab", func() ([]store.Record, error) {
			return generatedApex(origin, primaryFor(origin, s.Hosts), addresses)
		}
	}
	return file, func() ([]store.Record, error) {
		f, err := regular.Open(file)
		switch {
		case errors.Is(err, regular.ErrDirectory):
			return nil, diagnose.WithFix(fmt.Errorf("master file: %w", err), "name the master file in it")
		case err != nil:
			return nil, diagnose.WithFix(fmt.Errorf("master file: %w", err), "correct the property file, or leave it out to start with an empty zone")
		}
		defer f.Close()
		return zone.ParseSeed(f, SeedConfig(origin, file, warn))
	}
}

// SeedConfig is how a zone's master file is read: with the files that it includes. What is doubtful in it goes to warn.
func SeedConfig(origin, file string, warn func(diagnose.Finding)) zone.SeedConfig {
	owners := false
	return zone.SeedConfig{
		Origin: origin, File: file, Open: openIncluded,
		Warn: func(w zone.SeedWarning) {
			problem := zone.SeedWarning{File: w.File, Line: w.Line, Text: w.Text}
			warn(diagnose.Finding{Severity: diagnose.Warning, Subject: "zone " + origin, Problem: problem.String(), Fix: w.Fix})
		},
		Annotate: func([]string) error {
			if !owners {
				owners = true
				warn(diagnose.Finding{Severity: diagnose.Warning, Subject: "zone " + origin,
					Problem: file + " is a backup, and the owners of names in it are not read",
					Fix:     "restore a backup by coredns gsstsig load"})
			}
			return nil
		},
	}
}

func openIncluded(name string) (io.ReadCloser, error) { return regular.Open(name) }

// SeedFindings returns the errors of a master file as findings, nil for an error that is none.
func SeedFindings(origin string, err error) []diagnose.Finding {
	var all zone.SeedErrors
	if !errors.As(err, &all) {
		var one *zone.SeedError
		if !errors.As(err, &one) {
			return nil
		}
		all = zone.SeedErrors{one}
	}
	findings := make([]diagnose.Finding, len(all))
	for i, e := range all {
		problem := zone.SeedError{File: e.File, Line: e.Line, Reason: e.Reason}
		findings[i] = diagnose.Finding{Severity: diagnose.Error, Subject: "zone " + origin, Problem: problem.Error(), Fix: cmp.Or(e.Fix, "correct the master file")}
	}
	return findings
}

// ListenAddresses returns the addresses that a server block answers on: those of its bind directive or, on the wildcard
// address, the global unicast addresses of the machine. The error is that of listing these.
func ListenAddresses(hosts []string) ([]net.IP, error) {
	var addresses []net.IP
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
			addresses = append(addresses, ip)
		}
	}
	if len(addresses) > 0 {
		return addresses, nil
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("listing the addresses of this machine: %w", err)
	}
	for _, a := range all {
		if network, ok := a.(*net.IPNet); ok && network.IP.IsGlobalUnicast() {
			addresses = append(addresses, network.IP)
		}
	}
	return addresses, nil
}

// primaryFor picks the host that a generated SOA names as primary server: one inside the zone if there is one.
func primaryFor(origin string, hosts []string) string {
	for _, host := range hosts {
		if dns.IsSubDomain(origin, host) {
			return host
		}
	}
	return hosts[0]
}

// generatedApex makes the records of a zone that has no master file. A primary server inside the zone gets its addresses
// there, since no other zone can have them.
func generatedApex(origin, mname string, addresses []net.IP) ([]store.Record, error) {
	records, err := zone.GeneratedApex(origin, mname)
	if err != nil || !dns.IsSubDomain(origin, mname) {
		return records, err
	}
	for _, ip := range addresses {
		header := dns.RR_Header{Name: dns.CanonicalName(mname), Class: dns.ClassINET, Ttl: records[0].TTL}
		var rr dns.RR
		if v4 := ip.To4(); v4 != nil {
			header.Rrtype = dns.TypeA
			rr = &dns.A{Hdr: header, A: v4}
		} else {
			header.Rrtype = dns.TypeAAAA
			rr = &dns.AAAA{Hdr: header, AAAA: ip}
		}
		record, err := zone.RecordOf(rr)
		if err != nil {
			return nil, err
		}
		records = append(records, record)
	}
	return records, nil
}
