package gssclient

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

// Mechanisms of [Config].
const (
	Kerberos        = "krb5"         // raw Kerberos tokens
	SPNEGO          = "spnego"       // as MIT's library speaks it: Kerberos first, with its token
	SPNEGOMicrosoft = "spnego-ms"    // Microsoft's OID for Kerberos first, with a token
	SPNEGOOther     = "spnego-other" // NTLM first, with its token: more rounds, mechListMIC both ways
	SPNEGOBare      = "spnego-bare"  // Kerberos first, without a token: more rounds
)

// Verdicts on the signature of a reply.
const (
	MICOK      = "ok"          // right, by the key that was negotiated
	MICNone    = "none"        // there is no TSIG record
	MICEmpty   = "empty"       // there is a TSIG record without a MAC
	MICBad     = "bad"         // wrong
	MICForeign = "foreign-key" // right, but under another key's name
)

// Config describes a client. The zero values of all but Program, Server and Service are what nsupdate -g does.
type Config struct {
	Program   string         // as built by [Build]
	Server    netip.AddrPort // IPv4
	Service   string         // DNS/host@REALM
	Env       []string       // names the credential cache, as realm.Env does
	Mechanism string         // default SPNEGO
	NoMutual  bool           // do not ask for mutual authentication
	Algorithm string         // default gss-tsig.
	Section   string         // that the TKEY record goes into: additional (default) or answer
	Class     uint16         // of the TKEY record and question; default ANY
	KeyName   string         // default a random one; "." lets the server choose
	Lifetime  time.Duration  // that is asked for; default an hour; negative asks for none
	UDPSize   int            // octets that TKEY queries announce by EDNS; 0 is no EDNS
}

// Client is a running C client. It is not safe for concurrent use.
type Client struct {
	process *process.Process
	stdin   io.WriteCloser
	stdout  *bufio.Reader
}

// Start starts the client. It ends with the context, or by [Client.Close].
func Start(ctx context.Context, c Config) (*Client, error) {
	args := []string{c.Server.Addr().String(), strconv.Itoa(int(c.Server.Port())), c.Service}
	option := func(name, value string) {
		if value != "" {
			args = append(args, name+"="+value)
		}
	}
	option("mech", c.Mechanism)
	if c.NoMutual {
		option("mutual", "0")
	}
	option("algorithm", c.Algorithm)
	option("section", c.Section)
	if c.Class != 0 {
		option("class", strconv.Itoa(int(c.Class)))
	}
	option("name", c.KeyName)
	if c.Lifetime != 0 {
		option("lifetime", strconv.Itoa(max(0, int(c.Lifetime.Seconds()))))
	}
	if c.UDPSize != 0 {
		option("udpsize", strconv.Itoa(c.UDPSize))
	}
	cmd := exec.CommandContext(ctx, c.Program, args...)
	cmd.Env = c.Env
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// Not StdoutPipe: waiting for the program, which goes on beside, would close it under the reader.
	reader, writer := io.Pipe()
	cmd.Stdout = writer
	p, err := process.Start(cmd)
	if err != nil {
		return nil, err
	}
	go func() {
		<-p.Done()
		writer.CloseWithError(fmt.Errorf("gssclient ended: %v %s", p.Err(), p.Output()))
	}()
	return &Client{process: p, stdin: stdin, stdout: bufio.NewReader(reader)}, nil
}

// Close ends the client.
func (c *Client) Close() {
	c.process.Kill()
}

// Handshake is what a negotiation came to.
type Handshake struct {
	Established bool
	Rcode       int    // of the last TKEY reply
	Error       int    // of its TKEY record
	Truncated   bool   // its TC bit
	Rounds      int    // TKEY queries sent
	MIC         string // verdict on the last reply's signature
	KeyName     string
	Algorithm   string // that the server answered with
	Mode        int
	Inception   time.Time
	Expiration  time.Time
	Mutual      bool
	KeyType     int32  // encryption type of the key that signs
	MechListMIC bool   // the server's mechListMIC came, and was right
	Reason      string // of a refusal, as MIT's library reads it in the server's token; empty if it came without
}

// Negotiate makes a new context. A server's refusal is a Handshake that is not Established; the error is for a server
// that does not answer, or answers what MIT's library refuses. An earlier context stays in use when this one fails.
func (c *Client) Negotiate(network string) (Handshake, error) {
	words, err := c.command("negotiate " + network)
	if err != nil {
		return Handshake{}, err
	}
	return Handshake{
		Established: words.number("established") == 1,
		Rcode:       int(words.number("rcode")),
		Error:       int(words.number("error")),
		Truncated:   words.number("tc") == 1,
		Rounds:      int(words.number("rounds")),
		MIC:         words["mic"],
		KeyName:     words["name"],
		Algorithm:   words["algorithm"],
		Mode:        int(words.number("mode")),
		Inception:   time.Unix(words.number("inception"), 0),
		Expiration:  time.Unix(words.number("expiration"), 0),
		Mutual:      words.number("mutual") == 1,
		KeyType:     int32(words.number("keytype")),
		MechListMIC: words.number("mechlistmic") == 1,
		Reason:      strings.ReplaceAll(words["reason"], "_", " "),
	}, nil
}

// Misbehaviour makes a client do what it should not.
type Misbehaviour struct {
	Skew    time.Duration // added to the time signed
	Corrupt bool          // flip a bit of the MAC
	KeyName string        // name this key instead of the negotiated one
}

// Reply is a server's answer to a signed message.
type Reply struct {
	Message   *dns.Msg
	TSIG      bool   // there is a TSIG record
	TSIGError int    // its error field
	MIC       string // verdict on its signature
	TKEYError int    // of a TKEY record in the answer; -1 when there is none
}

// Exchange signs a message, sends it, and verifies the reply.
func (c *Client) Exchange(network string, m *dns.Msg, how Misbehaviour) (Reply, error) {
	wire, err := m.Pack()
	if err != nil {
		return Reply{}, err
	}
	return c.reply("send " + network + how.words() + " " + hex.EncodeToString(wire))
}

// Replay sends the last signed message again, octet by octet.
func (c *Client) Replay(network string) (Reply, error) { return c.reply("replay " + network) }

// Delete asks the server to forget the key (TKEY mode 5). The context stays usable on this side.
func (c *Client) Delete(network string, how Misbehaviour) (Reply, error) {
	return c.reply("delete " + network + how.words())
}

func (m Misbehaviour) words() string {
	var b strings.Builder
	if m.Skew != 0 {
		fmt.Fprintf(&b, " skew=%d", int(m.Skew.Seconds()))
	}
	if m.Corrupt {
		b.WriteString(" corrupt=1")
	}
	if m.KeyName != "" {
		fmt.Fprintf(&b, " key=%s", m.KeyName)
	}
	return b.String()
}

func (c *Client) reply(command string) (Reply, error) {
	words, err := c.command(command)
	if err != nil {
		return Reply{}, err
	}
	wire, err := hex.DecodeString(words["reply"])
	if err != nil {
		return Reply{}, err
	}
	r := Reply{
		Message:   new(dns.Msg),
		TSIG:      words.number("tsig") == 1,
		TSIGError: int(words.number("tsigerror")),
		MIC:       words["mic"],
		TKEYError: int(words.number("tkeyerror")),
	}
	return r, r.Message.Unpack(wire)
}

// ErrFailed wraps what the C client says went wrong on its side.
var ErrFailed = errors.New("gssclient")

type words map[string]string

func (w words) number(key string) int64 {
	// The C client prints numbers; where it leaves one out, 0 is meant.
	n, _ := strconv.ParseInt(w[key], 10, 64)
	return n
}

func (c *Client) command(line string) (words, error) {
	if _, err := io.WriteString(c.stdin, line+"\n"); err != nil {
		return nil, fmt.Errorf("%w: %v; %s", ErrFailed, err, c.process.Output())
	}
	answer, err := c.stdout.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFailed, err)
	}
	verdict, rest, _ := strings.Cut(strings.TrimSpace(answer), " ")
	if verdict != "ok" {
		return nil, fmt.Errorf("%w: %s", ErrFailed, rest)
	}
	w := make(words)
	for word := range strings.FieldsSeq(rest) {
		key, value, _ := strings.Cut(word, "=")
		w[key] = value
	}
	return w, nil
}
