package transcript

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/internal/test/relay"
)

// Transcript is what one client and the server said to each other.
type Transcript struct {
	Client    string // with version, for the reader
	Principal string // who signed, with realm
	// Corefile is the server's configuration, in which {ADDRESS}, {PORT}, {KEYTAB} and {SEED} stand for where the server
	// listens and for the paths of the next two. It permits every client to transfer the zones.
	Corefile  string
	Keytab    []byte
	Seed      string // master file of the first zone
	Exchanges []relay.Exchange
	Zones     []Zone // afterwards
}

// The text is a file of sections, each of which begins with a line like this one.
const (
	markerBefore = "-- "
	markerAfter  = " --"
)

// Octets of a line of hexadecimal or base64 digits.
const lineOctets = 60

// Text writes a transcript. Parse reads it.
func (t *Transcript) Text() string {
	var b strings.Builder
	section := func(name, text string) { fmt.Fprintf(&b, "%s%s%s\n%s", markerBefore, name, markerAfter, text) }
	section("client", t.Client+"\n")
	section("principal", t.Principal+"\n")
	section("corefile", t.Corefile)
	section("keytab", broken(base64.StdEncoding.EncodeToString(t.Keytab), ""))
	section("seed", t.Seed)
	for _, e := range t.Exchanges {
		name := "exchange " + e.Network
		if e.Connection != 0 {
			name += " " + strconv.Itoa(e.Connection)
		}
		section(name, "# "+describe(e.Request)+"\n"+broken(hex.EncodeToString(e.Request), "> ")+
			"# "+describe(e.Reply)+"\n"+broken(hex.EncodeToString(e.Reply), "< "))
	}
	for _, z := range t.Zones {
		section("zone "+z.Origin, strings.Join(append(slices.Clone(z.Records), ""), "\n"))
	}
	return b.String()
}

// broken breaks digits into lines with a prefix.
func broken(digits, prefix string) string {
	var b strings.Builder
	for line := range slices.Chunk([]byte(digits), 2*lineOctets) {
		fmt.Fprintf(&b, "%s%s\n", prefix, line)
	}
	return b.String()
}

// Parse reads what Text has written.
func Parse(text string) (*Transcript, error) {
	t := new(Transcript)
	name, body := "", new(strings.Builder)
	var errs []error
	end := func() {
		if name != "" {
			if err := t.take(name, body.String()); err != nil {
				errs = append(errs, fmt.Errorf("transcript: section %q: %w", name, err))
			}
		}
		body.Reset()
	}
	for line := range strings.Lines(text) {
		before, isBefore := strings.CutPrefix(strings.TrimSuffix(line, "\n"), markerBefore)
		if marked, isMarker := strings.CutSuffix(before, markerAfter); isBefore && isMarker {
			end()
			name = marked
			continue
		}
		body.WriteString(line)
	}
	end()
	if len(t.Exchanges) == 0 {
		errs = append(errs, errors.New("transcript: nothing was said"))
	}
	return t, errors.Join(errs...)
}

func (t *Transcript) take(name, body string) (err error) {
	kind, rest, _ := strings.Cut(name, " ")
	switch kind {
	case "client":
		t.Client = strings.TrimSpace(body)
	case "principal":
		t.Principal = strings.TrimSpace(body)
	case "corefile":
		t.Corefile = body
	case "keytab":
		t.Keytab, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(body, "\n", ""))
	case "seed":
		t.Seed = body
	case "exchange":
		err = t.takeExchange(rest, body)
	case "zone":
		t.Zones = append(t.Zones, Zone{Origin: rest, Records: strings.Split(strings.TrimSuffix(body, "\n"), "\n")})
	default:
		err = errors.New("unknown")
	}
	return err
}

func (t *Transcript) takeExchange(over, body string) error {
	var e relay.Exchange
	var number string
	e.Network, number, _ = strings.Cut(over, " ")
	if e.Network == "tcp" {
		var err error
		if e.Connection, err = strconv.Atoi(number); err != nil {
			return err
		}
	}
	for line := range strings.Lines(body) {
		to := &e.Request
		switch line[0] {
		case '#':
			continue
		case '<':
			to = &e.Reply
		}
		octets, err := hex.DecodeString(strings.TrimSpace(line[1:]))
		if err != nil {
			return err
		}
		*to = append(*to, octets...)
	}
	t.Exchanges = append(t.Exchanges, e)
	return nil
}
