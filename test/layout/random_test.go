package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestNothingSetsTheRandomness keeps the acceptor's randomness that of crypto/rand: what replaces it is a field of the
// process in plugin/gsstsig, which no file but a test sets.
func TestNothingSetsTheRandomness(t *testing.T) {
	const structure, field, option = "process", "random", "Random"
	seen := false
	for _, dir := range goList(t, "-f", "{{.Dir}}", module+"/...") {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			positions := token.NewFileSet()
			file, err := parser.ParseFile(positions, name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ours := filepath.Base(dir) == "gsstsig" && filepath.Base(filepath.Dir(dir)) == "plugin"
			complain := func(n ast.Node) { t.Errorf("%s sets the randomness", positions.Position(n.Pos())) }
			selects := func(e ast.Expr, name string) bool {
				selector, ok := e.(*ast.SelectorExpr)
				return ok && named(selector.Sel, name)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.KeyValueExpr:
					switch {
					case named(n.Key, option): // of a krb5.AcceptorConfig
						seen = seen || ours
						if !ours || !selects(n.Value, field) {
							complain(n)
						}
					case ours && named(n.Key, field):
						complain(n)
					}
				case *ast.CompositeLit: // without the names of its fields
					if ours && named(n.Type, structure) && len(n.Elts) > 0 {
						if _, ok := n.Elts[0].(*ast.KeyValueExpr); !ok {
							complain(n)
						}
					}
				case *ast.AssignStmt:
					for _, left := range n.Lhs {
						if selects(left, option) || ours && selects(left, field) {
							complain(n)
						}
					}
				case *ast.UnaryExpr:
					if ours && n.Op == token.AND && selects(n.X, field) {
						complain(n)
					}
				}
				return true
			})
		}
	}
	if !seen {
		t.Error("the acceptor's randomness is nowhere to be found")
	}
}

func named(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}
