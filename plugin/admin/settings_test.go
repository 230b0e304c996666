package admin

import (
	"slices"
	"testing"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/msdnsp"
)

// TestSettings: what Active Directory has of a zone becomes properties of the gsstsig block.
func TestSettings(t *testing.T) {
	for name, test := range map[string]struct {
		settings *msdnsp.Settings
		lines    []string
		json     *settingsJSON
	}{
		"a master file": {nil, nil, nil},
		"as it comes":   {&msdnsp.Settings{Updates: msdnsp.UpdatesSecure}, []string{"updates secure corp.test"}, &settingsJSON{"secure", false, 168, 168}},
		"aging": {&msdnsp.Settings{Updates: msdnsp.UpdatesUnsecure, Aging: true, NoRefresh: 72 * time.Hour},
			[]string{"updates nonsecure-and-secure corp.test", "aging 72h 168h corp.test"}, &settingsJSON{"nonsecure-and-secure", true, 72, 168}},
		"static":  {&msdnsp.Settings{Updates: msdnsp.UpdatesNone}, []string{"updates none corp.test"}, &settingsJSON{"none", false, 168, 168}},
		"not set": {&msdnsp.Settings{}, nil, &settingsJSON{"", false, 168, 168}},
	} {
		s := seed{settings: test.settings}
		if got := s.corefileLines("corp.test."); !slices.Equal(got, test.lines) {
			t.Errorf("%s: %q", name, got)
		}
		if got := s.settingsJSON(); (got == nil) != (test.json == nil) || got != nil && *got != *test.json {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
