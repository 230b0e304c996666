//go:build unix

package admin

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestInheritOwner: what root makes belongs to the owner of the directory that was there before. Nothing leads out of it.
func TestInheritOwner(t *testing.T) {
	base := t.TempDir()
	owner := os.Getuid()
	if owner == 0 {
		owner = 65534
		if err := os.Chown(base, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	database := filepath.Join(base, "zones", "example.test")
	var given []string
	chown := func(root *os.Root, name string, uid, _ int) error {
		if uid != owner || root.Name() != base {
			t.Errorf("%s below %s is given to %d", name, root.Name(), uid)
		}
		given = append(given, name)
		return nil
	}
	inherit, err := inheritOwnerAs(database, 0, chown)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(database, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	outside := t.TempDir()
	for _, name := range []string{filepath.Join(database, "data", "1.sst"), database + ".seed", filepath.Join(outside, "file")} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(database, "link")); err != nil {
		t.Fatal(err)
	}
	if err := inherit([]string{database, database + ".seed", filepath.Join(database, "..", "nothing"), filepath.Join(outside, "file")}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(given)
	want := []string{"zones", "zones/example.test", "zones/example.test.seed", "zones/example.test/data", "zones/example.test/data/1.sst", "zones/example.test/link"}
	if got := slices.Compact(given); !slices.Equal(got, want) {
		t.Errorf("given away: %q, want %q", got, want)
	}

	// Other users have nothing to give.
	given = nil
	if inherit, err = inheritOwnerAs(database, owner, chown); err != nil || inherit([]string{database}) != nil || given != nil {
		t.Errorf("%v, %q", err, given)
	}
}
