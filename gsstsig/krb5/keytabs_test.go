package krb5

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// rotation is a keytab file, the set read from it, and an acceptor, all with
// one clock.
type rotation struct {
	t    *testing.T
	file string
	keys *Keytabs
	now  time.Time
	a    *Acceptor
	n    int
}

func newRotation(t *testing.T, entries ...keytabSpec) *rotation {
	r := &rotation{t: t, file: writeFile(t, "dns.keytab", keytabBytes(entries...)), now: testNow}
	r.keys = r.open()
	r.a = newTestAcceptor(t, func(c *AcceptorConfig) { c.Keytabs, c.Now = r.keys, r.clock })
	return r
}

func (r *rotation) clock() time.Time { return r.now }

func (r *rotation) open() *Keytabs {
	k, err := OpenKeytabs(r.file)
	if err != nil {
		r.t.Fatal(err)
	}
	k.now = r.clock
	return k
}

// write changes the file, in place or by renaming another over it.
func (r *rotation) write(rename bool, entries ...keytabSpec) {
	r.t.Helper()
	name := r.file
	if rename {
		name += ".new"
	}
	writeFile(r.t, name, keytabBytes(entries...))
	r.n++
	at := testNow.Add(time.Duration(r.n) * time.Second)
	if err := os.Chtimes(name, at, at); err != nil {
		r.t.Fatal(err)
	}
	if rename {
		if err := os.Rename(name, r.file); err != nil {
			r.t.Fatal(err)
		}
	}
	if changed, err := r.keys.Reload(); err != nil || !changed {
		r.t.Fatalf("Reload: %v, %v", changed, err)
	}
}

// token is one with a ticket of the key's version and label.
func (r *rotation) token(version uint32, label string) []byte {
	return requestSpec{at: r.now, ticketSpec: ticketSpec{key: testKey(18, label), version: int(version), end: r.now.Add(time.Hour)}}.token()
}

func entry(version uint32, label string) keytabSpec {
	return keytabSpec{testService, version, testKey(18, label)}
}

func TestTicketsOutliveTheirKeysFile(t *testing.T) {
	standard.Requires(t, "MS-KILE", "3.4.5 older keys")
	for _, rename := range []bool{false, true} {
		t.Run(fmt.Sprintf("rename %v", rename), func(t *testing.T) {
			r := newRotation(t, entry(1, "one"))
			r.write(rename, entry(2, "two"))
			if k := r.keys.Keys(); len(k) != 1 || k[0].KVNO != 2 {
				t.Errorf("listed are %v", k)
			}
			accept(t, r.a, r.token(1, "one"))
			accept(t, r.a, r.token(2, "two"))
			r.write(rename, entry(3, "three"))
			for n, label := range []string{"one", "two", "three"} {
				accept(t, r.a, r.token(uint32(n+1), label))
			}
			r.now = testNow.Add(DefaultRetention - time.Second)
			accept(t, r.a, r.token(1, "one"))
			// Nothing needs to be reloaded for it to end.
			r.now = testNow.Add(DefaultRetention)
			e, _ := refuse(t, r.a, r.token(1, "one"), ErrNoKey, codeBadKeyVersion)
			if fmt.Sprint(e.KeytabKVNOs) != "[3]" {
				t.Errorf("held versions %v", e.KeytabKVNOs)
			}
			accept(t, r.a, r.token(3, "three"))
			if changed, err := r.keys.Reload(); changed || err != nil {
				t.Errorf("Reload: %v, %v", changed, err)
			}
			if n := len(r.keys.set.Load().services[testService.folded()]); n != 1 || len(r.keys.removed) != 0 {
				t.Errorf("%d keys are remembered", n)
			}
		})
	}
}

// A trust or an account that is recreated brings another key under the same
// number.
func TestSameVersionWithAnotherKey(t *testing.T) {
	r := newRotation(t, entry(1, "old"))
	r.write(false, entry(1, "new"))
	accept(t, r.a, r.token(1, "old"))
	accept(t, r.a, r.token(1, "new"))
	both := newRotation(t, entry(1, "old"), entry(1, "new"))
	accept(t, both.a, both.token(1, "old"))
	accept(t, both.a, both.token(1, "new"))
	refuse(t, both.a, both.token(1, "third"), ErrIntegrity, codeModified)
}

func TestHeldKeysAreTriedBeforeRemovedOnes(t *testing.T) {
	r := newRotation(t, entry(1, "a"), entry(2, "b"))
	r.write(false, entry(1, "c"), entry(3, "d"))
	keys := r.keys.set.Load().services[testService.folded()]
	var got []string
	for _, k := range candidates(keys, 18, 1, r.now) {
		got = append(got, fmt.Sprint(k.version, k.until.IsZero()))
	}
	if want := "[1 true 1 false 3 true 2 false]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func TestRemovedPrincipalStaysForItsTickets(t *testing.T) {
	other := keytabSpec{mustPrincipal("DNS/other.test@EXAMPLE.TEST"), 1, testKey(18, "other")}
	r := newRotation(t, entry(1, "one"), other)
	r.write(false, other)
	token := r.token(1, "one")
	if !r.a.HasKeyFor(token) {
		t.Error("not held")
	}
	accept(t, r.a, token)
	r.now = testNow.Add(DefaultRetention)
	if r.a.HasKeyFor(token) {
		t.Error("still held")
	}
	if e, _ := refuse(t, r.a, r.token(1, "one"), ErrNoKey, codeNoKey); !strings.Contains(e.Reason, "no key for") {
		t.Errorf("reason %q", e.Reason)
	}
}

func TestKeyThatComesBackIsHeld(t *testing.T) {
	r := newRotation(t, entry(1, "one"))
	r.write(false, entry(2, "two"))
	r.write(false, entry(1, "one"), entry(2, "two"))
	if n := len(r.keys.removed); n != 0 {
		t.Errorf("%d keys are remembered as removed", n)
	}
	r.now = testNow.Add(10 * DefaultRetention)
	accept(t, r.a, r.token(1, "one"))
}

func TestSameKeyInTwoFilesIsTriedOnce(t *testing.T) {
	upper := testService
	upper.Components = []string{"dns", "NS1.example.test"}
	k := must(OpenKeytabs(
		writeFile(t, "one", keytabBytes(entry(1, "a"), keytabSpec{upper, 1, testKey(18, "a")})),
		writeFile(t, "two", keytabBytes(entry(1, "a")))))
	if n := len(k.set.Load().services[testService.folded()]); n != 1 || len(k.Keys()) != 3 {
		t.Errorf("%d keys are tried, %d listed", n, len(k.Keys()))
	}
}

func TestKeep(t *testing.T) {
	r := newRotation(t, entry(1, "one"))
	r.keys.SetRetention(time.Hour)
	r.write(false, entry(2, "two"))
	r.now = testNow.Add(59 * time.Minute)
	accept(t, r.a, r.token(1, "one"))
	r.now = testNow.Add(time.Hour)
	refuse(t, r.a, r.token(1, "one"), ErrNoKey, codeBadKeyVersion)
	r.now = testNow
	r.keys.SetRetention(0)
	refuse(t, r.a, r.token(1, "one"), ErrNoKey, codeBadKeyVersion)
	r.write(false, entry(3, "three"))
	refuse(t, r.a, r.token(2, "two"), ErrNoKey, codeBadKeyVersion)
}

func TestRemovedKeysAreBounded(t *testing.T) {
	r := newRotation(t, entry(1, "1"))
	for n := uint32(2); n < maxRemoved+10; n++ {
		r.write(false, entry(n, fmt.Sprint(n)))
	}
	if n := len(r.keys.set.Load().services[testService.folded()]); n != maxRemoved+1 {
		t.Errorf("%d keys are tried", n)
	}
	accept(t, r.a, r.token(maxRemoved+5, fmt.Sprint(maxRemoved+5)))
	refuse(t, r.a, r.token(1, "1"), ErrNoKey, codeBadKeyVersion) // the oldest gave way
}

func TestInherit(t *testing.T) {
	r := newRotation(t, entry(1, "one"))
	r.write(false, entry(2, "two"))
	// The file changes, and a new configuration finds it so.
	writeFile(t, r.file, keytabBytes(entry(3, "three")))
	elsewhere := newRotation(t, entry(9, "nine"))
	next := r.open()
	next.Inherit(r.keys)
	next.Inherit(elsewhere.keys)
	next.Inherit(next)
	a := newTestAcceptor(t, func(c *AcceptorConfig) { c.Keytabs, c.Now = next, r.clock })
	for n, label := range []string{"one", "two", "three"} {
		accept(t, a, r.token(uint32(n+1), label))
	}
	refuse(t, a, r.token(9, "nine"), ErrNoKey, codeBadKeyVersion)
	if k := next.Keys(); len(k) != 1 {
		t.Errorf("listed are %v", k)
	}
	r.now = testNow.Add(DefaultRetention)
	refuse(t, a, r.token(1, "one"), ErrNoKey, codeBadKeyVersion)
}

// A file written twice within the tick of the file system's clock looks the
// same after the second time.
func TestReloadNoticesAChangeWithinTheClocksTick(t *testing.T) {
	r := newRotation(t, entry(1, "one"))
	info := must(os.Stat(r.file))
	writeFile(t, r.file, keytabBytes(entry(2, "two")))
	if err := os.Chtimes(r.file, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if changed, err := r.keys.Reload(); !changed || err != nil {
		t.Errorf("Reload: %v, %v", changed, err)
	}
	accept(t, r.a, r.token(2, "two"))
}

// A ticket for a key that only the file holds does not wait for the next
// Reload, which then tells of the change.
func TestTicketForANewKeyHasTheFileRead(t *testing.T) {
	for _, c := range []struct {
		name    string
		entries []keytabSpec
		version uint32
		label   string
	}{
		{"new version", []keytabSpec{entry(1, "one"), entry(2, "two")}, 2, "two"},
		{"same version", []keytabSpec{entry(1, "again")}, 1, "again"},
		{"new encryption type", []keytabSpec{entry(1, "one"), {testService, 1, testKey(20, "one")}}, 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRotation(t, entry(1, "one"))
			key := testKey(18, c.label)
			if c.label == "" {
				key = testKey(20, "one")
			}
			spec := requestSpec{ticketSpec: ticketSpec{key: key, version: int(c.version)}}
			accept(t, r.a, r.token(1, "one"))
			writeFile(t, r.file, keytabBytes(c.entries...))
			accept(t, r.a, spec.token())
			for _, want := range []bool{true, false} {
				if changed, err := r.keys.Reload(); changed != want || err != nil {
					t.Errorf("Reload: %v, %v, want %v", changed, err, want)
				}
			}
		})
	}
}

// The first tickets for a new key come from many clients at once.
func TestTicketsForANewKeyComeTogether(t *testing.T) {
	r := newRotation(t, entry(1, "one"))
	tokens := make([][]byte, 50)
	for i := range tokens {
		at := r.now.Add(time.Duration(i) * time.Millisecond)
		tokens[i] = requestSpec{at: at, ticketSpec: ticketSpec{key: testKey(18, "two"), version: 2}}.token()
	}
	writeFile(t, r.file, keytabBytes(entry(2, "two")))
	var all sync.WaitGroup
	for _, token := range tokens {
		all.Go(func() {
			if _, err := r.a.NewContext().Accept(token); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// Tickets that no key opens do not keep the disk busy, not even where a file
// looks changed every time.
func TestReadingForMissedKeysIsBounded(t *testing.T) {
	r := newRotation(t, entry(1, "one"))
	writeFile(t, r.file, []byte("broken"))
	set := r.keys.set.Load()
	for range missedReadsBurst {
		if r.keys.refresh(set) {
			t.Fatal("keys from a broken file")
		}
	}
	// The bucket fills again while this runs, but only so fast.
	for r.keys.missed.Allow() {
	}
	writeFile(t, r.file, keytabBytes(entry(2, "two")))
	r.keys.missed.SetLimit(0)
	refuse(t, r.a, r.token(2, "two"), ErrNoKey, codeBadKeyVersion)
	r.keys.missed.SetLimit(rate.Inf)
	accept(t, r.a, r.token(2, "two"))
}

// Without a change nothing is read, however many tickets no key opens.
func TestMissedKeyDoesNotReadAnUnchangedFile(t *testing.T) {
	r := newRotation(t, entry(1, "one"))
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(r.file, past, past); err != nil {
		t.Fatal(err)
	}
	if _, err := r.keys.Reload(); err != nil {
		t.Fatal(err)
	}
	r.keys.missed = rate.NewLimiter(0, 1)
	refuse(t, r.a, r.token(2, "two"), ErrNoKey, codeBadKeyVersion)
	if !r.keys.missed.Allow() {
		t.Error("the file was read")
	}
}

func TestTouchedFileIsNotAChange(t *testing.T) {
	r := newRotation(t, entry(1, "one"))
	if err := os.Chtimes(r.file, testNow, testNow); err != nil {
		t.Fatal(err)
	}
	if changed, err := r.keys.Reload(); changed || err != nil {
		t.Errorf("Reload: %v, %v", changed, err)
	}
}

func TestBrokenFileKeepsItsKeys(t *testing.T) {
	r := newRotation(t, entry(1, "one"))
	good := keytabBytes(entry(2, "two"), entry(3, "three"))
	for n := range len(good) {
		// However much of a file in the making is there: the old key is usable.
		writeFile(t, r.file, good[:n])
		r.keys.Reload()
		accept(t, r.a, requestSpec{at: r.now.Add(time.Duration(n) * time.Microsecond), ticketSpec: ticketSpec{key: testKey(18, "one"), version: 1}}.token())
	}
	writeFile(t, r.file, good)
	if _, err := r.keys.Reload(); err != nil {
		t.Error(err)
	}
	accept(t, r.a, r.token(1, "one"))
	accept(t, r.a, r.token(3, "three"))
}

func TestKeytabsThatOthersMayReadAreReported(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dns.keytab")
	writeFile(t, file, serviceKeytab())
	for mode, want := range map[os.FileMode]string{0o600: "", 0o640: "", 0o644: "read by everyone", 0o604: "read by everyone", 0o666: "changed by everyone", 0o602: "changed by everyone"} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		w := must(OpenKeytabs(file)).Warnings()
		if want == "" {
			if len(w) != 0 {
				t.Errorf("%v: %q", mode, w)
			}
			continue
		}
		if len(w) != 1 || w[0].File != file || !strings.Contains(w[0].Problem, want) || w[0].Fix != "chmod 600 "+file || !strings.Contains(w[0].Problem, fmt.Sprintf("%04o", mode)) {
			t.Errorf("%v: %q", mode, w)
		}
	}
}
