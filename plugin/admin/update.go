package admin

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/administration"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
)

// update does what lines of nsupdate say, as the administrator and in one transaction.
func update(flags *flag.FlagSet) runner {
	server := addControlFlags(flags)
	output := addOutputFlag(flags)
	return func(s Streams, words []string) (int, error) {
		if len(words) != 1 {
			return 0, &usageError{"one ZONE is needed; the update comes from standard input"}
		}
		origin, err := zoneWord(words[0])
		if err != nil {
			return 0, err
		}
		u, err := readUpdate(s.In, origin)
		if err != nil {
			return 0, err
		}
		t, err := server.open(s)
		if err != nil {
			return 0, err
		}
		defer t.close()
		a, err := call[view.Applied](t, "update", u)
		if t.isStopped(err) {
			err = t.change(origin, err, func(z administration.Zone) (err error) {
				a, _, err = z.Update(t.ctx, u)
				return err
			})
		}
		if err != nil {
			return 0, err
		}
		if output.json {
			return ExitOK, printJSON(s.Out, a)
		}
		return ExitOK, printApplied(s.Out, a)
	}
}

// printApplied prints what a transaction has changed.
func printApplied(w io.Writer, a view.Applied) error {
	var b strings.Builder
	for _, list := range []struct {
		sign    string
		records []view.NamedRecord
	}{{"-", a.Removed}, {"+", a.Added}} {
		for _, r := range list.records {
			fmt.Fprintf(&b, "%s %s %d %s %s\n", list.sign, r.Name, r.TTL, r.Type, r.Data)
		}
	}
	for _, o := range a.Owners {
		fmt.Fprintln(&b, o)
	}
	for _, i := range a.Ignored {
		fmt.Fprintf(&b, "ignored: line %d, %s: %s\n", i.Line, instructionText(&i.Instruction), i.Reason)
	}
	for _, note := range a.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	var done []string
	if len(a.Removed)+len(a.Added) > 0 || a.From != a.To {
		done = append(done, fmt.Sprintf("%s removed, %d added", count(len(a.Removed), "record"), len(a.Added)))
	}
	if n := len(a.Owners); n > 0 {
		done = append(done, count(n, "owner")+" changed")
	}
	serial := fmt.Sprintf("serial %d", a.To)
	if a.From != a.To {
		serial = fmt.Sprintf("serial %d -> %d", a.From, a.To)
	}
	if len(done) == 0 {
		done = append(done, "nothing has changed")
	}
	fmt.Fprintf(&b, "zone %s: %s, %s\n", a.Zone, strings.Join(done, ", "), serial)
	_, err := io.WriteString(w, printable(b.String()))
	return err
}

// instructionText is an instruction as a line of nsupdate has it.
func instructionText(in *view.Instruction) string {
	words := []string{"add", in.Name, fmt.Sprint(in.TTL), in.Type, in.Data}
	if in.Class != "IN" {
		words = []string{"delete", in.Name, in.Type, in.Data}
	}
	return strings.TrimSpace(strings.Join(words, " "))
}

// Bounds of what update reads.
const (
	maxUpdateLine    = 1 << 20
	maxInstructions  = 1 << 20
	fixOneUpdate     = "give each update to a command of its own"
	fixAbsoluteNames = "names are absolute, with or without the final dot"
)

// updateReader reads lines of nsupdate.
type updateReader struct {
	update view.Update
	ttl    *uint32 // of the command ttl
	sent   int     // line of the command send; 0: none yet
}

// readUpdate reads an update as nsupdate takes it. Everything is read before anything is done.
func readUpdate(r io.Reader, origin string) (*view.Update, error) {
	u := updateReader{update: view.Update{Zone: origin, Prerequisites: []view.Instruction{}, Updates: []view.Instruction{}}}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxUpdateLine)
	line := 0
	var errs []error
	for lines.Scan() && len(errs) < 10 {
		line++
		done, err := u.line(lines.Text(), line)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", line, err))
		}
		if done {
			break
		}
	}
	if err := lines.Err(); err != nil {
		errs = append(errs, fmt.Errorf("line %d: %w", line+1, err))
	}
	if len(errs) == 0 && len(u.update.Updates)+len(u.update.Prerequisites) == 0 {
		errs = append(errs, diagnose.WithFix(errors.New("there is no update on standard input"), "write lines of nsupdate, such as: update add a.%s 300 A 192.0.2.1", origin))
	}
	return &u.update, errors.Join(errs...)
}

// ignored are commands of nsupdate that say how a message is sent. There is no message.
var ignored = []string{"server", "local", "key", "gsstsig", "oldgsstsig", "realm", "check-names", "debug", "show", "answer"}

// line reads one line, and reports whether it is the last one.
func (u *updateReader) line(text string, number int) (done bool, err error) {
	text = strings.TrimSpace(text)
	if text == "" || text[0] == ';' || text[0] == '#' {
		return false, nil
	}
	command, rest := cutWord(text)
	command = strings.ToLower(command)
	switch command {
	case "send":
		if u.sent == 0 {
			u.sent = number
		}
		return false, nil
	case "quit":
		return true, nil
	case "zone":
		if zone, _ := cutWord(rest); dns.CanonicalName(zone) != u.update.Zone {
			return false, diagnose.WithFix(fmt.Errorf("zone %q, but the update is for %s", zone, u.update.Zone), fixOneUpdate)
		}
		return false, nil
	case "class":
		if class, _ := cutWord(rest); !strings.EqualFold(class, "IN") {
			return false, fmt.Errorf("class %q: zones have the class IN", class)
		}
		return false, nil
	case "ttl":
		word, _ := cutWord(rest)
		ttl, err := readTTL(word)
		if err != nil {
			return false, err
		}
		u.ttl = &ttl
		return false, nil
	}
	for _, word := range ignored {
		if command == word {
			return false, nil
		}
	}
	if u.sent > 0 {
		return false, diagnose.WithFix(fmt.Errorf("%q comes after send in line %d: one transaction is made of all lines", command, u.sent), fixOneUpdate)
	}
	if len(u.update.Updates)+len(u.update.Prerequisites) >= maxInstructions {
		return true, fmt.Errorf("more than %d records", maxInstructions)
	}
	if command == "prereq" || command == "update" {
		command, rest = cutWord(rest)
		command = strings.ToLower(command)
	}
	in := view.Instruction{Line: number}
	switch command {
	case "nxdomain", "yxdomain", "nxrrset", "yxrrset":
		if err = u.prerequisite(&in, command, rest); err == nil {
			u.update.Prerequisites = append(u.update.Prerequisites, in)
		}
	case "add":
		if err = u.add(&in, rest); err == nil {
			u.update.Updates = append(u.update.Updates, in)
		}
	case "delete", "del":
		if err = u.deletion(&in, rest); err == nil {
			u.update.Updates = append(u.update.Updates, in)
		}
	default:
		return false, fmt.Errorf("%q is not a command of nsupdate", command)
	}
	return false, err
}

// cutWord cuts the first word off.
func cutWord(text string) (word, rest string) {
	text = strings.TrimLeft(text, " \t")
	if at := strings.IndexAny(text, " \t"); at >= 0 {
		return text[:at], strings.TrimLeft(text[at:], " \t")
	}
	return text, ""
}

// name cuts a name off, which is absolute with or without its final dot.
func (u *updateReader) name(text string) (name, rest string, err error) {
	word, rest := cutWord(text)
	if word == "" {
		return "", "", errors.New("a name is missing")
	}
	wire, err := dnswire.ParseName(dns.Fqdn(word), nil)
	if err != nil {
		return "", "", fmt.Errorf("name %q: %w", word, err)
	}
	name = dnswire.NameText(wire)
	if !dns.IsSubDomain(u.update.Zone, strings.ToLower(name)) {
		return "", "", diagnose.WithFix(fmt.Errorf("%s is not in the zone %s", name, u.update.Zone), fixAbsoluteNames)
	}
	return name, rest, nil
}

// cutClass cuts the class IN off, if it is there.
func cutClass(text string) string {
	if word, rest := cutWord(text); strings.EqualFold(word, "IN") {
		return rest
	}
	return text
}

// typeAndData reads a type, and rdata if there is some.
func typeAndData(text string) (rrtype, data string, err error) {
	rrtype, data = cutWord(text)
	if rrtype == "" {
		return "", "", errors.New("a type is missing")
	}
	if _, ok := dnswire.ParseType(rrtype); !ok {
		return "", "", fmt.Errorf("%q is not a type", rrtype)
	}
	if data == "" {
		return rrtype, "", nil
	}
	// The server reads it again; here the error has its line.
	if _, _, err := administration.ParseData(rrtype, data); err != nil {
		return "", "", err
	}
	return rrtype, data, nil
}

// maxTTL is the greatest TTL (RFC 2181 section 8). Servers take a greater one as zero.
const maxTTL = 1<<31 - 1

func readTTL(word string) (uint32, error) {
	ttl, err := dnswire.ParseTTL(word)
	if err == nil && ttl > maxTTL {
		err = fmt.Errorf("more than %d", maxTTL)
	}
	if err != nil {
		return 0, fmt.Errorf("TTL %q: %w", word, err)
	}
	return ttl, nil
}

func (u *updateReader) prerequisite(in *view.Instruction, kind, text string) (err error) {
	if in.Name, text, err = u.name(text); err != nil {
		return err
	}
	in.Class, in.Type = "ANY", "ANY"
	if strings.HasPrefix(kind, "nx") {
		in.Class = "NONE"
	}
	if strings.HasSuffix(kind, "domain") {
		return nothingMore(text)
	}
	if in.Type, in.Data, err = typeAndData(cutClass(text)); err != nil {
		return err
	}
	if in.Data != "" {
		if kind == "nxrrset" {
			return errors.New("nxrrset takes no data")
		}
		in.Class = "IN"
	}
	return nil
}

func (u *updateReader) add(in *view.Instruction, text string) (err error) {
	if in.Name, text, err = u.name(text); err != nil {
		return err
	}
	in.Class = "IN"
	word, rest := cutWord(text)
	switch {
	case word != "" && '0' <= word[0] && word[0] <= '9': // no type begins so
		if in.TTL, err = readTTL(word); err != nil {
			return err
		}
		text = rest
	case u.ttl != nil:
		in.TTL = *u.ttl
	default:
		return diagnose.WithFix(fmt.Errorf("%s has no TTL", in.Name), "write it after the name, or a line \"ttl SECONDS\" before")
	}
	in.Type, in.Data, err = typeAndData(cutClass(text))
	if err == nil && in.Data == "" {
		err = fmt.Errorf("%s %s: the data is missing", in.Name, in.Type)
	}
	return err
}

func (u *updateReader) deletion(in *view.Instruction, text string) (err error) {
	if in.Name, text, err = u.name(text); err != nil {
		return err
	}
	in.Class, in.Type = "ANY", "ANY"
	// nsupdate takes a TTL here, and ignores it.
	if word, rest := cutWord(text); word != "" {
		if _, err := dnswire.ParseTTL(word); err == nil {
			text = rest
		}
	}
	if text = cutClass(text); text == "" {
		return nil
	}
	if in.Type, in.Data, err = typeAndData(text); err == nil && in.Data != "" {
		in.Class = "NONE"
	}
	return err
}

func nothingMore(text string) error {
	if text != "" {
		return fmt.Errorf("%q is too much", text)
	}
	return nil
}
