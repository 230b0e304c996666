package krb5

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/types"
)

func TestKeytabListsItsKeys(t *testing.T) {
	des3 := types.EncryptionKey{KeyType: 16, KeyValue: make([]byte, 24)}
	first := writeFile(t, "first.keytab", keytabBytes(
		keytabSpec{testService, 3, testKey(18, "3")},
		keytabSpec{testService, 300, testKey(20, "300")},
		keytabSpec{testService, 3, des3}))
	second := writeFile(t, "second.keytab", keytabBytes(keytabSpec{mustPrincipal("dns/b.test@B.TEST"), 1, testKey(17, "b")}))
	k, err := OpenKeytabs(first, second)
	if err != nil {
		t.Fatal(err)
	}
	added := time.Unix(testNow.Unix(), 0)
	want := []KeyInfo{
		{testService, 3, 18, first, added},
		{testService, 300, 20, first, added},
		{testService, 3, 16, first, added},
		{mustPrincipal("dns/b.test@B.TEST"), 1, 17, second, added},
	}
	if got := k.Keys(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("keys %v\nwant %v", got, want)
	}
	if got := k.Realms(); !slices.Equal(got, []string{"B.TEST", "EXAMPLE.TEST"}) {
		t.Errorf("realms %v", got)
	}
	// A type that is not supported is listed but not used.
	if n := len(k.set.Load().services[testService.folded()]); n != 2 {
		t.Errorf("%d keys in use", n)
	}
}

// Files as gokrb5 writes them.
func TestKeytabWrittenByGokrb5(t *testing.T) {
	kt := keytab.New()
	for _, id := range testTypes {
		if err := kt.AddEntry("DNS/ns1.example.test", testRealm, "password", testNow, 7, int32(id)); err != nil {
			t.Fatal(err)
		}
	}
	k := openKeytab(t, must(kt.Marshal()))
	for i, info := range k.Keys() {
		if !info.Principal.Equal(testService) || info.KVNO != 7 || info.Enctype != testTypes[i] {
			t.Errorf("key %+v", info)
		}
	}
	a := newTestAcceptor(t, func(c *AcceptorConfig) { c.Keytabs = k })
	for i, e := range kt.Entries {
		accept(t, a, requestSpec{ticketSpec: ticketSpec{key: e.Key, version: 7}, at: testNow.Add(time.Duration(i) * time.Second)}.token())
	}
}

func TestKeytabWithHolesAndOldEntries(t *testing.T) {
	entry := keytabBytes(keytabSpec{testService, 3, testKey(18, "3")})[2:]
	length := binary.BigEndian.Uint32(entry)
	hole := slices.Concat([]byte{0xFF, 0xFF, 0xFF, 0xEC}, make([]byte, 20))
	short := bytes.Clone(entry[:len(entry)-4]) // without the 32-bit version
	binary.BigEndian.PutUint32(short, length-4)
	zero := slices.Concat(entry[:len(entry)-4], make([]byte, 4)) // with a 32-bit version of zero
	longer := slices.Concat(entry, []byte("more"))               // with what the future brings
	binary.BigEndian.PutUint32(longer, length+4)
	for name, b := range map[string][]byte{
		"hole first":        slices.Concat(hole, entry),
		"hole last":         slices.Concat(entry, hole),
		"8-bit version":     short,
		"zero 32-bit":       zero,
		"further field":     longer,
		"ended by a zero":   slices.Concat(entry, make([]byte, 4), []byte("rubbish")),
		"every one at once": slices.Concat(hole, short, hole, zero, longer, make([]byte, 8)),
	} {
		k, err := OpenKeytabs(writeFile(t, "k", slices.Concat([]byte{5, 2}, b)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, i := range k.Keys() {
			if i.KVNO != 3 || !i.Principal.Equal(testService) {
				t.Errorf("%s: %+v", name, i)
			}
		}
	}
}

// gokrb5 panics on some files, and puts the octets of others into its errors.
func TestBrokenKeytabsAreErrorsWithoutOctets(t *testing.T) {
	good := keytabBytes(keytabSpec{testService, 3, types.EncryptionKey{KeyType: 18, KeyValue: []byte("key octets key octets key octets")}})
	wrongSize := keytabBytes(keytabSpec{testService, 3, types.EncryptionKey{KeyType: 20, KeyValue: []byte("key octets key octets 24")}})
	cases := map[string][]byte{
		"magic alone":             {5},
		"no keys":                 {5, 2},
		"only a hole":             {5, 2, 0xFF, 0xFF, 0xFF, 0xFF, 0},
		"text":                    []byte("key octets in a text file"),
		"version 1":               append([]byte{5, 1}, good[2:]...),
		"key of a wrong size":     wrongSize,
		"huge entry":              {5, 2, 0x7F, 0xFF, 0xFF, 0xFF, 0},
		"largest hole":            {5, 2, 0x80, 0, 0, 0, 0},
		"principal without name":  keytabBytes(keytabSpec{Principal{Components: []string{""}, Realm: "R"}, 3, testKey(18, "3")}),
		"principal without realm": keytabBytes(keytabSpec{Principal{Components: []string{"a"}}, 3, testKey(18, "3")}),
		"no components":           keytabBytes(keytabSpec{Principal{Realm: "R"}, 3, testKey(18, "3")}),
	}
	for n := 3; n < len(good); n++ {
		cases[fmt.Sprintf("cut to %d", n)] = good[:n]
	}
	for name, b := range cases {
		file := writeFile(t, "broken.keytab", b)
		_, err := OpenKeytabs(file)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "klist -kte") {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(err.Error(), "key octets") || strings.Contains(err.Error(), hex.EncodeToString([]byte("key octets"))) {
			t.Errorf("%s: the error shows what is in the file: %v", name, err)
		}
	}
}

func TestKeytabFilesThatCannotBeRead(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.keytab")
	_, err := OpenKeytabs(writeFile(t, "dns.keytab", serviceKeytab()), missing)
	if !errors.Is(err, fs.ErrNotExist) || strings.Count(err.Error(), missing) != 2 || !strings.Contains(err.Error(), "ktadd -k") {
		t.Errorf("missing: %v", err)
	}
	dir := t.TempDir()
	if _, err = OpenKeytabs(dir); err == nil || err.Error() != "keytab "+dir+": it is a directory. Fix: name the keytab file in it" {
		t.Errorf("directory: %v", err)
	}
	empty := writeFile(t, "empty.keytab", nil)
	if _, err = OpenKeytabs(empty); err == nil || !strings.HasPrefix(err.Error(), "keytab "+empty+": it is empty. Fix: export the key of DNS/HOST to it") {
		t.Errorf("empty: %v", err)
	}
	large := writeFile(t, "large.keytab", append([]byte{5, 2}, make([]byte, maxKeytab)...))
	if _, err = OpenKeytabs(large); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("large: %v", err)
	}
	if _, err = OpenKeytabs(); err == nil {
		t.Error("no file is good enough")
	}
	// Tests may run as root, whom no mode keeps out.
	err = keytabError("dns.keytab", &fs.PathError{Op: "open", Path: "dns.keytab", Err: fs.ErrPermission})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), fmt.Sprintf("uid %d", os.Getuid())) {
		t.Errorf("permission: %v", err)
	}
}

func TestReload(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	version := func(n uint32, name string) []byte {
		return keytabBytes(keytabSpec{mustPrincipal("DNS/" + name + "@R"), n, testKey(18, name)})
	}
	writeFile(t, one, version(1, "one"))
	writeFile(t, two, version(1, "two"))
	k, err := OpenKeytabs(one, two)
	if err != nil {
		t.Fatal(err)
	}
	check := func(step, want string, wantChanged bool, wantError string) {
		t.Helper()
		changed, err := k.Reload()
		if changed != wantChanged || (err != nil) != (wantError != "") || (err != nil && !strings.Contains(err.Error(), wantError)) {
			t.Errorf("%s: changed %v, error %v", step, changed, err)
		}
		var got []string
		for _, i := range k.Keys() {
			got = append(got, fmt.Sprintf("%s:%d", i.Principal.Components[1], i.KVNO))
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s", step, got, want)
		}
	}
	touch := func(file string, minutes int) {
		t.Helper()
		at := testNow.Add(time.Duration(minutes) * time.Minute)
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	check("nothing happened", "[one:1 two:1]", false, "")
	writeFile(t, one, version(2, "one"))
	touch(one, 1)
	check("written in place", "[one:2 two:1]", true, "")
	check("nothing happened", "[one:2 two:1]", false, "")
	// Another file of the same size and time takes its place.
	writeFile(t, filepath.Join(dir, "new"), version(3, "one"))
	touch(filepath.Join(dir, "new"), 1)
	if err := os.Rename(filepath.Join(dir, "new"), one); err != nil {
		t.Fatal(err)
	}
	check("renamed over", "[one:3 two:1]", true, "")
	writeFile(t, one, []byte("half a file"))
	writeFile(t, two, version(2, "two"))
	touch(two, 2)
	check("one is broken, the other changed", "[one:3 two:2]", true, one)
	check("still broken", "[one:3 two:2]", false, one)
	if err := os.Remove(one); err != nil {
		t.Fatal(err)
	}
	check("gone", "[one:3 two:2]", false, one)
	writeFile(t, one, version(4, "one"))
	check("repaired", "[one:4 two:2]", true, "")
}

func TestKeytabsAreReadWhileReloading(t *testing.T) {
	file := writeFile(t, "k", serviceKeytab())
	k := must(OpenKeytabs(file))
	a := newTestAcceptor(t, func(c *AcceptorConfig) { c.Keytabs = k })
	token := requestSpec{}.token()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if !a.HasKeyFor(token) || len(k.Keys()) == 0 || len(k.Realms()) != 1 {
					t.Error("keys are missing while others reload")
				}
			}
		})
	}
	wg.Go(func() {
		for n := range 50 {
			at := testNow.Add(time.Duration(n) * time.Minute)
			if err := os.Chtimes(file, at, at); err != nil {
				t.Error(err)
			}
			if _, err := k.Reload(); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
}

func TestKeysAndRealmsAreCopies(t *testing.T) {
	k := openKeytab(t, serviceKeytab())
	k.Keys()[0] = KeyInfo{}
	k.Realms()[0] = "OTHER"
	if k.Keys()[0].KVNO != testVersion || k.Realms()[0] != testRealm {
		t.Error("a caller changed the set")
	}
}
