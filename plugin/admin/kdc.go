package admin

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/client"
	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/internal/krb5conf"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/service"
)

// kdcs asks the KDCs that a krb5.conf names.
type kdcs struct {
	krb5conf string
	ccache   string
}

func newKDCs(krb5conf, ccache string) *kdcs { return &kdcs{krb5conf: krb5conf, ccache: ccache} }

// fileFindings are the errors of the files that were named on the command line: a krb5.conf, if conf is true, and the credential
// cache.
func (k *kdcs) fileFindings(conf bool) (findings []diagnose.Finding) {
	_, confErr := krb5conf.Load(k.krb5conf)
	if confErr != nil && conf {
		findings = append(findings, diagnose.Finding{Severity: diagnose.Error, Subject: "-krb5conf", Problem: confErr.Error(),
			Fix: "name the krb5.conf of the realm, or leave -krb5conf out for " + krb5conf.Default()})
	}
	if k.ccache == "" {
		return findings
	}
	_, err := os.Stat(strings.TrimPrefix(k.ccache, "FILE:"))
	if err == nil && confErr == nil {
		_, err = client.FromCCache(k.krb5conf, k.ccache)
	}
	if err != nil {
		findings = append(findings, diagnose.Finding{Severity: diagnose.Error, Subject: "-ccache", Problem: err.Error(),
			Fix: "name a file that kinit has written: kinit -c FILE PRINCIPAL"})
	}
	return findings
}

// ticketKey is the key that a ticket is encrypted in.
type ticketKey struct {
	version uint32
	enctype krb5.Enctype
}

// ticket asks for a ticket to a service, as the server's own principal or with the credential cache.
func (k *kdcs) ticket(ctx context.Context, s *service.Service, principal krb5.Principal) (ticketKey, error) {
	if k.ccache != "" {
		credentials, err := client.FromCCache(k.krb5conf, k.ccache)
		if err != nil {
			return ticketKey{}, err
		}
		return ask(ctx, credentials, principal)
	}
	var errs []error
	asked := make(map[string]bool)
	for _, key := range s.Keytabs.Keys() {
		name := key.Principal.String()
		if key.Principal.Realm != principal.Realm || asked[name] {
			continue
		}
		asked[name] = true
		credentials, err := client.FromKeytab(k.krb5conf, key.File, name)
		if err == nil {
			var found ticketKey
			if found, err = ask(ctx, credentials, principal); err == nil {
				return found, nil
			}
		}
		errs = append(errs, fmt.Errorf("as %s: %w", name, err))
	}
	return ticketKey{}, errors.Join(errs...)
}

func ask(ctx context.Context, credentials *client.Credentials, principal krb5.Principal) (ticketKey, error) {
	t, err := credentials.Ticket(ctx, principal.String())
	if err != nil {
		return ticketKey{}, err
	}
	return ticketKey{version: uint32(t.Ticket.EncPart.KVNO), enctype: krb5.Enctype(t.Ticket.EncPart.EType)}, nil
}

// maxReply bounds the reply to clock.
const maxReply = 1 << 16

// clock returns how far this machine's clock is ahead of the KDC's. It asks for the ticket of a principal that does not
// exist: the KDC's error has its time (RFC 4120 section 5.9.1) and needs no key.
func (k *kdcs) clock(ctx context.Context, realm string) (time.Duration, error) {
	conf, err := krb5conf.Load(k.krb5conf)
	if err != nil {
		return 0, err
	}
	count, addresses, err := conf.GetKDCs(realm, true)
	if err != nil {
		return 0, err
	}
	unknown := types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, "gsstsig-check-clock")
	request, err := messages.NewASReqForTGT(realm, conf, unknown)
	if err != nil {
		return 0, err
	}
	wire, err := request.Marshal()
	if err != nil {
		return 0, err
	}
	var errs []error
	for i := 1; i <= count; i++ {
		reply, err := exchange(ctx, addresses[i], wire)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		serverTime, err := timeIn(reply)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", addresses[i], err))
			continue
		}
		return time.Since(serverTime), nil
	}
	return 0, errors.Join(errs...)
}

// timeIn returns the time in a KDC's error, which is not authenticated.
func timeIn(reply []byte) (serverTime time.Time, err error) {
	defer func() {
		if recover() != nil { // gokrb5 panics at some octets
			serverTime, err = time.Time{}, errors.New("the reply is malformed")
		}
	}()
	var refusal messages.KRBError
	if err := refusal.Unmarshal(reply); err != nil {
		return time.Time{}, fmt.Errorf("the reply is not a Kerberos error: %s", strings.TrimSpace(err.Error()))
	}
	return refusal.STime.Add(time.Duration(refusal.Susec) * time.Microsecond), nil
}

// exchange sends one message to a KDC by TCP (RFC 4120 section 7.2.2).
func exchange(ctx context.Context, address string, wire []byte) ([]byte, error) {
	dialer := net.Dialer{Timeout: 3 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(wire))), wire...)); err != nil {
		return nil, err
	}
	var prefix [4]byte
	if _, err := io.ReadFull(conn, prefix[:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(prefix[:])
	if length > maxReply {
		return nil, fmt.Errorf("%s: a reply of %d octets", address, length)
	}
	reply := make([]byte, length)
	_, err = io.ReadFull(conn, reply)
	return reply, err
}
