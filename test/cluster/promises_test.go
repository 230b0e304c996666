//go:build e2e

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gsstsig/coredns-gsstsig/internal/test/link"
)

// These tests are the rows of the table of failures in docs/cluster.md.

// add is an update that adds a record of a name that is alice's.
func add(name, value string) *dns.Msg {
	m := new(dns.Msg).SetUpdate(zoneName)
	m.Insert([]dns.RR{text(name, value)})
	return m
}

// replace is an update that has a name with one value.
func replace(name, value string) *dns.Msg {
	m := new(dns.Msg).SetUpdate(zoneName)
	m.RemoveRRset([]dns.RR{text(name, value)})
	m.Insert([]dns.RR{text(name, value)})
	return m
}

func text(name, value string) *dns.TXT {
	return &dns.TXT{Hdr: dns.RR_Header{Name: name + "." + zoneName, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{value}}
}

const alice = "alice@" + realmName

// takes wants the server to take an update, at once.
func (d *deployment) takes(s *sender, server int, m *dns.Msg) {
	d.t.Helper()
	reply, err := s.exchange(server, alice, m)
	if err != nil || reply.Rcode != dns.RcodeSuccess {
		d.t.Fatalf("an update at server %d: %v, %v", server, reply, err)
	}
}

// takesAgain waits until the server takes updates.
func (d *deployment) takesAgain(s *sender, server int, m *dns.Msg) {
	d.t.Helper()
	d.until(fmt.Sprintf("updates at server %d", server), func() error {
		reply, err := s.exchange(server, alice, m)
		if err == nil && reply.Rcode != dns.RcodeSuccess {
			err = errors.New(dns.RcodeToString[reply.Rcode])
		}
		return err
	})
}

// fails wants the server to answer an update SERVFAIL, within the time that a client waits.
func (d *deployment) fails(s *sender, server int, m *dns.Msg) {
	d.t.Helper()
	reply, err := s.exchange(server, alice, m)
	if err != nil || reply.Rcode != dns.RcodeServerFailure {
		d.t.Errorf("an update at server %d: %v, %v; want SERVFAIL", server, reply, err)
	}
}

// has wants the server to answer queries, and to know a value. "" is that there is none.
func (d *deployment) has(server int, name, value string) {
	d.t.Helper()
	if err := d.knows(server, name, value); err != nil {
		d.t.Error(err)
	}
}

func (d *deployment) knows(server int, name, value string) error {
	reply, err := d.query(server, name+"."+zoneName, dns.TypeTXT)
	if err != nil {
		return fmt.Errorf("server %d: %w", server, err)
	}
	got := ""
	if len(reply.Answer) > 0 {
		got = strings.Join(reply.Answer[0].(*dns.TXT).Txt, "")
	}
	if reply.Rcode == dns.RcodeServerFailure || len(reply.Answer) > 1 || got != value {
		return fmt.Errorf("server %d has %q (%s) at %s, want %q", server, got, dns.RcodeToString[reply.Rcode], name, value)
	}
	return nil
}

// learns waits until the server has a value.
func (d *deployment) learns(server int, name, value string) {
	d.t.Helper()
	d.until("a value", func() error { return d.knows(server, name, value) })
}

// ready asks the ready plugin.
func (d *deployment) ready(server int) (bool, error) {
	request, err := http.NewRequestWithContext(d.ctx, http.MethodGet, fmt.Sprintf("http://%s/ready", d.servers[server].Port("READY")), nil)
	if err != nil {
		return false, err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, err
	}
	defer reply.Body.Close()
	return reply.StatusCode == http.StatusOK, nil
}

// becomes waits until the server is ready, or is not.
func (d *deployment) becomes(server int, ready bool) {
	d.t.Helper()
	d.until(fmt.Sprintf("server %d ready: %v", server, ready), func() error {
		is, err := d.ready(server)
		if err == nil && is != ready {
			err = fmt.Errorf("it is not")
		}
		return err
	})
}

// TestServerKilled: the others go on, and nothing that it acknowledged is lost.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	d := deploy(t, config{})
	s := d.newSender()
	d.takes(s, 0, replace("a", "1"))
	d.kill(0)
	for i := 1; i < size; i++ {
		d.learns(i, "a", "1")
		d.takes(s, i, replace("b", fmt.Sprint("of ", i)))
	}
	d.restart(0)
	d.has(0, "a", "1")
	d.has(0, "b", "of 2")
	d.takesAgain(s, 0, replace("a", "3")) // over another connection
}

// TestServerKilledBeforeItAnswers: what a server has committed and not answered is there, once, and the server has it when it
// is started again.
func TestServerKilledBeforeItAnswers(t *testing.T) {
	t.Parallel()
	d := deploy(t, config{})
	s := d.newSender()
	d.takes(s, 0, replace("a", "1"))
	d.cut(0, link.FromServer)
	answered := make(chan error, 1)
	go func() {
		_, err := s.exchange(0, alice, replace("a", "2"))
		answered <- err
	}()
	d.learns(1, "a", "2")
	d.kill(0)
	if err := <-answered; err == nil {
		t.Error("the update was answered, though etcd's answer never came")
	}
	d.cut(0, 0)
	d.restart(0)
	d.has(0, "a", "2")
	// It is not done again.
	d.takes(s, 1, replace("a", "3"))
	d.learns(0, "a", "3")
	d.takes(s, 0, add("b", "4"))
	d.has(0, "a", "3")
}

// TestServerCutOff: a server that does not reach etcd answers queries, and no updates. The others go on. When it reaches etcd
// again it knows what they have done, and takes updates.
func TestServerCutOff(t *testing.T) {
	t.Parallel()
	for _, direction := range []link.Direction{link.Both, link.ToServer, link.FromServer} {
		t.Run([]string{"", "to etcd", "from etcd", "both ways"}[direction], func(t *testing.T) {
			t.Parallel()
			d := deploy(t, config{})
			s := d.newSender()
			d.takes(s, 0, replace("a", "1"))
			d.cut(0, direction)
			d.takes(s, 1, replace("a", "2"))
			d.fails(s, 0, replace("a", "3"))
			// Nothing is decided on what may be an old state.
			unmet := new(dns.Msg).SetUpdate(zoneName)
			unmet.NameNotUsed([]dns.RR{text("a", "")})
			d.fails(s, 0, unmet)
			d.fails(s, 0, new(dns.Msg).SetUpdate(zoneName))
			if reply, err := d.query(0, "a."+zoneName, dns.TypeTXT); err != nil || len(reply.Answer) != 1 {
				t.Errorf("a query at the server that is cut off: %v, %v", reply, err)
			}
			d.takes(s, 2, add("b", "1"))
			d.becomes(0, false)
			d.cut(0, 0)
			d.learns(0, "b", "1")
			d.takesAgain(s, 0, add("c", "1"))
			d.becomes(0, true)
			d.sameSerial()
		})
	}
}

// TestMemberKilled: updates go on, with the leader killed too.
func TestMemberKilled(t *testing.T) {
	t.Parallel()
	d := deploy(t, config{})
	s := d.newSender()
	for n, victim := range []func() int{func() int { return (d.leader() + 1) % size }, d.leader} {
		member := victim()
		d.takes(s, 0, replace("a", fmt.Sprint("before ", n)))
		d.killMember(member)
		for i := range size {
			d.takesAgain(s, i, replace(fmt.Sprint("b", i), fmt.Sprint(n)))
			d.learns((i+1)%size, fmt.Sprint("b", i), fmt.Sprint(n))
			d.learns(i, "a", fmt.Sprint("before ", n))
		}
		d.restartMember(member)
	}
	d.sameSerial()
}

// TestServerAndMemberKilled: with a server and the leader gone, the others go on, and share the contexts that they make.
func TestServerAndMemberKilled(t *testing.T) {
	t.Parallel()
	d := deploy(t, config{})
	s := d.newSender()
	d.takes(s, 0, replace("a", "1"))
	d.kill(2)
	d.killMember(d.leader())
	for i := range 2 {
		d.takesAgain(s, i, replace("a", fmt.Sprint(i)))
	}
	for n := range 20 {
		d.sharesContext(n%2, 1-n%2)
	}
}

// TestNoMajority: without a majority of etcd's members queries go on, for as long as the SOA's EXPIRE says, and updates get
// SERVFAIL. All of it ends by itself when the majority is back.
func TestNoMajority(t *testing.T) {
	t.Parallel()
	const expire = 40
	d := deploy(t, config{expire: expire})
	s := d.newSender()
	d.takes(s, 0, replace("a", "1"))
	for i := range size {
		d.learns(i, "a", "1")
		d.becomes(i, true)
	}
	d.killMember(0)
	d.killMember(1)
	lost := time.Now()
	for i := range size {
		d.fails(s, i, replace("a", "2"))
		d.has(i, "a", "1")
		d.becomes(i, false)
	}
	for i := range size {
		d.until("queries answered SERVFAIL", func() error {
			reply, err := d.query(i, "a."+zoneName, dns.TypeTXT)
			if err == nil && reply.Rcode != dns.RcodeServerFailure {
				if after := time.Since(lost); after > 3*expire*time.Second {
					t.Fatalf("server %d answers queries %v after etcd did last", i, after)
				}
				err = errors.New("they are answered")
			}
			return err
		})
		if after := time.Since(lost); after < (expire-5)*time.Second {
			t.Errorf("server %d answered queries for %v only", i, after)
		}
	}
	d.restartMembers(0, 1)
	for i := range size {
		d.until("queries", func() error {
			_, err := d.serial(i)
			return err
		})
		d.takesAgain(s, i, replace("b", fmt.Sprint(i)))
		d.becomes(i, true)
	}
	d.sameSerial()
}

// TestFirstStart: of servers that start at once with different master files, one fills etcd, and all have what it has put in.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	d := deploy(t, config{notSame: true})
	reply, err := d.query(0, "seed."+zoneName, dns.TypeTXT)
	if err != nil || len(reply.Answer) != 1 {
		t.Fatal(reply, err)
	}
	value := reply.Answer[0].(*dns.TXT).Txt[0]
	for i := range size {
		d.has(i, "seed", value)
	}
	d.sameSerial()
}

// TestMessageSentTwice: a signed update that comes to several servers, at once or later, is done once.
func TestMessageSentTwice(t *testing.T) {
	t.Parallel()
	d := deploy(t, config{})
	s := d.newSender()
	d.takes(s, 0, replace("a", "1"))
	key, err := s.key(0, alice)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		before := d.sameSerial()
		wire, _, err := key.Sign(add(fmt.Sprint("n", n), "x"))
		if err != nil {
			t.Fatal(err)
		}
		replies := make(chan *dns.Msg, 2*size)
		for i := range 2 * size {
			go func() { replies <- d.send(i%size, wire) }()
		}
		done := 0
		for range 2 * size {
			if reply := <-replies; reply != nil && reply.Rcode == dns.RcodeSuccess {
				done++
			}
		}
		if done != 1 {
			t.Errorf("%d servers did the message", done)
		}
		if after := d.sameSerial(); after != before+1 {
			t.Errorf("the serial went from %d to %d", before, after)
		}
		// What was done by it and undone since is not done again, at a server that has just started either.
		remove := new(dns.Msg).SetUpdate(zoneName)
		remove.RemoveName([]dns.RR{text(fmt.Sprint("n", n), "")})
		d.takesAgain(s, n%size, remove)
		if n == 10 {
			d.kill(1)
			d.restart(1)
		}
		for i := range size {
			if reply := d.send(i, wire); reply != nil && reply.Rcode == dns.RcodeSuccess {
				t.Errorf("server %d did the message again", i)
			}
		}
		d.takes(s, 0, replace("a", fmt.Sprint(n)))
		if reply, err := d.query(0, fmt.Sprint("n", n, ".", zoneName), dns.TypeTXT); err != nil || reply.Rcode != dns.RcodeNameError {
			t.Errorf("a name that was deleted: %v, %v", reply, err)
		}
	}
}

// send sends octets to a server and returns the reply, nil if there is none.
func (d *deployment) send(server int, wire []byte) *dns.Msg {
	conn, err := dns.DialTimeout("tcp", d.address(server).String(), answerTimeout)
	if err != nil {
		return nil
	}
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(answerTimeout)) != nil {
		return nil
	}
	if _, err := conn.Write(wire); err != nil {
		return nil
	}
	reply := make([]byte, dns.MaxMsgSize)
	n, err := conn.Read(reply)
	if err != nil {
		return nil
	}
	m := new(dns.Msg)
	if m.Unpack(reply[:n]) != nil {
		return nil
	}
	return m
}

// TestEtcdFull: when etcd's quota is used up, updates get SERVFAIL and queries go on. After compaction, defragmentation and the
// end of the alarm, updates are taken.
func TestEtcdFull(t *testing.T) {
	t.Parallel()
	d := deploy(t, config{quota: 4 << 20})
	s := d.newSender()
	d.takes(s, 0, replace("a", "1"))
	c, err := d.members.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	junk := strings.Repeat("x", 256<<10)
	for err == nil {
		ctx, cancel := context.WithTimeout(d.ctx, 10*time.Second)
		_, err = c.Put(ctx, "/junk", junk)
		cancel()
	}
	t.Logf("etcd: %v", err)
	for i := range size {
		d.fails(s, i, replace("a", "2"))
		d.has(i, "a", "1")
		d.becomes(i, false)
	}
	ctx, cancel := context.WithTimeout(d.ctx, time.Minute)
	defer cancel()
	if _, err := c.Delete(ctx, "/junk"); err != nil {
		t.Fatal(err)
	}
	d.compact()
	for i := range size {
		if _, err := c.Defragment(ctx, d.members.Endpoint(i)); err != nil {
			t.Fatal(err)
		}
	}
	alarms, err := c.AlarmList(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, alarm := range alarms.Alarms {
		if _, err := c.AlarmDisarm(ctx, (*clientv3.AlarmMember)(alarm)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range size {
		d.takesAgain(s, i, replace("b", fmt.Sprint(i)))
		d.becomes(i, true)
	}
	d.sameSerial()
}

// TestBackupRestored: servers that know more than etcd after a backup was restored answer queries with what they know, and
// take no updates.
func TestBackupRestored(t *testing.T) {
	t.Parallel()
	d := deploy(t, config{})
	s := d.newSender()
	d.takes(s, 0, replace("a", "1"))
	if err := d.members.Save(d.ctx); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		d.takesAgain(s, i%size, replace("a", fmt.Sprint("later ", i)))
	}
	d.sameSerial()
	if err := d.members.Restore(d.ctx); err != nil {
		t.Fatal(err)
	}
	for i := range size {
		d.becomes(i, false)
		d.fails(s, i, replace("a", "3"))
		d.has(i, "a", "later 4")
	}
}
