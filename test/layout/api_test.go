package layout

import (
	"bytes"
	"flag"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the exported API of the public packages to testdata/api")

// TestAPI compares what the public packages export with testdata/api, one file a package: a change of the API is made on
// purpose, and a review sees it there. go test ./test/layout -run TestAPI -update writes the files.
func TestAPI(t *testing.T) {
	const golden = "testdata/api"
	wanted := make(map[string]bool)
	for _, pkg := range public {
		name := strings.ReplaceAll(pkg, "/", "_") + ".txt"
		wanted[name] = true
		api, err := exported(filepath.Join("..", "..", pkg))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(golden, name)
		if *update {
			if err := os.WriteFile(file, api, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		recorded, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(api, recorded) {
			t.Errorf("the exported API of %s is not what %s says:\n%s", pkg, file, difference(string(recorded), string(api)))
		}
	}
	files, err := os.ReadDir(golden)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !wanted[file.Name()] {
			t.Errorf("%s is of no public package", file.Name())
		}
	}
}

// exported returns the declarations of a package that others see, without comments and bodies, in alphabetical order.
func exported(dir string) ([]byte, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var declarations []string
	positions := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(positions, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		ast.FileExports(file)
		for _, declaration := range file.Decls {
			switch d := declaration.(type) {
			case *ast.FuncDecl:
				if d.Recv != nil && !ast.IsExported(receiver(d)) {
					continue
				}
				d.Body = nil
			case *ast.GenDecl:
				if d.Tok == token.IMPORT {
					continue
				}
			}
			var text bytes.Buffer
			if err := format.Node(&text, positions, declaration); err != nil {
				return nil, err
			}
			declarations = append(declarations, text.String())
		}
	}
	slices.Sort(declarations)
	return []byte(strings.Join(declarations, "\n") + "\n"), nil
}

// receiver returns the name of a method's type.
func receiver(method *ast.FuncDecl) string {
	expression := method.Recv.List[0].Type
	for {
		switch e := expression.(type) {
		case *ast.StarExpr:
			expression = e.X
		case *ast.IndexExpr:
			expression = e.X
		case *ast.IndexListExpr:
			expression = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}

// difference lists the lines that only one of two texts has.
func difference(before, after string) string {
	old, now := strings.Split(before, "\n"), strings.Split(after, "\n")
	var lines []string
	for _, line := range old {
		if !slices.Contains(now, line) {
			lines = append(lines, "- "+line)
		}
	}
	for _, line := range now {
		if !slices.Contains(old, line) {
			lines = append(lines, "+ "+line)
		}
	}
	return strings.Join(lines, "\n")
}
