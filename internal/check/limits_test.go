package main

import (
	"bufio"
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/internal/fixture"
)

// TestLimits: the messages that LIMITS.md quotes are in the code.
func TestLimits(t *testing.T) {
	root, err := fixture.Root()
	if err != nil {
		t.Fatal(err)
	}
	sources, err := load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for _, s := range sources {
		ast.Inspect(s.file, func(n ast.Node) bool {
			if e, ok := n.(ast.Expr); ok {
				if text, ok := constant(e); ok {
					said.WriteString(text + "\n")
				}
			}
			return true
		})
	}
	f, err := os.Open(filepath.Join(root, "LIMITS.md"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	quoted := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		text, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "> ")
		if !ok {
			continue
		}
		quoted++
		if !strings.Contains(said.String(), text) {
			t.Errorf("ptracer does not say %q", text)
		}
	}
	if quoted < 10 {
		t.Errorf("%d messages are quoted", quoted)
	}
}

// constant is the text of a literal, or of a sum of literals.
func constant(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, e.Kind == token.STRING && err == nil
	case *ast.BinaryExpr:
		left, ok := constant(e.X)
		right, ok2 := constant(e.Y)
		return left + right, e.Op == token.ADD && ok && ok2
	}
	return "", false
}
