package adzone

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

const (
	defaultTimeout = 30 * time.Second
	pageSize       = 500 // below the 1000 that controllers permit by default
	// ownerOnly has the owner alone in security descriptors ([MS-ADTS] 3.1.1.3.4.1.11). Others parts need more rights.
	ownerOnly = 1
)

// Server says whom to ask, and as whom.
type Server struct {
	// Address is the host and port of a domain controller.
	Address string
	// ServicePrincipal is the controller's Kerberos name, such as ldap/dc1.corp.example.com.
	ServicePrincipal string
	Credentials      *client.Credentials
	// Timeout is for the connection and for each request. Zero is 30 s.
	Timeout time.Duration
}

// directory is an authenticated connection to a domain controller.
type directory struct {
	ldap    searcher
	context *krb5.InitiatorContext

	domain     string   // DN of the controller's domain
	realm      string   // of that domain
	partitions []string // DNs
}

// searcher is what is needed of an ldap.Conn once it is authenticated.
type searcher interface {
	Search(*ldap.SearchRequest) (*ldap.SearchResult, error)
	Close() error
}

// connect connects to a controller, authenticates both sides, and reads what partitions it has.
func connect(ctx context.Context, s *Server) (*directory, error) {
	timeout := s.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ticket, err := s.Credentials.Ticket(ctx, s.ServicePrincipal)
	if err != nil {
		return nil, err
	}
	kerberos, err := krb5.NewInitiator(krb5.InitiatorConfig{
		Ticket: ticket.Ticket, SessionKey: ticket.SessionKey, Client: ticket.Client, Expires: ticket.Expires, Mutual: true, Subkey: true,
	})
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: timeout}
	raw, err := dialer.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		kerberos.Wipe()
		return nil, err
	}
	conn := &protectedConn{Conn: raw}
	l := ldap.NewConn(conn, false)
	l.SetTimeout(timeout)
	l.Start()
	d := &directory{ldap: l, context: kerberos}
	h := &handshake{context: kerberos}
	if err := l.GSSAPIBind(h, s.ServicePrincipal, ""); err != nil {
		d.close()
		return nil, fmt.Errorf("authentication to %s: %w", s.ServicePrincipal, err)
	}
	conn.maxSend = h.maxSend
	conn.protect(kerberos)
	if err := d.readRoot(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *directory) close() {
	_ = d.ldap.Close() // nothing was changed
	d.context.Wipe()
}

// readRoot reads the root of the directory tree (rootDSE, RFC 4512 section 5.1).
func (d *directory) readRoot() error {
	entries, err := d.search("", ldap.ScopeBaseObject, "(objectClass=*)", nil, "defaultNamingContext", "namingContexts")
	if err != nil {
		return err
	}
	if len(entries) != 1 || entries[0].GetEqualFoldAttributeValue("defaultNamingContext") == "" {
		return errors.New("this is not a domain controller of Active Directory: it has no defaultNamingContext")
	}
	d.domain = entries[0].GetEqualFoldAttributeValue("defaultNamingContext")
	d.partitions = entries[0].GetEqualFoldAttributeValues("namingContexts")
	if d.realm, err = realmOf(d.domain); err != nil {
		return err
	}
	return nil
}

// realmOf returns the realm of a domain: its name in DNS, in upper case.
func realmOf(domain string) (string, error) {
	dn, err := ldap.ParseDN(domain)
	if err != nil {
		return "", fmt.Errorf("domain %q: %w", domain, err)
	}
	var labels []string
	for _, rdn := range dn.RDNs {
		if len(rdn.Attributes) != 1 || !strings.EqualFold(rdn.Attributes[0].Type, "DC") {
			return "", fmt.Errorf("domain %q is not a name of DNS", domain)
		}
		labels = append(labels, rdn.Attributes[0].Value)
	}
	return strings.ToUpper(strings.Join(labels, ".")), nil
}

// search returns the entries that a search finds.
func (d *directory) search(base string, scope int, filter string, controls []ldap.Control, attributes ...string) ([]*ldap.Entry, error) {
	result, err := d.ldap.Search(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 0, 0, false, filter, attributes, controls))
	if err != nil {
		return nil, err
	}
	return result.Entries, nil
}

// pages calls take with the entries of one page after the other.
func (d *directory) pages(ctx context.Context, base string, scope int, filter string, attributes []string, take func([]*ldap.Entry) error) error {
	paging := ldap.NewControlPaging(pageSize)
	controls := []ldap.Control{paging, &ldap.ControlMicrosoftSDFlags{Criticality: true, ControlValue: ownerOnly}}
	for ctx.Err() == nil {
		result, err := d.ldap.Search(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 0, 0, false, filter, attributes, controls))
		if err != nil {
			return err
		}
		if err := take(result.Entries); err != nil {
			return err
		}
		next, ok := ldap.FindControl(result.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		if !ok || len(next.Cookie) == 0 {
			return nil
		}
		paging.SetCookie(next.Cookie)
	}
	return context.Cause(ctx)
}

// findZone returns the object of a zone. dn names it, if there are several.
func (d *directory) findZone(origin, dn string) (*ldap.Entry, error) {
	name := strings.TrimSuffix(origin, ".")
	filter := fmt.Sprintf("(&(objectClass=dnsZone)(dc=%s))", ldap.EscapeFilter(name))
	if dn != "" {
		entries, err := d.search(dn, ldap.ScopeBaseObject, filter, nil, "dnsProperty")
		if err == nil && len(entries) != 1 {
			err = fmt.Errorf("%s is not the object of the zone %s", dn, name)
		}
		if err != nil {
			return nil, err
		}
		return entries[0], nil
	}
	var found []*ldap.Entry
	for _, partition := range d.partitions {
		for _, container := range []string{"CN=MicrosoftDNS,", "CN=MicrosoftDNS,CN=System,"} {
			entries, err := d.search(container+partition, ldap.ScopeSingleLevel, filter, nil, "dnsProperty")
			if ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) || ldap.IsErrorWithCode(err, ldap.LDAPResultReferral) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("%s%s: %w", container, partition, err)
			}
			found = append(found, entries...)
		}
	}
	switch len(found) {
	case 0:
		return nil, diagnose.WithFix(fmt.Errorf("no partition of the domain controller has the zone %s, or %s may not read it", name, "who asks"),
			"ask a domain controller that is a DNS server of the zone, as a member of DnsAdmins")
	case 1:
		return found[0], nil
	}
	var names []string
	for _, entry := range found {
		names = append(names, entry.DN)
	}
	slices.Sort(names)
	return nil, diagnose.WithFix(fmt.Errorf("%d partitions have the zone %s: %s", len(found), name, strings.Join(names, "; ")),
		"name the one that is in use: ldap://HOST/DN")
}

// escapeOctets writes octets for a filter (RFC 4515 section 3).
func escapeOctets(octets []byte) string {
	var b strings.Builder
	for _, octet := range octets {
		b.WriteByte('\\')
		b.WriteString(hex.EncodeToString([]byte{octet}))
	}
	return b.String()
}
