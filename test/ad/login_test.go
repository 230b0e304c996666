//go:build e2e && linux

package ad

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/internal/test/dnsutils"
	"github.com/gsstsig/coredns-gsstsig/internal/test/node"
	"github.com/gsstsig/coredns-gsstsig/internal/test/tested"
)

var nsupdate = tested.Client{Name: "nsupdate", Package: "bind9-dnsutils"}

// login is an account that is logged in on a node.
type login struct {
	account string
	on      *node.Node
	cache   string
}

// logIn gets a ticket for an account by its password.
func logIn(t *testing.T, on *node.Node, account, password string) login {
	t.Helper()
	l := newLogin(on, account)
	cmd := l.command(t, "kinit", account)
	cmd.Stdin = strings.NewReader(password + "\n")
	if _, err := on.Output(cmd); err != nil {
		t.Fatal(err)
	}
	return l
}

// logInByKeytab gets a ticket for an account by a keytab of the node.
func logInByKeytab(t *testing.T, on *node.Node, account, keytab string) login {
	t.Helper()
	l := newLogin(on, account)
	if _, err := on.Output(l.command(t, "kinit", "-k", "-t", keytab, account)); err != nil {
		t.Fatal(err)
	}
	return l
}

// logIn gets a ticket for the machine's account.
func (m *machine) logIn(t *testing.T) login {
	t.Helper()
	return logInByKeytab(t, m.joined(t), m.account, "/etc/krb5.keytab")
}

func newLogin(on *node.Node, account string) login {
	return login{account: account, on: on, cache: "FILE:/run/krb5cc-" + strings.TrimSuffix(account, "$")}
}

func (l login) command(t *testing.T, program string, args ...string) *exec.Cmd {
	cmd := l.on.Command(testContext(t), program, args...)
	cmd.Env = append(cmd.Env, "KRB5CCNAME="+l.cache)
	return cmd
}

// nsupdate runs nsupdate, which has to find zone and server by itself.
func (l login) nsupdate(t *testing.T, auth string, commands ...string) dnsutils.Outcome {
	t.Helper()
	outcome, err := dnsutils.Update{
		Auth: auth, Env: append(l.on.Env(), "KRB5CCNAME="+l.cache), Commands: commands, On: l.on.Run,
	}.Run(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return outcome
}

// update sends a signed update and wants the given reply to it, which must be signed.
func (l login) update(t *testing.T, rcode string, commands ...string) {
	t.Helper()
	if outcome := l.nsupdate(t, "-g", commands...); outcome.Rcode != rcode || !outcome.Signed {
		t.Errorf("%s, %q: %s, signed %v; want %s:\n%s", l.account, commands, outcome.Rcode, outcome.Signed, rcode, outcome.Output)
	}
}

// sid asks the directory for the security identifier of an account or group.
func sid(t *testing.T, account string) string {
	t.Helper()
	dc := shared.domain.dc
	said, err := dc.Output(dc.Command(testContext(t), "ldbsearch", "-H", "/var/lib/samba/private/sam.ldb",
		fmt.Sprintf("(sAMAccountName=%s)", account), "objectSid"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(said) {
		if sid, found := strings.CutPrefix(line, "objectSid: "); found {
			return strings.TrimSpace(sid)
		}
	}
	t.Fatalf("%s has no SID:\n%s", account, said)
	return ""
}
