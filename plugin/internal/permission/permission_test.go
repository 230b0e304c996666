package permission

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The status page asks with what its visitors type: nothing of it may open a file or add a record.
func TestChangeReadsOneRecordAndNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("octets-of-the-file 300 IN A 192.0.2.9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, q := range []struct{ name, data string }{
		{"$INCLUDE " + path + "\nx.example.test.", "192.0.2.1"},
		{"$INCLUDE " + path + " ;", "192.0.2.1"},
		{"$GENERATE 1-9 x$ A 192.0.2.$\n", "192.0.2.1"},
		{"a.example.test.", "192.0.2.1\n$INCLUDE " + path},
		{"a.example.test.", "\n$INCLUDE " + path},
		{"a.example.test.", "192.0.2.1\nb.example.test. A 192.0.2.2"},
		{"a.example.test.", "192.0.2.1 ; \n b.example.test. A 192.0.2.2"},
	} {
		records, err := Change(q.name, "A", []string{q.data}, false)
		text := ""
		for _, r := range records {
			text += r.String()
		}
		if err != nil {
			text += err.Error()
		}
		if strings.Contains(text, "octets-of-the-file") || strings.Contains(text, "192.0.2.9") {
			t.Errorf("%q %q: the file was read: %s", q.name, q.data, text)
		}
		if err == nil && !strings.HasPrefix(records[0].Header().Name, `\$`) && !strings.HasPrefix(records[0].Header().Name, "$") {
			t.Errorf("%q %q: %v, want an error", q.name, q.data, records)
		}
	}
	for _, name := range []string{"a.example.test", "A.example.test.", `a\032b.example.test.`} {
		if records, err := Change(name, "A", nil, false); err != nil || len(records) != 1 {
			t.Errorf("%s: %v, %v", name, records, err)
		}
		if records, err := Change(name, "A", nil, true); err != nil || len(records) != 1 {
			t.Errorf("deletion of %s: %v, %v", name, records, err)
		}
	}
}
