//go:build e2e && linux

package ad

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

var (
	sambaDNSUpdate  = tested.Client{Name: "samba_dnsupdate", Package: "samba"}
	sambaController = tested.Client{Name: "Samba domain controller", Package: "samba"}
)

// registered has the controller register its records, once, and returns what samba_dnsupdate said. Without them no
// other machine finds the domain.
var registered = sync.OnceValues(func() (string, error) {
	dc := shared.domain.dc
	args := []string{"--verbose", "--all-names", "--use-nsupdate"}
	for _, address := range dc.Addresses {
		args = append(args, "--current-ip="+address.Addr().String())
	}
	return dc.Output(dc.Command(shared.ctx, "samba_dnsupdate", args...))
})

// register makes sure that the controller's records are there.
func register(t *testing.T) string {
	t.Helper()
	said, err := registered()
	if err != nil {
		t.Fatal(err)
	}
	return said
}

// controllerRecord is how samba_dnsupdate names a record: type, owner, target, port.
var controllerRecord = regexp.MustCompile(`(?m)^update\(nsupdate\): (\w+) (\S+) (\S+)(?: (\d+))?$`)

// TestControllerRegisters has the domain controller register all that it needs, the domain's name servers and addresses
// among it, by signed updates. The server must have all of it afterwards.
func TestControllerRegisters(t *testing.T) {
	tested.Path(t, sambaDNSUpdate, "every record of a controller")
	said := register(t)
	lines := controllerRecord.FindAllStringSubmatch(said, -1)
	const wanted = 34
	if len(lines) != wanted {
		t.Errorf("%d records, want %d:\n%s", len(lines), wanted, said)
	}
	for _, line := range lines {
		qtype, name, target, port := line[1], line[2], line[3], line[4]
		data, err := records(shared.domain.ns, name, dns.StringToType[qtype])
		if err != nil {
			t.Error(err)
		}
		has := slices.ContainsFunc(data, func(got string) bool {
			fields := strings.Fields(strings.TrimSuffix(got, "."))
			return fields[len(fields)-1] == target && (port == "" || fields[len(fields)-2] == port)
		})
		if !has {
			t.Errorf("%s is not there but %q", line[0], data)
		}
	}
	if text := shared.domain.dns.Log().String(); strings.Count(text, "DC1$@CORP.TEST") < wanted {
		t.Errorf("the log does not name the controller for each update:\n%s", text)
	}

	t.Run("again", func(t *testing.T) {
		tested.Path(t, sambaDNSUpdate, "nothing to do")
		dc := shared.domain.dc
		said, err := dc.Output(dc.Command(testContext(t), "samba_dnsupdate", "--verbose", "--use-nsupdate"))
		if err != nil || controllerRecord.MatchString(said) {
			t.Errorf("%v\n%s", err, said)
		}
	})
}
