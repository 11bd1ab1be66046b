package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// module is the path before every package of ours.
const module = "github.com/ptracer/ptracer"

// source is one file of the product.
type source struct {
	name    string // path below the module's root
	pkg     string // its folder: the import path below the module, "." at the root
	imports []imported
	file    *ast.File
	fset    *token.FileSet
	tagged  int // line of a build constraint, 0: none
}

// imported is one import of a source.
type imported struct {
	path string // as written
	own  string // below the module, "" for packages of others
	line int
}

// breach is one rule broken at one place.
type breach struct {
	name, rule, why string
	line            int
}

func (b breach) String() string { return fmt.Sprintf("%s:%d: %s: %s", b.name, b.line, b.rule, b.why) }

// load reads every Go file below fsys that is neither a test, nor a fixture,
// nor another module's.
func load(fsys fs.FS) ([]source, error) {
	var sources []source
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return skipDir(fsys, name)
		case !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		s, err := read(fsys, name)
		sources = append(sources, s)
		return err
	})
	return sources, err
}

func skipDir(fsys fs.FS, name string) error {
	base := path.Base(name)
	if name == "." {
		return nil
	}
	if base == "testdata" || base == "vendor" || name == "build" || base[0] == '.' || base[0] == '_' {
		return fs.SkipDir
	}
	switch _, err := fs.Stat(fsys, path.Join(name, "go.mod")); {
	case err == nil:
		return fs.SkipDir
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return err
	}
}

func read(fsys fs.FS, name string) (source, error) {
	s := source{name: name, pkg: path.Dir(name), fset: token.NewFileSet()}
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return s, err
	}
	if s.file, err = parser.ParseFile(s.fset, name, text, parser.SkipObjectResolution|parser.ParseComments); err != nil {
		return s, err
	}
	for _, spec := range s.file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return s, err
		}
		i := imported{path: p, line: s.line(spec)}
		if rest, ok := strings.CutPrefix(p, module); ok && (rest == "" || rest[0] == '/') {
			i.own = strings.TrimPrefix(rest, "/")
			if i.own == "" {
				i.own = "."
			}
		}
		s.imports = append(s.imports, i)
	}
	s.tagged = constraint(text)
	return s, nil
}

func (s source) line(n ast.Node) int { return s.fset.Position(n.Pos()).Line }

// constraint is the line of a build constraint in text, 0 if it has none. They
// stand before the package clause.
func constraint(text []byte) int {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		switch {
		case strings.HasPrefix(line, "//go:build"), strings.HasPrefix(line, "// +build"):
			return n
		case strings.HasPrefix(line, "package "):
			return 0
		}
	}
	return 0
}
