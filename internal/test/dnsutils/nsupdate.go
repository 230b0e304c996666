package dnsutils

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

// Update is one run of nsupdate.
type Update struct {
	Server   netip.AddrPort // zero lets nsupdate find it: the primary server that the zone's SOA record names
	Auth     string         // "-g" GSS-TSIG; "-o" the same as old Windows speaks it; "" unsigned, unless there is a Key
	Key      string         // ALGORITHM:NAME:SECRET of a key that both sides hold (RFC 8945)
	Env      []string       // as from realm.Env; nil is this process's environment
	Zone     string         // "" lets nsupdate find it by SOA queries
	Options  []string       // more options, such as "-v"
	Commands []string       // "update add …", "prereq …"; "send" is added
	Program  string         // the path of nsupdate; "" is the machine's

	On func(*exec.Cmd) error // runs the program elsewhere, such as on a node; nil runs it here
}

// Outcome is what a run of nsupdate came to.
type Outcome struct {
	Rcode  string // of the reply to the update, such as NOERROR; "" when there was none
	Signed bool   // the reply to the update had a TSIG record with a MAC, and nsupdate found it right
	Key    string // the name of the key that it was signed with
	Output string // all that nsupdate printed
}

var (
	statusLine = regexp.MustCompile(`opcode: UPDATE, status: ([A-Z0-9]+)`)
	tsigLine   = regexp.MustCompile(`(?m)^(\S+)\s+0\s+ANY\s+TSIG\s+\S+ \d+ \d+ (\d+) `)
)

// Run runs nsupdate. A refusal is an Outcome; the error is for an nsupdate that could not be run.
func (u Update) Run(ctx context.Context) (Outcome, error) {
	path := u.Program
	if path == "" {
		var err error
		if path, err = process.LookPath("nsupdate"); err != nil {
			return Outcome{}, err
		}
	}
	args := append([]string{"-d"}, u.Options...)
	if u.Auth != "" {
		args = append(args, u.Auth)
	}
	if u.Key != "" {
		args = append(args, "-y", u.Key)
	}
	var script strings.Builder
	if u.Server.IsValid() {
		fmt.Fprintf(&script, "server %s %d\n", u.Server.Addr(), u.Server.Port())
	}
	if u.Zone != "" {
		fmt.Fprintf(&script, "zone %s\n", u.Zone)
	}
	for _, command := range u.Commands {
		fmt.Fprintln(&script, command)
	}
	fmt.Fprintln(&script, "send")
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = u.Env
	cmd.Stdin = strings.NewReader(script.String())
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if u.On == nil {
		u.On = (*exec.Cmd).Run
	}
	err := u.On(cmd)
	// Status 2 is nsupdate's word for an update that failed, 1 for a negotiation that did.
	if exit := new(exec.ExitError); err != nil && !(errors.As(err, &exit) && ctx.Err() == nil) {
		return Outcome{}, fmt.Errorf("nsupdate: %w: %s", err, output.String())
	}
	return parse(output.String()), nil
}

func parse(output string) Outcome {
	o := Outcome{Output: output}
	_, reply, found := strings.Cut(output, "Reply from update query:")
	if !found {
		return o
	}
	if m := statusLine.FindStringSubmatch(reply); m != nil {
		o.Rcode = m[1]
	}
	// A signature that does not verify makes nsupdate say so.
	m := tsigLine.FindStringSubmatch(reply)
	if m != nil && m[2] != "0" && !strings.Contains(output, "TSIG error") && !strings.Contains(output, "verify failure") {
		o.Signed, o.Key = true, m[1]
	}
	return o
}
