package client

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	gokrb5 "github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// FromKeytab makes credentials of a principal whose key lies in a keytab file.
// krb5conf is the path of a krb5.conf, or of several, as in KRB5_CONFIG of MIT's
// library: with colons between them (semicolons on Windows), of which those that
// are missing are passed over. Where they name no KDCs of the realm, these are
// found by SRV records, unless dns_lookup_kdc is false. /etc/krb5.conf may be
// missing by itself. A principal without a realm belongs to default_realm. The KDC
// is not asked before the first ticket is.
func FromKeytab(krb5conf, keytabFile, principal string) (*Credentials, error) {
	conf, err := loadConfig(krb5conf)
	if err != nil {
		return nil, err
	}
	client, err := clientPrincipal(conf, principal)
	if err != nil {
		return nil, err
	}
	keys, err := loadKeytab(keytabFile)
	if err != nil {
		return nil, err
	}
	held := enctypesOf(keys, client)
	if len(held) == 0 {
		return nil, fmt.Errorf("keytab %s has no key for %s", keytabFile, client)
	}
	// The KDC picks the key that it encrypts its reply in from the types the
	// request lists, so only types that the keytab has may be listed.
	usable := slices.DeleteFunc(slices.Clone(conf.LibDefaults.DefaultTktEnctypeIDs), func(t int32) bool {
		return !slices.Contains(held, t)
	})
	if len(usable) == 0 {
		return nil, fmt.Errorf("keytab %s: krb5.conf allows none of the encryption types of the keys for %s", keytabFile, client)
	}
	conf.LibDefaults.DefaultTktEnctypeIDs = usable
	login := func(conf *config.Config) *gokrb5.Client {
		return gokrb5.NewWithKeytab(client.Name(), client.Realm, keys, conf, gokrb5.DisablePAFXFAST(true))
	}
	return newCredentials(client, newKDC(conf, login, client, "")), nil
}

// FromPassword makes credentials of a principal that logs in with a password.
// For krb5conf and principal see FromKeytab.
func FromPassword(krb5conf, principal, password string) (*Credentials, error) {
	conf, err := loadConfig(krb5conf)
	if err != nil {
		return nil, err
	}
	client, err := clientPrincipal(conf, principal)
	if err != nil {
		return nil, err
	}
	login := func(conf *config.Config) *gokrb5.Client {
		return gokrb5.NewWithPassword(client.Name(), client.Realm, password, conf, gokrb5.DisablePAFXFAST(true))
	}
	return newCredentials(client, newKDC(conf, login, client, "")), nil
}

// FromCCache makes credentials out of a credential cache file (a path, with or
// without the prefix "FILE:"), as kinit leaves it. The file is read again when
// its ticket-granting ticket has ended; if it then holds no newer one, the
// error is ErrTicketExpired.
func FromCCache(krb5conf, ccache string) (*Credentials, error) {
	conf, err := loadConfig(krb5conf)
	if err != nil {
		return nil, err
	}
	cache, err := readCCache(ccache)
	if err != nil {
		return nil, err
	}
	// gokrb5 wants a client for a ticket-granting exchange even though the
	// ticket alone authenticates it; this one has no secret to log in with.
	login := func(conf *config.Config) *gokrb5.Client {
		return gokrb5.NewWithPassword(cache.client.Name(), cache.client.Realm, "", conf, gokrb5.DisablePAFXFAST(true))
	}
	return newCredentials(cache.client, newKDC(conf, login, cache.client, ccache)), nil
}

// kdc talks to the KDCs of the client's realm and, for services elsewhere, to
// those of one further realm.
//
// It uses gokrb5's exchanges but not its session and ticket caches: those start
// a goroutine for every login, know tickets by a name without a realm, and do
// not tell when a service ticket ends.
type kdc struct {
	conf     *config.Config
	newLogin func(*config.Config) *gokrb5.Client
	login    *gokrb5.Client
	client   krb5.Principal
	ccache   string           // file to take tickets from instead of logging in; empty for the other kinds
	grants   map[string]grant // ticket-granting tickets, by the realm they open
}

type grant struct {
	ticket  messages.Ticket
	key     types.EncryptionKey
	expires time.Time
}

func (g grant) live() bool { return time.Now().Before(g.expires) }

func newKDC(conf *config.Config, newLogin func(*config.Config) *gokrb5.Client, client krb5.Principal, ccache string) *kdc {
	login := newLogin(conf)
	login.Credentials.SetCName(principalName(client)) // gokrb5 knows no escaped slashes
	return &kdc{conf: conf, newLogin: newLogin, login: login, client: client, ccache: ccache, grants: make(map[string]grant)}
}

func (k *kdc) withEnctypes(enctypes []krb5.Enctype) ticketSource {
	conf := *k.conf
	conf.LibDefaults.DefaultTGSEnctypeIDs = numbers(enctypes)
	return newKDC(&conf, k.newLogin, k.client, k.ccache)
}

func (k *kdc) ticket(service krb5.Principal) (ServiceTicket, error) {
	if service.Realm == "" {
		service.Realm = k.realmOf(service)
	}
	own, err := k.initialGrant(service)
	if err != nil {
		return ServiceTicket{}, err
	}
	if own.service != nil {
		return *own.service, nil
	}
	granting := own.grant
	if service.Realm != k.client.Realm {
		if granting, err = k.crossRealmGrant(granting, service.Realm); err != nil {
			return ServiceTicket{}, err
		}
	}
	g, err := k.exchange(granting, principalName(service), service.Realm)
	if err != nil {
		return ServiceTicket{}, err
	}
	return ServiceTicket{Ticket: g.ticket, SessionKey: g.key, Client: k.client, Expires: g.expires}, nil
}

// initial is either the ticket-granting ticket of the client's own realm or,
// when a credential cache already held it, the service ticket itself.
type initial struct {
	grant   grant
	service *ServiceTicket
}

func (k *kdc) initialGrant(service krb5.Principal) (initial, error) {
	if k.ccache != "" {
		return k.fromCCache(service)
	}
	if g, ok := k.grants[k.client.Realm]; ok && g.live() {
		return initial{grant: g}, nil
	}
	request, err := messages.NewASReqForTGT(k.client.Realm, k.conf, principalName(k.client))
	if err != nil {
		return initial{}, fmt.Errorf("logging in %s: %w", k.client, err)
	}
	reply, err := k.login.ASExchange(k.client.Realm, request, 0)
	if err != nil {
		return initial{}, fmt.Errorf("logging in %s: %w", k.client, err)
	}
	g := grant{reply.Ticket, reply.DecryptedEncPart.Key, reply.DecryptedEncPart.EndTime}
	k.grants[k.client.Realm] = g
	return initial{grant: g}, nil
}

func (k *kdc) fromCCache(service krb5.Principal) (initial, error) {
	g, ok := k.grants[k.client.Realm]
	if ok && g.live() {
		return initial{grant: g}, nil
	}
	cache, err := readCCache(k.ccache)
	if err != nil {
		return initial{}, err
	}
	if !cache.client.Equal(k.client) {
		return initial{}, fmt.Errorf("credential cache %s now belongs to %s, not %s", k.ccache, cache.client, k.client)
	}
	granting := krb5.Principal{Components: []string{"krbtgt", k.client.Realm}, Realm: k.client.Realm}
	if entry, ok := cache.find(granting, nil); ok && entry.live() {
		k.grants[k.client.Realm] = entry
		return initial{grant: entry}, nil
	}
	// A cache may hold nothing but the service ticket (kvno, kinit -S).
	if entry, ok := cache.find(service, k.conf.LibDefaults.DefaultTGSEnctypeIDs); ok && entry.live() {
		return initial{service: &ServiceTicket{Ticket: entry.ticket, SessionKey: entry.key, Client: k.client, Expires: entry.expires}}, nil
	}
	return initial{}, fmt.Errorf("credential cache %s: %w", k.ccache, ErrTicketExpired)
}

func (k *kdc) crossRealmGrant(own grant, realm string) (grant, error) {
	if g, ok := k.grants[realm]; ok && g.live() {
		return g, nil
	}
	name := types.PrincipalName{NameType: nametype.KRB_NT_SRV_INST, NameString: []string{"krbtgt", realm}}
	g, err := k.exchange(own, name, k.client.Realm)
	if err != nil {
		return grant{}, fmt.Errorf("entering realm %s: %w", realm, err)
	}
	k.grants[realm] = g
	return g, nil
}

// exchange is one TGS exchange (RFC 4120 section 3.3). gokrb5 leaves out the
// check that the ticket is for the service that was asked for.
func (k *kdc) exchange(granting grant, service types.PrincipalName, realm string) (grant, error) {
	_, reply, err := k.login.TGSREQGenerateAndExchange(service, realm, granting.ticket, granting.key, false)
	if err != nil {
		return grant{}, err
	}
	if !reply.DecryptedEncPart.SName.Equal(service) {
		return grant{}, errors.New("the KDC answered with a ticket for another service")
	}
	return grant{reply.Ticket, reply.DecryptedEncPart.Key, reply.DecryptedEncPart.EndTime}, nil
}

func (k *kdc) realmOf(service krb5.Principal) string {
	if len(service.Components) > 1 {
		if realm := k.conf.ResolveRealm(service.Components[len(service.Components)-1]); realm != "" {
			return realm
		}
	}
	return k.client.Realm
}

func principalName(p krb5.Principal) types.PrincipalName {
	return types.PrincipalName{NameType: nametype.KRB_NT_PRINCIPAL, NameString: p.Components}
}

func clientPrincipal(conf *config.Config, name string) (krb5.Principal, error) {
	principal, err := krb5.ParsePrincipal(name)
	if err != nil {
		return krb5.Principal{}, fmt.Errorf("client principal %q: %w", name, err)
	}
	if principal.Realm == "" {
		principal.Realm = conf.LibDefaults.DefaultRealm
	}
	if principal.Realm == "" {
		return krb5.Principal{}, fmt.Errorf("client principal %q has no realm, and krb5.conf sets no default_realm", name)
	}
	return principal, nil
}

// loadKeytab reads a keytab with gokrb5. Its errors quote the file's octets, and
// with them keys, so they are not passed on; and it can panic on a cut file.
func loadKeytab(file string) (keys *keytab.Keytab, err error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("keytab: %w", err)
	}
	defer func() {
		if r := recover(); r != nil {
			keys, err = nil, fmt.Errorf("keytab %s is damaged or not a keytab", file)
		}
	}()
	keys = keytab.New()
	if keys.Unmarshal(content) != nil {
		return nil, fmt.Errorf("keytab %s is damaged or not a keytab", file)
	}
	return keys, nil
}

func enctypesOf(keys *keytab.Keytab, principal krb5.Principal) []int32 {
	var held []int32
	for _, entry := range keys.Entries {
		if entry.Principal.Realm == principal.Realm && slices.Equal(entry.Principal.Components, principal.Components) {
			held = append(held, entry.Key.KeyType)
		}
	}
	return held
}
