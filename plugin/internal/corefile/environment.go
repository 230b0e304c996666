package corefile

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/coredns/caddy/caddyfile"
)

// maxCorefile bounds what is read of a Corefile in search of environment variables.
const maxCorefile = 1 << 20

// A Variable is an environment variable that a Corefile refers to by {$NAME} or {%NAME%}.
type Variable struct {
	Name string
	File string
	Line int
}

// Position returns Corefile:LINE.
func (v Variable) Position() string { return fmt.Sprintf("%s:%d", v.File, v.Line) }

var reference = regexp.MustCompile(`\{\$([^}]+)\}|\{%([^%]+)%\}`)

// UnsetVariables returns the variables that are not set of a Corefile with that content, in its order. CoreDNS replaces them
// by nothing. Those of imported files are not looked for.
func UnsetVariables(path string, content []byte) []Variable {
	return unsetVariables(path, bytes.NewReader(content))
}

func unsetVariables(path string, content io.Reader) []Variable {
	var unset []Variable
	tokens := caddyfile.NewDispenser(path, content) // comments are gone
	for tokens.Next() {
		for _, match := range reference.FindAllStringSubmatch(tokens.Val(), -1) {
			name := match[1] + match[2] // one is empty
			if _, ok := os.LookupEnv(name); !ok {
				unset = append(unset, Variable{name, path, tokens.Line()})
			}
		}
	}
	return unset
}

// explain names the variable that is not set if a line of the block, from first to last, refers to one: what went wrong is
// likely to follow from that.
func explain(err error, path string, first, last int) error {
	f, failure := os.Open(path)
	if failure != nil {
		return err // a Corefile that is not a file
	}
	defer f.Close()
	for _, v := range unsetVariables(path, io.LimitReader(f, maxCorefile)) {
		if first <= v.Line && v.Line <= last {
			return fmt.Errorf("the environment variable %s, used in line %d, is not set: %w", v.Name, v.Line, err)
		}
	}
	return err
}

// Explain adds to an error about what the block says the name of an environment variable that the block refers to but that
// is not set.
func (b *Block) Explain(err error) error { return explain(err, b.path, b.firstLine, b.lastLine) }
