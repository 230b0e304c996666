package corefile

import "github.com/coredns/caddy"

// LogLevel is a level of CoreDNS's log.
type LogLevel uint8

const (
	LogInfo LogLevel = iota
	LogWarning
	LogError
)

var logLevels = map[string]LogLevel{"info": LogInfo, "warning": LogWarning, "error": LogError}

// Severity returns the level as CoreDNS's JSON format writes it.
func (l LogLevel) Severity() string {
	switch l {
	case LogError:
		return "ERROR"
	case LogWarning:
		return "WARN"
	}
	return "INFO"
}

// log reads at which level refused updates are logged.
func (b *Block) log(c *caddy.Controller, _ string, args []string) error {
	if len(args) != 2 || args[0] != "refused" {
		return c.Errf("log needs the word refused and a level, one of info, warning, error: log refused LEVEL")
	}
	level, ok := logLevels[args[1]]
	if !ok {
		return c.Errf("log refused: unknown level %q; the levels are info, warning, error", args[1])
	}
	b.RefusedLevel = level
	return b.once(c, "log refused")
}
