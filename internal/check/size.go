package main

import (
	"fmt"
	"go/ast"
	"sort"
	"strings"
)

// What a reader can hold in mind: more is several subjects.
const (
	mostLines   = 3000 // of a package
	mostFields  = 20   // of a struct
	mostMethods = 50   // of a type
)

// outgrown are packages and types that are larger, with what they have: they may only shrink.
var outgrown = map[string]int{}

// small holds packages, structs and types to a size. Handlers are compilers and verifiers, of
// long tables; tools have their own.
func small(sources []source) (found []breach) {
	lines, methods, first := map[string]int{}, map[string]int{}, map[string]source{}
	tooLarge := func(s source, line int, name string, is, most int, of string) {
		if is > max(most, outgrown[name]) {
			found = append(found, breach{s.name, "small", fmt.Sprintf("%s has %d %s, of which there may be %d: it is several subjects", strings.TrimSuffix(name, " "+of), is, of, max(most, outgrown[name])), line})
		}
	}
	for _, s := range sources {
		if within(s.pkg, "engine/handler") || within(s.pkg, tools) || ast.IsGenerated(s.file) {
			continue
		}
		if _, ok := first[s.pkg]; !ok {
			first[s.pkg] = s
		}
		lines[s.pkg] += s.fset.File(s.file.Pos()).LineCount()
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				if st, ok := n.Type.(*ast.StructType); ok {
					tooLarge(s, s.line(n), s.pkg+"."+n.Name.Name+" fields", fields(st), mostFields, "fields")
				}
			case *ast.FuncDecl:
				if n.Recv != nil {
					methods[s.pkg+"."+receiver(n)+" methods"]++
				}
			}
			return true
		})
	}
	for pkg, s := range first {
		tooLarge(s, 1, pkg, lines[pkg], mostLines, "lines")
		for name, is := range methods {
			if strings.HasPrefix(name, pkg+".") {
				tooLarge(s, 1, name, is, mostMethods, "methods")
			}
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].String() < found[j].String() })
	return found
}

// fields is how many a struct has; an embedded one is one.
func fields(st *ast.StructType) (n int) {
	for _, f := range st.Fields.List {
		n += max(len(f.Names), 1)
	}
	return n
}

// receiver is the type that a method is of.
func receiver(f *ast.FuncDecl) string {
	t := f.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if index, ok := t.(*ast.IndexExpr); ok {
		t = index.X
	}
	if name, ok := t.(*ast.Ident); ok {
		return name.Name
	}
	return "?"
}
