//go:build e2e

// Package page tries the status page in a browser, with real updates behind it.
package page

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
	"github.com/gsstsig/coredns-gsstsig/internal/test/realm"
	"github.com/gsstsig/coredns-gsstsig/internal/test/server"
	"github.com/gsstsig/coredns-gsstsig/internal/test/suite"
)

const (
	realmName = "CORP.EXAMPLE.COM"
	zoneName  = "corp.example.com"
	reverse   = "2.0.192.in-addr.arpa"
	owner     = "host/pc17.corp.example.com"
	other     = "host/pc18.corp.example.com"
	late      = "host/pc19.corp.example.com" // comes when the KDC has a new key
)

// site is the server that all tests look at.
var site struct {
	ctx    context.Context
	realm  *realm.Realm
	server *server.Server
	url    string
}

func TestMain(m *testing.M) {
	os.Exit(suite.Run(m, "page", prepare, func() error {
		if site.server != nil {
			if err := site.server.Stop(); err != nil {
				return err
			}
		}
		if site.realm != nil {
			site.realm.Stop()
		}
		return nil
	}))
}

func prepare(ctx context.Context, dir string) error {
	if err := process.Require("nsupdate", "chromium"); err != nil {
		return err
	}
	site.ctx = ctx
	binary, err := server.Build(ctx, dir)
	if err != nil {
		return err
	}
	if site.realm, err = realm.Start(ctx, realm.Config{Name: realmName}); err != nil {
		return err
	}
	for _, name := range []string{"DNS/ns1.corp.example.com", owner, other, late} {
		if err := site.realm.AddPrincipal(name); err != nil {
			return err
		}
	}
	keytab, err := site.realm.Keytab(filepath.Join(dir, "dns.keytab"), "DNS/ns1.corp.example.com")
	if err != nil {
		return err
	}
	site.server, err = server.Start(ctx, server.Config{
		Binary: binary,
		Corefile: fmt.Sprintf("%s %s {\n    bind 127.0.0.1\n    gsstsig {\n        keytab %s\n        database zones\n        status localhost:{$PAGE_PORT}\n    }\n}\n",
			zoneName, reverse, keytab),
		Ports: []string{"PAGE_PORT"}, Probe: zoneName,
	})
	if err != nil {
		return err
	}
	site.url = "http://localhost:" + fmt.Sprint(site.server.Port("PAGE_PORT").Port())
	return happen(ctx)
}

// happen is what clients do before the tests look at the page.
func happen(ctx context.Context) error {
	for _, step := range []struct {
		who, zone, rcode string
		commands         []string
	}{
		{owner, zoneName, "NOERROR", []string{"update add pc17.corp.example.com 1200 A 192.0.2.9", "update add pc17.corp.example.com 1200 AAAA 2001:db8::17"}},
		{owner, zoneName, "NOERROR", []string{"update delete pc17.corp.example.com A", "update add pc17.corp.example.com 1200 A 192.0.2.17"}},
		{owner, reverse, "NOERROR", []string{"update add 17.2.0.192.in-addr.arpa 1200 PTR pc17.corp.example.com."}},
		{other, zoneName, "NOERROR", []string{"update add pc18.corp.example.com 1200 A 192.0.2.18"}},
		{other, zoneName, "NOERROR", []string{"update delete pc18.corp.example.com A"}},
		{other, zoneName, "REFUSED", []string{"update add pc17.corp.example.com 1200 A 192.0.2.66"}},
		{other, zoneName, "REFUSED", []string{"update delete ns1.corp.example.com A"}},
		{"", zoneName, "REFUSED", []string{"update add guest.corp.example.com 1200 A 192.0.2.99"}},
		{"", "example.org", "NOTAUTH", []string{"update add pc17.example.org 1200 A 192.0.2.17"}},
	} {
		update := dnsutils.Update{Server: site.server.Address, Zone: step.zone, Commands: step.commands}
		if step.who != "" {
			var err error
			if update.Env, err = environment(step.who); err != nil {
				return err
			}
			update.Auth = "-g"
		}
		outcome, err := update.Run(ctx)
		if err != nil {
			return err
		}
		if outcome.Rcode != step.rcode {
			return fmt.Errorf("%s: %v: %s, want %s\n%s", step.who, step.commands, outcome.Rcode, step.rcode, outcome.Output)
		}
	}
	return failHandshake(ctx)
}

// environment is that of a client with a ticket.
func environment(principal string) ([]string, error) {
	cache, err := site.realm.CCache(principal)
	if err != nil {
		return nil, err
	}
	return site.realm.Env(cache)
}

// failHandshake has a client fail: the KDC has a new key for the server, which the keytab does not have.
func failHandshake(ctx context.Context) error {
	if err := site.realm.ChangeKeys("DNS/ns1.corp.example.com"); err != nil {
		return err
	}
	env, err := environment(late)
	if err != nil {
		return err
	}
	update := dnsutils.Update{Server: site.server.Address, Zone: zoneName, Auth: "-g", Env: env,
		Commands: []string{"update add pc19.corp.example.com 1200 A 192.0.2.19"}}
	if _, err := update.Run(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return site.server.Log().Wait(ctx, 0, func(text string) bool { return strings.Contains(text, "handshake result=badkey") })
}
