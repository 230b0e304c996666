package tested

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	a, b := Client{"a", "package-a"}, Client{"b", "package-b"}
	t.Run("tried", func(t *testing.T) {
		Path(t, a, "one")
		Path(t, b, "other")
		Path(t, a, "two")
	})
	paths[0].failed = true
	lines := strings.Split(Table(func(pkg string) string { return "1 of " + pkg }), "\n")
	for i, want := range []string{
		"client version passed paths tried", "a 1 of package-a 1 of 2 one (FAILED), two", "b 1 of package-b 1 of 1 other", "",
	} {
		if got := strings.Join(strings.Fields(lines[i]), " "); got != want {
			t.Errorf("line %d: %q, want %q", i, got, want)
		}
	}
}
