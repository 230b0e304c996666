package realm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/test/loopback"
	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

const (
	commandTimeout = 30 * time.Second // for one run of kadmin, kinit, klist
	startTimeout   = 30 * time.Second
	startAttempts  = 5 // another process may take the port first
	stopGrace      = 5 * time.Second
)

// programs of MIT Kerberos that a realm needs.
var programs = []string{"krb5kdc", "kdb5_util", "kadmin.local", "kinit", "klist", "kvno"}

// Config describes a realm. The zero value is a good one.
type Config struct {
	Name     string        // of the realm; default EXAMPLE.TEST
	Enctypes []Enctype     // that the KDC issues; default AES
	Lifetime time.Duration // of tickets; default 24 hours
	Domains  []string      // DNS domains whose hosts are in the realm; default the realm's name in lower case

	Clock      time.Duration // by how much the clock of the KDC, and of CCache and Ticket, is ahead; negative is behind
	Capaths    string        // lines of that section of krb5.conf, for the KDC and the clients
	BadTransit bool          // issue tickets to clients that came through realms which Capaths does not allow
}

// Realm is a running Kerberos realm. Its methods are safe for concurrent use.
type Realm struct {
	config Config
	dir    string
	port   uint16
	kdc    *process.Process
	once   sync.Once // guards Stop

	mu     sync.Mutex // one kadmin.local at a time, and the fields below
	caches int
	known  []*Realm // whose KDCs clients find
}

// Start makes a realm and starts its KDC. The realm ends with the context, or by [Realm.Stop].
func Start(ctx context.Context, config Config) (*Realm, error) {
	if err := process.Require(programs...); err != nil {
		return nil, err
	}
	if config.Name == "" {
		config.Name = "EXAMPLE.TEST"
	}
	if len(config.Enctypes) == 0 {
		config.Enctypes = AES
	}
	if config.Lifetime == 0 {
		config.Lifetime = 24 * time.Hour
	}
	if len(config.Domains) == 0 {
		config.Domains = []string{strings.ToLower(config.Name)}
	}
	dir, err := os.MkdirTemp("", "realm-")
	if err != nil {
		return nil, fmt.Errorf("realm %s: %w", config.Name, err)
	}
	r := &Realm{config: config, dir: dir}
	if err := r.start(ctx); err != nil {
		r.Stop()
		return nil, fmt.Errorf("realm %s: %w", config.Name, err)
	}
	context.AfterFunc(ctx, r.Stop)
	return r, nil
}

func (r *Realm) start(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		port, err := loopback.Port()
		if err != nil {
			return err
		}
		r.port = port
		if err := r.writeConfig(); err != nil {
			return err
		}
		if attempt == 1 {
			// The master password protects nothing: the database is gone with the test.
			if _, err := r.run("kdb5_util", "", "-r", r.config.Name, "create", "-s", "-P", "throw-away"); err != nil {
				return err
			}
		}
		err = r.startKDC(ctx)
		if err == nil {
			return nil
		}
		if attempt == startAttempts || ctx.Err() != nil {
			return err
		}
	}
}

func (r *Realm) startKDC(ctx context.Context) error {
	path, err := process.LookPath("krb5kdc")
	if err != nil {
		return err
	}
	cmd := exec.Command(path, "-n", "-r", r.config.Name)
	cmd.Env = r.adminEnv()
	clock, err := Clock(r.config.Clock)
	if err != nil {
		return err
	}
	cmd.Env = append(cmd.Env, clock...)
	cmd.Dir = r.dir
	r.kdc, err = process.Start(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		c, err := net.Dial("tcp", loopback.Address(r.port).String())
		if err == nil {
			if err := c.Close(); err != nil {
				return err
			}
		}
		select {
		case <-r.kdc.Done():
			return fmt.Errorf("krb5kdc ended: %w\n%s%s", r.kdc.Err(), r.kdc.Output(), r.KDCLog())
		case <-ctx.Done():
			r.kdc.Kill()
			return fmt.Errorf("krb5kdc does not answer: %w\n%s", ctx.Err(), r.kdc.Output())
		case <-ticker.C:
		}
		if err == nil {
			return nil
		}
	}
}

// Stop ends the KDC and removes everything. It may be called more than once.
func (r *Realm) Stop() {
	r.once.Do(func() {
		if r.kdc != nil {
			r.kdc.Stop(stopGrace)
		}
		// Files that are left in a temporary directory do no harm.
		_ = os.RemoveAll(r.dir)
	})
}

// Name is the realm's name.
func (r *Realm) Name() string { return r.config.Name }

// Dir is the directory that holds everything of the realm. Files that a test puts there go with it.
func (r *Realm) Dir() string { return r.dir }

// KDCLog is what the KDC has logged: one line for each request, with the encryption types and the reason of a refusal.
func (r *Realm) KDCLog() string {
	text, err := os.ReadFile(r.path("kdc.log"))
	if err != nil {
		return ""
	}
	return string(text)
}

// AddPrincipal makes a principal with a random key of each encryption type, by default of each that the realm issues.
// The name is without realm.
func (r *Realm) AddPrincipal(name string, enctypes ...Enctype) error {
	if len(enctypes) == 0 {
		enctypes = r.config.Enctypes
	}
	return r.kadmin(
		fmt.Sprintf("addprinc -randkey -e %q %q", saltedNames(enctypes), name),
		fmt.Sprintf("setstr %q session_enctypes %q", name, names(r.config.Enctypes, "")),
	)
}

// AddPassword makes a principal with a password.
func (r *Realm) AddPassword(name, password string) error {
	return r.kadmin(fmt.Sprintf("addprinc -pw %q %q", password, name))
}

// DeletePrincipal removes a principal.
func (r *Realm) DeletePrincipal(name string) error {
	return r.kadmin(fmt.Sprintf("delprinc -force %q", name))
}

// ChangeKeys gives a principal new random keys of the given encryption types (by default all that the realm issues)
// under the next key version. Keytabs written before hold the old version.
func (r *Realm) ChangeKeys(name string, enctypes ...Enctype) error {
	if len(enctypes) == 0 {
		enctypes = r.config.Enctypes
	}
	return r.kadmin(fmt.Sprintf("cpw -randkey -e %q %q", saltedNames(enctypes), name))
}

// SessionTypes narrows the encryption types of the session keys in tickets for a principal.
func (r *Realm) SessionTypes(name string, enctypes ...Enctype) error {
	return r.kadmin(fmt.Sprintf("setstr %q session_enctypes %q", name, names(enctypes, "")))
}

// ChangeKeysInto does what an administrator's "ktadd" does: it gives a principal new keys of all encryption types that
// the realm issues under the next key version, and adds them to a keytab file, in place.
func (r *Realm) ChangeKeysInto(path, name string) error {
	return r.kadmin(fmt.Sprintf("ktadd -k %q -e %q %q", r.path(path), saltedNames(r.config.Enctypes), name))
}

// Keytab adds the principals' present keys to a keytab file, and returns the file's path: the given one, relative to
// the realm's directory where it is not absolute.
func (r *Realm) Keytab(path string, principals ...string) (string, error) {
	path = r.path(path)
	commands := make([]string, len(principals))
	for i, name := range principals {
		commands[i] = fmt.Sprintf("ktadd -norandkey -k %q %q", path, name)
	}
	if err := r.kadmin(commands...); err != nil {
		return "", err
	}
	return path, nil
}

// CCache gets a ticket-granting ticket for the principal, by a keytab made for the purpose, and returns the path of a
// new credential cache. Encryption types name those that the client permits, as for [Realm.Config].
func (r *Realm) CCache(principal string, enctypes ...Enctype) (string, error) {
	return r.CCacheAt(r.config.Clock, principal, enctypes...)
}

// CCacheAt is CCache on a machine whose clock is ahead, or behind where negative.
func (r *Realm) CCacheAt(ahead time.Duration, principal string, enctypes ...Enctype) (string, error) {
	clock, err := Clock(ahead)
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	r.caches++
	n := r.caches
	r.mu.Unlock()
	keytab, err := r.Keytab(fmt.Sprintf("client%d.keytab", n), principal)
	if err != nil {
		return "", err
	}
	cache := r.path(fmt.Sprintf("ccache%d", n))
	config, err := r.Config(enctypes...)
	if err != nil {
		return "", err
	}
	_, err = r.runWith(append(clientEnv(config, cache), clock...), "kinit", "", "-k", "-t", keytab, principal+"@"+r.config.Name)
	if err != nil {
		return "", err
	}
	return cache, nil
}

// Env is the environment for a program that uses the credential cache: this process's, with the realm's krb5.conf. The
// encryption types are those given to [Realm.CCache].
func (r *Realm) Env(cache string, enctypes ...Enctype) ([]string, error) {
	config, err := r.Config(enctypes...)
	if err != nil {
		return nil, err
	}
	return clientEnv(config, cache), nil
}

// Ticket says of which encryption types a service ticket in a cache is.
type Ticket struct {
	Service string  // without realm
	Session Enctype // of the session key
	Key     Enctype // that the ticket is encrypted in: the service's
}

// Ticket gets a ticket for the service into the cache and says what it is made of.
func (r *Realm) Ticket(cache, service string, enctypes ...Enctype) (Ticket, error) {
	env, err := r.Env(cache, enctypes...)
	if err != nil {
		return Ticket{}, err
	}
	name := service + "@" + r.config.Name
	clock, err := Clock(r.config.Clock)
	if err != nil {
		return Ticket{}, err
	}
	if _, err := r.runWith(append(env, clock...), "kvno", "", "-q", name); err != nil {
		return Ticket{}, err
	}
	list, err := r.runWith(env, "klist", "", "-e", cache)
	if err != nil {
		return Ticket{}, err
	}
	_, after, found := strings.Cut(list, " "+name+"\n")
	if !found {
		return Ticket{}, fmt.Errorf("klist shows no ticket for %s:\n%s", name, list)
	}
	line, _, _ := strings.Cut(after, "\n")
	_, types, _ := strings.Cut(line, "Etype (skey, tkt): ")
	session, key, _ := strings.Cut(strings.TrimSpace(types), ", ")
	return Ticket{Service: service, Session: parseEnctype(session), Key: parseEnctype(key)}, nil
}

func saltedNames(enctypes []Enctype) string { return names(enctypes, ":normal") }

func (r *Realm) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(r.dir, name)
}

// kadmin runs commands of kadmin.local, which ends with status 0 whatever happened: an error is a line in one of the
// two forms that its error messages have.
func (r *Realm) kadmin(commands ...string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	output, err := r.run("kadmin.local", strings.Join(commands, "\n")+"\n", "-r", r.config.Name)
	if err != nil {
		return err
	}
	for line := range strings.Lines(output) {
		if strings.Contains(line, " while ") || strings.Contains(line, " does not exist") {
			return errors.New(strings.TrimSpace(line))
		}
	}
	return nil
}

func (r *Realm) run(program, input string, args ...string) (string, error) {
	return r.runWith(r.adminEnv(), program, input, args...)
}

func (r *Realm) runWith(env []string, program, input string, args ...string) (string, error) {
	path, err := process.LookPath(program)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = env
	cmd.Dir = r.dir
	cmd.Stdin = strings.NewReader(input)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(output.String()))
	}
	return output.String(), nil
}
