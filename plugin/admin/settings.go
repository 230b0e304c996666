package admin

import (
	"fmt"
	"strings"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/msdnsp"
)

// defaultInterval is what Windows and Samba take for an interval that is not set.
const defaultInterval = 7 * 24 * time.Hour

// settingsJSON are the settings that a zone had in Active Directory.
type settingsJSON struct {
	Updates        string `json:"updates,omitempty"` // empty: the zone has no setting
	Aging          bool   `json:"aging"`
	NoRefreshHours int    `json:"no_refresh_hours"`
	RefreshHours   int    `json:"refresh_hours"`
}

// modes are the words of the property updates.
var modes = map[msdnsp.UpdateMode]string{
	msdnsp.UpdatesNone: "none", msdnsp.UpdatesUnsecure: "nonsecure-and-secure", msdnsp.UpdatesSecure: "secure",
}

// settingsJSON returns the settings of a zone from Active Directory, nil for another one.
func (s *seed) settingsJSON() *settingsJSON {
	if s.settings == nil {
		return nil
	}
	noRefresh, refresh := s.intervals()
	return &settingsJSON{modes[s.settings.Updates], s.settings.Aging, int(noRefresh.Hours()), int(refresh.Hours())}
}

func (s *seed) intervals() (noRefresh, refresh time.Duration) {
	noRefresh, refresh = s.settings.NoRefresh, s.settings.Refresh
	if noRefresh == 0 {
		noRefresh = defaultInterval
	}
	if refresh == 0 {
		refresh = defaultInterval
	}
	return noRefresh, refresh
}

// corefileLines are the properties of the gsstsig block that mean the same as the settings of a zone from Active Directory.
func (s *seed) corefileLines(origin string) []string {
	if s.settings == nil {
		return nil
	}
	name := strings.TrimSuffix(origin, ".")
	var lines []string
	if mode, set := modes[s.settings.Updates]; set { // otherwise the default here is that of Samba: secure
		lines = append(lines, fmt.Sprintf("updates %s %s", mode, name))
	}
	if s.settings.Aging {
		noRefresh, refresh := s.intervals()
		lines = append(lines, fmt.Sprintf("aging %dh %dh %s", int(noRefresh.Hours()), int(refresh.Hours()), name))
	}
	return lines
}
