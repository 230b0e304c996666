// Dnsclients does by the code of three programs what these do to a DNS zone: external-dns (its provider rfc2136), lego (an
// ACME client, with its provider dnsupdate) and cert-manager (its solver rfc2136). The programs themselves have providers for all the world, which would take minutes
// to build. It is a module of its own, so that nothing of them is among what the product requires; the ACME server for the
// tests, pebble, is built from it too.
//
//	dnsclients external-dns ARGUMENT... -- list NAME | create NAME ADDRESS | update NAME OLD NEW | delete NAME ADDRESS
//	dnsclients lego DIRECTORY DOMAIN
//	dnsclients cert-manager ISSUER SECRET DOMAIN VALUE present|clean
//
// The arguments of external-dns are its own. Lego has its configuration from the environment, as the program has it. ISSUER is
// the file of a ClusterIssuer, and SECRET what its solver refers to.
package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	rfc2136solver "github.com/cert-manager/cert-manager/pkg/issuer/acme/dns/rfc2136"
	"github.com/cert-manager/cert-manager/pkg/issuer/acme/dns/util"
	"github.com/go-acme/lego/v5/acme"
	"github.com/go-acme/lego/v5/certcrypto"
	"github.com/go-acme/lego/v5/certificate"
	"github.com/go-acme/lego/v5/lego"
	"github.com/go-acme/lego/v5/providers/dns/dnsupdate"
	"github.com/go-acme/lego/v5/registration"
	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/pkg/apis/externaldns"
	"sigs.k8s.io/external-dns/plan"
	"sigs.k8s.io/external-dns/provider/rfc2136"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "dnsclients:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("which client?")
	}
	switch client, args := args[0], args[1:]; client {
	case "external-dns":
		end := slices.Index(args, "--")
		if end < 0 {
			return errors.New("there is no -- behind the arguments of external-dns")
		}
		return externalDNS(ctx, args[:end], args[end+1:])
	case "lego":
		if len(args) != 2 {
			return errors.New("lego needs the directory of an ACME server and a domain")
		}
		return obtain(ctx, args[0], args[1])
	case "cert-manager":
		if len(args) != 5 {
			return errors.New("cert-manager needs an issuer, a secret, a domain, a value and what to do")
		}
		return solve(ctx, args[0], args[1], args[2], args[3], args[4])
	default:
		return fmt.Errorf("there is no client %s", client)
	}
}

// externalDNS does one step of a synchronization.
func externalDNS(ctx context.Context, args, step []string) error {
	config := externaldns.NewConfig()
	if err := config.ParseFlags(args); err != nil {
		return err
	}
	p, err := rfc2136.New(ctx, config, endpoint.NewDomainFilter(config.DomainFilter))
	if err != nil {
		return err
	}
	if len(step) < 2 {
		return errors.New("external-dns needs a step and a name")
	}
	name, addresses := step[1], step[2:]
	// The record, and the mark that the registry txt puts beside it.
	endpoints := func(address string) []*endpoint.Endpoint {
		return []*endpoint.Endpoint{
			endpoint.NewEndpointWithTTL(name, endpoint.RecordTypeA, 300, address),
			endpoint.NewEndpointWithTTL("a-"+name, endpoint.RecordTypeTXT, 300, fmt.Sprintf(`"heritage=external-dns,external-dns/owner=%s"`, config.TXTOwnerID)),
		}
	}
	switch call := fmt.Sprint(step[0], " ", len(addresses)); call {
	case "create 1":
		return p.ApplyChanges(ctx, &plan.Changes{Create: endpoints(addresses[0])})
	case "update 2":
		return p.ApplyChanges(ctx, &plan.Changes{UpdateOld: endpoints(addresses[0]), UpdateNew: endpoints(addresses[1])})
	case "delete 1":
		return p.ApplyChanges(ctx, &plan.Changes{Delete: endpoints(addresses[0])})
	case "list 0":
		found, err := p.Records(ctx)
		if err != nil {
			return err
		}
		for _, e := range found {
			if e.DNSName == name || e.DNSName == "a-"+name {
				fmt.Println(e.DNSName, e.RecordType, e.Targets)
			}
		}
		return nil
	default:
		return fmt.Errorf("external-dns has no step %s with as many addresses", call)
	}
}

// user is an account at the ACME server.
type user struct{ key crypto.Signer }

func (u *user) GetEmail() string                       { return "" }
func (u *user) GetRegistration() *acme.ExtendedAccount { return nil }
func (u *user) GetPrivateKey() crypto.Signer           { return u.key }

// obtain gets a certificate by DNS challenge, from a server that is believed without proof.
func obtain(ctx context.Context, directory, domain string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	config := lego.NewConfig(&user{key})
	config.CADirURL = directory
	config.HTTPClient = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	client, err := lego.NewClient(config)
	if err != nil {
		return err
	}
	provider, err := dnsupdate.NewDNSProvider()
	if err != nil {
		return err
	}
	if err := client.Challenge.SetDNS01Provider(provider); err != nil {
		return err
	}
	if _, err := client.Registration.Register(ctx, registration.RegisterOptions{TermsOfServiceAgreed: true}); err != nil {
		return err
	}
	resource, err := client.Certificate.Obtain(ctx, certificate.ObtainRequest{Domains: []string{domain}, KeyType: certcrypto.EC256})
	if err != nil {
		return err
	}
	fmt.Printf("%s", resource.Certificate)
	return nil
}

// solve presents the answer to a challenge, or cleans it up, by the only solver of an issuer, as cert-manager's controller does: the name
// of the record and its zone are found by queries. Presented is what all name servers of the zone have.
func solve(ctx context.Context, file, secret, domain, value, do string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var issuer certmanager.ClusterIssuer
	if err := yaml.UnmarshalStrict(text, &issuer); err != nil {
		return err
	}
	solver := issuer.Spec.ACME.Solvers[0].DNS01.RFC2136
	provider, err := rfc2136solver.NewDNSProviderCredentials(solver.Nameserver, solver.TSIGAlgorithm, solver.TSIGKeyName, secret,
		rfc2136solver.WithNetwork(string(solver.Protocol)))
	if err != nil {
		return err
	}
	fqdn, err := util.DNS01LookupFQDN(ctx, domain, true, util.RecursiveNameservers...)
	if err != nil {
		return err
	}
	zone, err := util.FindZoneByFqdn(ctx, fqdn, util.RecursiveNameservers)
	if err != nil {
		return err
	}
	switch do {
	case "present":
		if err := provider.Present(domain, fqdn, zone, value); err != nil {
			return err
		}
		found, err := util.PreCheckDNS(ctx, fqdn, value, util.RecursiveNameservers, true)
		if err == nil && !found {
			err = errors.New("a name server does not have the record")
		}
		return err
	case "clean":
		return provider.CleanUp(domain, fqdn, zone, value)
	}
	return fmt.Errorf("cert-manager does not %s", do)
}
