package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/internal/test/process"
)

// The good clients come from their own address. The attacker's addresses are others, or also that one, as behind the
// same address translation.
var (
	elsewhere = []string{"127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4"}
	shared    = []string{"127.0.0.1", "127.0.1.1", "127.0.1.2", "127.0.1.3"}
)

// streamsEach is the number of TCP connections that the attacker keeps open from each source.
const streamsEach = 4

// attackVariable makes this program an attacker: it has the attack as JSON.
const attackVariable = "HOSTILE_ATTACK"

// attack is what an attacking process is to do. The messages come on its standard input, each with its length in front;
// it goes on until it is told to end.
type attack struct {
	Network string // udp, tcp, or tls for handshakes that are not finished
	Target  string
	Sources []string
	Rate    int // messages a second; 0 is as fast as it goes
}

// tally counts what an attacker has sent and received.
type tally struct {
	Sent, Answers, Octets, AnswerOctets, Connections uint64
}

func (t *tally) add(o tally) {
	t.Sent += o.Sent
	t.Answers += o.Answers
	t.Octets += o.Octets
	t.AnswerOctets += o.AnswerOctets
	t.Connections += o.Connections
}

// beAttacker is the main function of an attacking process. It writes its tally to standard output when standard input,
// after the messages, is closed.
func beAttacker(order string) error {
	var a attack
	if err := json.Unmarshal([]byte(order), &a); err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	var count [4]byte
	if _, err := io.ReadFull(in, count[:]); err != nil {
		return err
	}
	messages := make([][]byte, binary.BigEndian.Uint32(count[:]))
	for i := range messages {
		m, err := readFramed(in)
		if err != nil {
			return err
		}
		messages[i] = m
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, in)
		cancel()
	}()
	return json.NewEncoder(os.Stdout).Encode(a.run(ctx, messages, false))
}

// run attacks until the context ends or, if once, until every message has been sent by one of the senders.
func (a attack) run(ctx context.Context, messages [][]byte, once bool) tally {
	var total tally
	var mu sync.Mutex
	var group sync.WaitGroup
	senders := len(a.Sources)
	switch a.Network {
	case "tcp":
		senders *= streamsEach
	case "tls":
		senders = tlsConnections
	}
	for i := range senders {
		group.Go(func() {
			s := sender{attack: a, from: a.Sources[i%len(a.Sources)], messages: messages, next: i * len(messages) / senders}
			if a.Rate > 0 {
				s.gap = time.Duration(senders) * time.Second / time.Duration(a.Rate)
			}
			if once {
				s.left = (i+1)*len(messages)/senders - s.next
			}
			switch a.Network {
			case "tcp":
				s.streams(ctx)
			case "tls":
				s.hellos(ctx)
			default:
				s.packets(ctx)
			}
			mu.Lock()
			total.add(s.tally)
			mu.Unlock()
		})
	}
	group.Wait()
	return total
}

// sender is one source of messages.
type sender struct {
	attack
	from     string
	messages [][]byte
	next     int
	left     int // messages to send, 0 for no end
	sent     int
	gap      time.Duration // between messages
	began    time.Time
	tally    tally
}

var errOver = errors.New("the attack is over")

// message gives the next one, and waits where the rate is capped.
func (s *sender) message(ctx context.Context) ([]byte, error) {
	if ctx.Err() != nil || s.left > 0 && s.sent == s.left {
		return nil, errOver
	}
	if s.began.IsZero() {
		s.began = time.Now()
	}
	if s.gap > 0 {
		if ahead := time.Until(s.began.Add(time.Duration(s.sent) * s.gap)); ahead > time.Millisecond {
			time.Sleep(ahead)
		}
	}
	m := s.messages[s.next%len(s.messages)]
	s.next++
	s.sent++
	return m, nil
}

func (s *sender) packets(ctx context.Context) {
	dialer := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(s.from)}}
	c, err := dialer.Dial("udp", s.Target)
	if err != nil {
		return
	}
	var group sync.WaitGroup
	var answers, octets atomic.Uint64
	group.Go(func() {
		buffer := make([]byte, dns.MaxMsgSize)
		for {
			n, err := c.Read(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				answers.Add(1)
				octets.Add(uint64(n))
			}
		}
	})
	for {
		m, err := s.message(ctx)
		if err != nil {
			break
		}
		if len(m) == 0 {
			continue
		}
		if n, err := c.Write(m); err == nil {
			s.tally.Sent++
			s.tally.Octets += uint64(n)
		}
	}
	c.Close()
	group.Wait()
	s.tally.Answers, s.tally.AnswerOctets = answers.Load(), octets.Load()
}

// streams sends on one connection until it is closed, then on the next. Answers are read in between, so that neither
// side waits for the other for ever.
func (s *sender) streams(ctx context.Context) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(s.from)}, Timeout: time.Second}
	for {
		c, err := dialer.DialContext(ctx, "tcp", s.Target)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			continue
		}
		s.tally.Connections++
		// A flood of connections in the wait state would end for want of ports.
		c.(*net.TCPConn).SetLinger(0)
		var group sync.WaitGroup
		group.Go(func() {
			r := bufio.NewReader(c)
			for {
				answer, err := readFramed(r)
				if err != nil {
					c.Close() // so does the server
					return
				}
				s.tally.Answers++
				s.tally.AnswerOctets += uint64(len(answer))
			}
		})
		for err = nil; err == nil; {
			var m []byte
			if m, err = s.message(ctx); err != nil {
				break
			}
			c.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err = c.Write(framed(m)); err == nil {
				s.tally.Sent++
				s.tally.Octets += uint64(len(m))
			} else { // it goes by the next connection
				s.next--
				s.sent--
			}
		}
		over := errors.Is(err, errOver)
		if over {
			// Wait for what is on its way.
			c.(*net.TCPConn).SetLinger(-1)
			c.(*net.TCPConn).CloseWrite()
			c.SetReadDeadline(time.Now().Add(5 * time.Second))
			group.Wait()
		}
		c.Close()
		group.Wait()
		if over {
			return
		}
	}
}

// attackers are processes that attack.
type attackers struct {
	processes []*process.Process
	inputs    []io.WriteCloser
}

// launch starts a process for each network, aimed at the targets.
func launch(targets map[string]string, sources []string, messages [][]byte, rate int) (*attackers, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	a := new(attackers)
	for network, target := range targets {
		order, err := json.Marshal(attack{Network: network, Target: target, Sources: sources, Rate: rate})
		if err != nil {
			return nil, err
		}
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), attackVariable+"="+string(order), "GOMAXPROCS=1")
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		p, err := process.Start(cmd)
		if err != nil {
			return nil, err
		}
		a.processes, a.inputs = append(a.processes, p), append(a.inputs, in)
		w := bufio.NewWriter(in)
		w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(messages))))
		for _, m := range messages {
			w.Write(framed(m))
		}
		if err := w.Flush(); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// end ends the attack and returns its tally.
func (a *attackers) end() (tally, error) {
	var total tally
	var errs []error
	for i, p := range a.processes {
		a.inputs[i].Close()
		select {
		case <-p.Done():
		case <-time.After(20 * time.Second):
			p.Kill()
		}
		var one tally
		errs = append(errs, json.Unmarshal([]byte(p.Output().String()), &one))
		total.add(one)
	}
	return total, errors.Join(errs...)
}

// sink is a target that costs nothing but what sending to it costs: a UDP socket that is never read, and TCP connections
// whose octets are thrown away.
type sink struct {
	udp net.PacketConn
	tcp net.Listener
}

func newSink() (*sink, error) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(io.Discard, c)
				c.Close()
			}()
		}
	}()
	return &sink{udp, tcp}, nil
}

func (s *sink) targets() map[string]string {
	return map[string]string{"udp": s.udp.LocalAddr().String(), "tcp": s.tcp.Addr().String()}
}

func (s *sink) close() {
	s.udp.Close()
	s.tcp.Close()
}
