package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestNothingSetsTheRandomness keeps the acceptor's randomness that of crypto/rand: what replaces it is a variable of
// plugin/gsstsig that has no place in a Corefile, and that no file but a test sets.
func TestNothingSetsTheRandomness(t *testing.T) {
	const variable, field = "machine", "Random"
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
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.KeyValueExpr: // of a krb5.AcceptorConfig
					if named(n.Key, field) {
						seen = seen || ours
						if value, ok := n.Value.(*ast.SelectorExpr); !ok || !ours || !named(value.X, variable) {
							complain(n)
						}
					}
				case *ast.AssignStmt:
					for _, left := range n.Lhs {
						selector, ok := left.(*ast.SelectorExpr)
						if ok && (named(selector.Sel, field) || ours && named(selector.X, variable)) || ours && named(left, variable) {
							complain(n)
						}
					}
				case *ast.UnaryExpr:
					if ours && n.Op == token.AND && named(n.X, variable) {
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
