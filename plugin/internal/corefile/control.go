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
// none, and by is the block that names it, if one does, or the one that the error is about.
func ControlSocket(blocks []*Block) (path string, by *Block, err error) {
	var chosen *Block
	for _, b := range blocks {
		if b.Control == "" && !b.ControlOff {
			continue
		}
		if chosen != nil && (b.Control != chosen.Control || b.ControlOff != chosen.ControlOff) {
			return "", b, diagnose.WithFix(fmt.Errorf("control differs from that of the block in %s, and the process has one socket", chosen.Position),
				"write control once")
		}
		chosen = b
	}
	if chosen != nil {
		return chosen.Control, chosen, nil
	}
	for _, b := range blocks {
		if b.Database != "" {
			return filepath.Join(b.Database, controlFile), nil, nil
		}
	}
	return "", nil, nil
}

// ControlSocketOf is ControlSocket for the blocks of a Corefile.
func ControlSocketOf(servers []Server) (path string, by *Block, err error) {
	blocks := make([]*Block, len(servers))
	for i := range servers {
		blocks[i] = servers[i].Block
	}
	return ControlSocket(blocks)
}
