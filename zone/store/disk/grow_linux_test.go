package disk

import (
	"os"
	"path/filepath"
	"testing"
)

// TestLogKeepsItsLength commits beside a look at the log: its file is as long before as after, so
// that a sync has no new length to write.
func TestLogKeepsItsLength(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	d, err := Open(dir, Options{Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	m := fillStore(t, d, 10)
	serial := d.state.serial
	lengths := func() map[string]int64 {
		files, err := filepath.Glob(filepath.Join(dir, dataDir, "*.log"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%d logs, %v", len(files), err)
		}
		sizes := make(map[string]int64)
		for _, file := range files {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			sizes[file] = info.Size()
		}
		return sizes
	}
	commit := func() {
		mustCommit(t, d, m, add(serial, 100))
		serial++
	}
	for range 3 {
		commit()
	}
	before := lengths()
	for range 20 {
		commit()
	}
	for file, length := range lengths() {
		if length != before[file] {
			t.Errorf("%s was %d octets long and is %d", filepath.Base(file), before[file], length)
		}
	}
}
