package layout

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestWordSize: what own builds of CoreDNS have of this module compiles also where an int has 32 bits. The packages that it imports
// are taken as they are built here: whether these compile there is not examined.
func TestWordSize(t *testing.T) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export,Dir,GoFiles,Module", "./plugin/gsstsig", "./plugin/admin", "./gsstsig/client")
	cmd.Dir, cmd.Stderr = filepath.Join("..", ".."), os.Stderr
	list, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	type listed struct {
		ImportPath, Export, Dir string
		GoFiles                 []string
		Module                  *struct{ Main bool }
	}
	exports := make(map[string]string)
	var ours []listed
	for d := json.NewDecoder(strings.NewReader(string(list))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if p.Module != nil && p.Module.Main {
			ours = append(ours, p)
		}
	}
	files := token.NewFileSet()
	config := types.Config{
		Sizes:    types.SizesFor("gc", "arm"),
		Importer: importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }),
		Error: func(err error) {
			if !strings.Contains(err.Error(), "math.MaxInt (") { // which is of this machine
				t.Error(err)
			}
		},
	}
	for _, p := range ours {
		var parsed []*ast.File
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			parsed = append(parsed, f)
		}
		_, _ = config.Check(p.ImportPath, files, parsed, nil) // Error has each error
	}
	if len(ours) < 20 {
		t.Errorf("only %d packages were found", len(ours))
	}
}
