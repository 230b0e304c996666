package gsstsig

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gsstsig/coredns-gsstsig/gsstsig/krb5"
)

// restarted is a server of another process, with the same keytab, at the same time.
func (r *realm) restarted(change func(*TableConfig, *Config)) *realm {
	return newRealm(r.t, func(table *TableConfig, config *Config) {
		table.Now, config.Now = r.clock.now, r.clock.now
		if change != nil {
			change(table, config)
		}
	})
}

func (r *realm) live() int {
	live, _ := r.table.Len()
	return live
}

// TestExportAndImport: the next process has the contexts of the last one, and what that one accepted is a replay.
func TestExportAndImport(t *testing.T) {
	for _, l := range []login{{}, {enctype: 17, algorithm: AlgorithmGSSMicrosoft}, {notMutual: true}, {raw: true}} {
		r := newRealm(t, nil)
		p := r.login("K.Example.TEST.", l)
		half := r.newPeer("half.example.test.", login{noOptimistic: true})
		r.negotiate(tkeyMessage(half.name, half.algorithm, modeGSS, half.first()), testClient, nil)
		before, _ := p.sign(updateMessage())
		if _, err := NewAuthenticator(nil, r.server).Authenticate(before); err != nil {
			t.Fatal(err)
		}
		records, dropped := r.table.Export("place")
		if len(records) != 1 || dropped != 0 {
			t.Fatalf("%d records, %d dropped", len(records), dropped)
		}
		if live, halfOpen := r.table.Len(); live != 0 || halfOpen != 0 {
			t.Errorf("%d contexts and %d unfinished are left", live, halfOpen)
		}
		after := r.restarted(nil)
		if err := after.server.Import("place", records[0]); err != nil {
			t.Fatal(err)
		}
		a := NewAuthenticator(nil, after.server)
		var failure *VerifyError
		if _, err := a.Authenticate(before); !errors.As(err, &failure) || failure.Kind != BadSig || !errors.Is(err, krb5.ErrReplay) {
			t.Errorf("a message from before the restart: %v", err)
		}
		wire, mac := p.sign(updateMessage())
		transaction, err := a.Authenticate(wire)
		if err != nil {
			t.Fatal(err)
		}
		if id := transaction.Identity(); id.KeyName != "k.example.test." || id.Principal.String() != "host/a.example.test@"+testRealm {
			t.Errorf("identity %+v", id)
		}
		reply, err := transaction.Sign(new(dns.Msg).SetReply(updateMessage()))
		if err != nil {
			t.Fatal(err)
		}
		p.verifyAnswer(reply, mac, false)
		if err := after.server.Import("place", records[0]); !errors.Is(err, ErrKeyNameTaken) {
			t.Errorf("imported twice: %v", err)
		}
	}
}

// TestImportedContextsEnd: an imported context ends when it was to end, whatever the clock was set to meanwhile.
func TestImportedContextsEnd(t *testing.T) {
	for _, test := range []struct {
		name   string
		down   time.Duration // by the wall clock
		expire bool
		left   time.Duration // after the start, when it is still good; it is over a second later
	}{
		{"a short stop", time.Minute, false, DefaultLifetime - time.Minute - time.Second},
		{"a long stop", DefaultLifetime, true, 0},
		{"the clock is set back", -24 * time.Hour, false, DefaultLifetime - time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRealm(t, nil)
			p := r.login("k.example.test.", login{})
			records, _ := r.table.Export("place")
			after := r.restarted(nil)
			r.clock.advance(test.down)
			err := after.server.Import("place", records[0])
			if test.expire {
				if !errors.Is(err, krb5.ErrExpired) || after.live() != 0 {
					t.Fatalf("%v, %d contexts", err, after.live())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r.clock.advance(test.left)
			wire, _ := p.sign(updateMessage())
			if _, err := NewAuthenticator(nil, after.server).Authenticate(wire); err != nil {
				t.Errorf("before its end: %v", err)
			}
			r.clock.advance(time.Second)
			if after.live() != 0 {
				t.Error("it is alive after its end")
			}
		})
	}
}

// TestImportKeepsTheBounds: the table is as small as the new configuration wants it, and the last used stay.
func TestImportKeepsTheBounds(t *testing.T) {
	r := newRealm(t, func(table *TableConfig, _ *Config) { table.MaxContexts = 100 })
	for i := range 5 {
		r.login(fmt.Sprintf("%d.example.test.", i), login{})
	}
	r.table.lookup([]byte("\x010\x07example\x04test\x00"))
	records, _ := r.table.Export("place")
	after := r.restarted(func(table *TableConfig, _ *Config) { table.MaxContexts = 3 })
	for _, record := range records {
		if err := after.server.Import("place", record); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{"0": true, "1": false, "2": false, "3": true, "4": true} {
		if got := after.table.has(name + ".example.test."); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
	after = r.restarted(nil)
	for _, record := range records {
		if err := after.server.Import("elsewhere", record); !errors.Is(err, krb5.ErrIntegrity) {
			t.Errorf("a record of another place: %v", err)
		}
	}
	if after.live() != 0 {
		t.Errorf("%d contexts", after.live())
	}
}

// TestExportLeavesOutWhatIsOver: an expired context is neither exported nor counted.
func TestExportLeavesOutWhatIsOver(t *testing.T) {
	r := newRealm(t, nil)
	r.login("k.example.test.", login{})
	r.clock.advance(DefaultLifetime)
	if records, dropped := r.table.Export("place"); len(records) != 0 || dropped != 0 {
		t.Errorf("%d records, %d dropped", len(records), dropped)
	}
}

// FuzzImportedContext reads what is sealed beside the mechanism's state.
func FuzzImportedContext(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		c, ok := importedContext(new(krb5.AcceptorContext), data)
		if !ok {
			return
		}
		if again := c.exported(0); string(again) != string(data) {
			t.Fatalf("%x is read and written as %x", data, again)
		}
		_ = c.over(time.Now(), 0)
	})
}

func TestImportedContextIsChecked(t *testing.T) {
	good := (&securityContext{name: "\x01k\x00", algorithm: wireGSS, expires: time.Unix(1, 0), until: math.MaxInt64}).exported(0)
	if _, ok := importedContext(new(krb5.AcceptorContext), good); !ok {
		t.Fatal("not even that")
	}
	for name, data := range map[string][]byte{
		"empty":             nil,
		"no name":           good[:17],
		"name cut":          good[:len(good)-1],
		"more after it":     append(good[:len(good):len(good)], 0),
		"unknown algorithm": append(append(binary.BigEndian.AppendUint64(nil, 1), good[8:16]...), 2, 0),
		"in capitals":       append(good[:17:17], "\x01K\x00"...),
		"a pointer":         append(good[:17:17], 0xC0, 0),
	} {
		if _, ok := importedContext(new(krb5.AcceptorContext), data); ok {
			t.Error(name)
		}
	}
}
