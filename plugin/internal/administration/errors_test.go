package administration

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/gsstsig/coredns-gsstsig/plugin/internal/view"
	"github.com/gsstsig/coredns-gsstsig/zone"
)

// TestLimitsByTheirWords: the error of an exceeded limit names it by its word in the Corefile, and says what to do.
func TestLimitsByTheirWords(t *testing.T) {
	upper := regexp.MustCompile(`[A-Z]`)
	for field := range reflect.TypeFor[zone.Limits]().Fields() {
		if field.Name == "Tombstones" || field.Name == "Batch" {
			continue // no update exceeds them
		}
		word := strings.TrimPrefix(upper.ReplaceAllStringFunc(field.Name, func(s string) string { return "-" + strings.ToLower(s) }), "-")
		switch field.Name {
		case "RecordsPerSet":
			word = "rrset-records"
		case "TypesPerName":
			word = "name-types"
		case "NonTerminals":
			word = "update-non-terminals"
		}
		if got := Explain(fmt.Errorf("update: %w", &zone.LimitError{Limit: field.Name, Max: 7})).Error(); !strings.Contains(got, " limit "+word+" (7)") || !strings.HasSuffix(got, "limit "+word+" NUMBER") {
			t.Errorf("%s: %q does not name %s", field.Name, got, word)
		}
	}
}

// TestLimitOfTheAdministrator: a change that exceeds a limit is refused with the limit and the fix.
func TestLimitOfTheAdministrator(t *testing.T) {
	z := open(t)
	u := &view.Update{Zone: "example.test."}
	for i := range 101 {
		u.Updates = append(u.Updates, view.Instruction{Name: "a.example.test.", Class: "IN", Type: "TXT", TTL: 60, Data: fmt.Sprint(i)})
	}
	const want = "limit rrset-records (100) exceeded at a.example.test. Fix: if the update is right, raise it in the gsstsig block: limit rrset-records NUMBER"
	if _, _, err := z.Update(t.Context(), u); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Error(err)
	}
}
