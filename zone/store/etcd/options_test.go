package etcd

import (
	"crypto/tls"
	"strings"
	"testing"
)

func TestOptions(t *testing.T) {
	right := func() Options { return Options{Endpoints: []string{"https://10.0.0.1:2379"}, Server: "ns1"} }
	c, err := Open(right())
	if err != nil {
		t.Fatal(err)
	}
	if c.options.Prefix != DefaultPrefix || c.Server() != "ns1" {
		t.Errorf("%+v", c.options)
	}
	if _, err := c.Zone("", ZoneOptions{}); err == nil {
		t.Error("a zone without name")
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	for what, test := range map[string]struct {
		change func(*Options)
		text   string
	}{
		"no endpoints":       {func(o *Options) { o.Endpoints = nil }, "no endpoints"},
		"no server":          {func(o *Options) { o.Server = "" }, "Fix: "},
		"slash in server":    {func(o *Options) { o.Server = "a/b" }, "Fix: "},
		"long server":        {func(o *Options) { o.Server = strings.Repeat("x", 256) }, "Fix: "},
		"prefix":             {func(o *Options) { o.Prefix = "/dns" }, "slash"},
		"no password":        {func(o *Options) { o.Username = "dns" }, "password"},
		"no user":            {func(o *Options) { o.Password = "secret" }, "user name"},
		"no scheme":          {func(o *Options) { o.Endpoints[0] = "10.0.0.1:2379" }, ""},
		"no host":            {func(o *Options) { o.Endpoints[0] = "https://" }, "Fix: "},
		"path":               {func(o *Options) { o.Endpoints[0] += "/v3" }, "Fix: "},
		"user in URL":        {func(o *Options) { o.Endpoints[0] = "https://u:secret@10.0.0.1:2379" }, "Fix: "},
		"user in no URL":     {func(o *Options) { o.Endpoints[0] = "https://u:secret%zz@10.0.0.1:2379" }, "10.0.0.1"},
		"certificate, http":  {func(o *Options) { o.Endpoints[0], o.TLS = "http://10.0.0.1:2379", &tls.Config{} }, "Fix: write https"},
		"password over http": {func(o *Options) { o.Endpoints[0], o.Username, o.Password = "http://10.0.0.1:2379", "dns", "secret" }, "Fix: write https"},
	} {
		o := right()
		test.change(&o)
		if _, err := Open(o); err == nil || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestZonePrefix(t *testing.T) {
	for origin, want := range map[string]string{
		"example.test.": "/gsstsig/zone/example.test./", "0/26.2.0.192.in-addr.arpa.": `/gsstsig/zone/0\04726.2.0.192.in-addr.arpa./`,
		`a\\047.test.`: `/gsstsig/zone/a\\047.test./`,
	} {
		got := ZonePrefix("", origin)
		if got != want {
			t.Errorf("%s: %q", origin, got)
		}
		if back := unescapeSlash.Replace(strings.TrimSuffix(strings.TrimPrefix(got, "/gsstsig/zone/"), "/")); back != origin {
			t.Errorf("%s became %s", origin, back)
		}
	}
}
