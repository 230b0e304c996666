package corefile

import (
	"fmt"
	"path/filepath"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
)

// controlFile is the name of the control socket in the directory of databases.
const controlFile = "control.sock"

// ControlSocket returns the path of the control socket of a process that has these blocks, in the order of the Corefile: there is
// one for all of them. Without a property control it is in the directory of the first database. The path is empty if there is
// none, and given says whether a block names it.
func ControlSocket(blocks []*Block) (path string, given bool, err error) {
	var chosen *Block
	for _, b := range blocks {
		if b.Control == "" && !b.ControlOff {
			continue
		}
		if chosen != nil && (b.Control != chosen.Control || b.ControlOff != chosen.ControlOff) {
			return "", false, diagnose.WithFix(fmt.Errorf("%s: control differs from that of the block in %s, and the process has one socket", b.Position, chosen.Position),
				"write control once")
		}
		chosen = b
	}
	if chosen != nil {
		return chosen.Control, true, nil
	}
	for _, b := range blocks {
		if b.Database != "" {
			return filepath.Join(b.Database, controlFile), false, nil
		}
	}
	return "", false, nil
}

// ControlSocketOf is ControlSocket for the blocks of a Corefile.
func ControlSocketOf(servers []Server) (path string, given bool, err error) {
	blocks := make([]*Block, len(servers))
	for i := range servers {
		blocks[i] = servers[i].Block
	}
	return ControlSocket(blocks)
}
