package standard

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Citation is a test's word about a requirement.
type Citation struct {
	Standard    string
	Requirement string
	Test        string // the function, and /subtest where that has a name in the source
	File        string // from the root of the module
	Why         string // the reason of a deviation; empty where the requirement is met
}

const importPath = "github.com/gsstsig/coredns-gsstsig/internal/test/standard"

// Gather reads the citations of all tests below the root of a module, in the order of files and lines.
func Gather(root fs.FS) ([]Citation, error) {
	var all []Citation
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && name != "." && strings.HasPrefix(entry.Name(), ".") {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		if !strings.Contains(string(text), importPath) {
			return nil
		}
		citations, err := gatherFile(name, text)
		all = append(all, citations...)
		return err
	})
	return all, err
}

func gatherFile(name string, text []byte) ([]Citation, error) {
	positions := token.NewFileSet()
	file, err := parser.ParseFile(positions, name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == strconv.Quote(importPath) && i.Name == nil }) {
		return nil, nil // it is only mentioned there
	}
	g := gatherer{positions: positions, file: name}
	for _, declaration := range file.Decls {
		f, ok := declaration.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		g.test = ""
		if f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
			g.test = f.Name.Name
		}
		g.walk(f.Body, g.test)
	}
	return g.citations, g.err
}

type gatherer struct {
	positions *token.FileSet
	file      string
	test      string // the function, empty outside of tests
	citations []Citation
	err       error
}

// walk gathers the citations in a part of a test. What is within the function of a call t.Run("name", …) belongs to that
// subtest.
func (g *gatherer) walk(node ast.Node, test string) {
	ast.Inspect(node, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || g.err != nil {
			return g.err == nil
		}
		selector, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if selector.Sel.Name == "Run" && len(call.Args) == 2 && test != "" {
			subtest, err := constant(call.Args[0])
			f, literal := call.Args[1].(*ast.FuncLit)
			if err == nil && literal {
				g.walk(f.Body, test+"/"+strings.ReplaceAll(subtest, " ", "_"))
				return false
			}
		}
		pkg, ok := selector.X.(*ast.Ident)
		if ok && pkg.Name == "standard" && (selector.Sel.Name == "Requires" || selector.Sel.Name == "Deviates") {
			g.cite(selector.Sel.Name, call, test)
		}
		return true
	})
}

func (g *gatherer) cite(function string, call *ast.CallExpr, test string) {
	fail := func(format string, args ...any) {
		g.err = fmt.Errorf("%s: standard.%s %s", g.positions.Position(call.Pos()), function, fmt.Sprintf(format, args...))
	}
	if test == "" {
		fail("is not called by a test itself")
		return
	}
	var words []string
	for _, arg := range call.Args[min(1, len(call.Args)):] {
		word, err := constant(arg)
		if err != nil {
			fail("has an argument that is no constant string: %v", err)
			return
		}
		words = append(words, word)
	}
	switch {
	case function == "Requires" && len(words) > 1:
		for _, requirement := range words[1:] {
			g.citations = append(g.citations, Citation{Standard: words[0], Requirement: requirement, Test: test, File: g.file})
		}
	case function == "Deviates" && len(words) == 3:
		g.citations = append(g.citations, Citation{Standard: words[0], Requirement: words[1], Why: words[2], Test: test, File: g.file})
	default:
		fail("cites nothing")
	}
}

// constant is the value of a string in the source, in one piece or in several that are added.
func constant(e ast.Expr) (string, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			return strconv.Unquote(e.Value)
		}
	case *ast.BinaryExpr:
		left, err := constant(e.X)
		if err != nil || e.Op != token.ADD {
			return "", fmt.Errorf("not a sum: %w", err)
		}
		right, err := constant(e.Y)
		return left + right, err
	}
	return "", fmt.Errorf("%T", e)
}
