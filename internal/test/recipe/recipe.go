// Package recipe reads the recipes in docs, so that tests can execute them. A recipe is a Markdown file whose
// fenced blocks say after the language where they belong:
//
//	sh ns1                            commands that root runs on the machine ns1, in a shell that ends with the first error
//	sh ns1 running                    a program that keeps running there
//	corefile ns1:/etc/coredns/Corefile   a file of that machine
//
// A block without such a place is an error, because no test would execute it. Blocks between ~~~ are prose: they are not executed.
package recipe

import (
	"fmt"
	"os"
	"strings"
)

// Block is a fenced block.
type Block struct {
	Position string // file and line
	Section  string // the text of the heading above it
	Machine  string
	File     string // "" for commands
	Running  bool   // the command does not end
	Text     string
}

// Read reads a recipe. The replacer puts the tests' names and addresses in the place of the examples'.
func Read(path string, examples *strings.Replacer) ([]Block, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parse(path, string(text), examples)
}

const fence = "```"

func parse(path, text string, examples *strings.Replacer) ([]Block, error) {
	var blocks []Block
	var open *Block
	section := ""
	number := 0
	for line := range strings.Lines(text) {
		number++
		info, fenced := strings.CutPrefix(strings.TrimRight(line, "\n"), fence)
		switch {
		case fenced && open == nil:
			var err error
			if open, err = begin(fmt.Sprintf("%s:%d", path, number), info); err != nil {
				return nil, err
			}
			open.Section = section
		case open == nil && strings.HasPrefix(line, "#"):
			section = strings.TrimSpace(strings.TrimLeft(line, "#"))
		case fenced:
			open.Text = examples.Replace(open.Text)
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.Text += line
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%s: the block does not end", open.Position)
	}
	return blocks, nil
}

// begin reads what stands behind the fence.
func begin(position, info string) (*Block, error) {
	words := strings.Fields(info)
	if len(words) < 2 {
		return nil, fmt.Errorf("%s: %q does not say where the block belongs", position, info)
	}
	b := &Block{Position: position}
	b.Machine, b.File, _ = strings.Cut(words[1], ":")
	b.Running = len(words) == 3 && words[2] == "running"
	if b.File == "" && words[0] != "sh" || len(words) > 2 && !(b.Running && b.File == "") {
		return nil, fmt.Errorf("%s: %q is neither commands of a machine nor a file", position, info)
	}
	return b, nil
}
