package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	benchreport "github.com/ptracer/ptracer/bench/report"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/job"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/printer"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/remains"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/show"
	"github.com/ptracer/ptracer/cmd/ptracer/internal/tally"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// jsonDoc is the table of all fields.
const jsonDoc = "../../docs/json.md"

// written has what each verb with --json writes: of each kind of line one with all of its
// fields. A verb that is new fails TestJSONDoc until it is in it.
var written = map[string][]any{
	"count":         {full[tally.Object](), full[tally.FailedPlace](), counting(), full[job.ResidentLine]()},
	"trace":         {full[printer.Line]()},
	"hist":          {result(ofNumbers()), full[job.ResidentLine]()},
	"latency":       {result(ofTimes()), full[job.ResidentLine]()},
	"stacks":        {full[stackLine]()},
	"record":        {recording(), full[unrecordedLine]()},
	"run":           {full[printedLine](), full[rawLine](), full[build.DumpedMap]()},
	"probes":        {full[place](), full[share]()},
	"read":          {full[tally.Object](), untraced(counting()), untraced(result(ofNumbers())), untraced(result(ofTimes())), full[remains.Process]()},
	"stop":          {full[tally.Object](), untraced(counting()), untraced(result(ofNumbers())), untraced(result(ofTimes()))},
	"tracers":       {full[tracerLine]()},
	"top":           {full[hot]()},
	"handlers list": {full[handlerLine]()},
	"doctor":        {full[finding]()},
	"bench":         {full[benchreport.Report]()},
}

func counting() tally.ResultLine {
	l := full[tally.ResultLine]()
	l.Result = nil
	return l
}

// result is a line of a handler that does more than count.
func result(h builtin.Histogram) tally.ResultLine {
	l := full[tally.ResultLine]()
	l.Hits = nil
	l.Result, _ = json.Marshal(&h)
	return l
}

// untraced is a line of a handler without a tracer: what it could not read is not asked.
func untraced(l tally.ResultLine) tally.ResultLine { l.Unread = 0; return l }

// ofNumbers is hist's result: it pairs no calls, and can't be full.
func ofNumbers() builtin.Histogram {
	h := full[builtin.Histogram]()
	h.Unit, h.Full, h.Unpaired = "", 0, builtin.Unpaired{}
	return h
}

func ofTimes() builtin.Histogram {
	h := full[builtin.Histogram]()
	h.Unit = "ns"
	return h
}

func recording() recordLine {
	l := full[recordLine]()
	l.Fields = json.RawMessage(`{"*":null}`)
	return l
}

// full is a value all of whose fields are set. The key of a map is *: any. What can hold
// any value holds none.
func full[T any]() (v T) {
	fill(reflect.ValueOf(&v).Elem())
	return v
}

func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		e := reflect.New(v.Type().Elem()).Elem()
		fill(e)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("*"), e)
	case reflect.Interface:
		if v.NumMethod() == 0 {
			v.Set(reflect.ValueOf(printer.NotKnown{}))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1, 0)))
			return
		}
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() || v.Type().Field(i).Anonymous {
				fill(f)
			}
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Func, reflect.Chan:
	default:
		if v.CanInt() {
			v.SetInt(1)
		} else {
			v.SetUint(1)
		}
	}
}

// field is where a value is in a line, as holds[].pid, and what it is.
type field struct{ path, kind string }

// within is the path of key k of the object at a path. The keys of some objects are not
// ours; bench's ratios are rows.
func within(path, k string) string {
	if slices.Contains([]string{"fields", "reasons", "cells"}, path[strings.LastIndexByte(path, '.')+1:]) {
		k = "*"
	}
	return strings.TrimPrefix(strings.Replace(path, "ratios[]", "rows[]", 1)+"."+k, ".")
}

// walk tells all fields of a JSON value, those of objects in arrays by name[].name.
func walk(path string, v any, tell func(field)) (kind string) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			at := within(path, k)
			tell(field{at, walk(at, e, tell)})
		}
		return "object"
	case []any:
		of := "any"
		for _, e := range v {
			of = walk(path+"[]", e, tell)
		}
		return "array of " + of
	case string:
		return "string"
	case bool:
		return "boolean"
	case nil:
		return "any"
	}
	return "number"
}

// fieldsOf are the fields of a line as it is written.
func fieldsOf(t testing.TB, line any) (list []field) {
	t.Helper()
	var b strings.Builder
	var v any
	if err := show.WriteJSON(&b, []any{line}); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(b.String()), &v); err != nil {
		t.Fatal(err)
	}
	walk("", v, func(f field) { list = append(list, f) })
	return list
}

// documented is what jsonDoc's table says: the verbs that have a field, and its unit.
var documented = sync.OnceValues(func() (map[field]documentedField, error) {
	text, err := os.ReadFile(jsonDoc)
	if err != nil {
		return nil, err
	}
	table := map[field]documentedField{}
	for row := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSuffix(strings.TrimSpace(row), "|"), "|")
		if len(cells) != 6 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		f := field{strings.Trim(cells[1], "`"), cells[2]}
		if _, twice := table[f]; twice {
			return nil, fmt.Errorf("%s has %s twice", jsonDoc, f.path)
		}
		table[f] = documentedField{unit: cells[3], verbs: strings.Split(cells[5], ", ")}
	}
	return table, nil
})

type documentedField struct {
	unit  string
	verbs []string
}

// TestJSONDoc holds the table of all fields against what verbs write: a name, a kind of
// value and the verbs that have it are the same in both.
func TestJSONDoc(t *testing.T) {
	table, err := documented()
	if err != nil {
		t.Fatal(err)
	}
	has := map[field][]string{}
	for verb, lines := range written {
		for _, l := range lines {
			for _, f := range fieldsOf(t, l) {
				if !slices.Contains(has[f], verb) {
					has[f] = append(has[f], verb)
				}
			}
		}
	}
	inOrder := func(a, b field) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.kind, b.kind)) }
	for _, f := range slices.SortedFunc(maps.Keys(has), inOrder) {
		verbs := slices.Sorted(slices.Values(has[f]))
		switch row, known := table[f]; {
		case !known:
			t.Errorf("%s does not have | `%s` | %s | of %s", jsonDoc, f.path, f.kind, strings.Join(verbs, ", "))
		case !slices.Equal(slices.Sorted(slices.Values(row.verbs)), verbs):
			t.Errorf("%s says that %s, %s, is written by %s; it is by %s", jsonDoc, f.path, f.kind, strings.Join(row.verbs, ", "), strings.Join(verbs, ", "))
		}
	}
	for _, f := range slices.SortedFunc(maps.Keys(table), inOrder) {
		if has[f] == nil {
			t.Errorf("%s has `%s`, %s, which no verb writes", jsonDoc, f.path, f.kind)
		}
		if in, says := table[f].unit == "ns", strings.HasSuffix(f.path, "_ns"); in != says {
			t.Errorf("%s: %s has the unit %q: times in ns, and only those, end in _ns", jsonDoc, f.path, table[f].unit)
		}
	}
}

// TestJSONWritten holds that written has all: each verb with the flag, each type that has
// names for JSON.
func TestJSONWritten(t *testing.T) {
	var verbs func(cmd *cobra.Command, path string)
	verbs = func(cmd *cobra.Command, path string) {
		for _, c := range cmd.Commands() {
			name := strings.TrimSpace(path + " " + c.Name())
			if c.Flags().Lookup("json") != nil && written[name] == nil {
				t.Errorf("%s --json: what does it write?", name)
			}
			verbs(c, name)
		}
	}
	verbs(newRoot(), "")
	reached := map[string]bool{}
	for _, lines := range written {
		for _, l := range lines {
			reach(reflect.TypeOf(l), reached)
		}
	}
	for _, name := range typesWithJSON(t) {
		if !reached[name] {
			t.Errorf("type %s has names for JSON: which verb writes it?", name)
		}
	}
}

// reach notes the names of the command's types below a type, as package.Type.
func reach(t reflect.Type, names map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		reach(t.Elem(), names)
	case reflect.Struct:
		if own := reflect.TypeFor[finding]().PkgPath(); strings.HasPrefix(t.PkgPath()+"/", own+"/") {
			names[path.Base(t.PkgPath())+"."+t.Name()] = true
		}
		for f := range t.Fields() {
			if f.Type != t {
				reach(f.Type, names)
			}
		}
	}
}

// typesWithJSON are the types of the command's packages that have tags for JSON.
func typesWithJSON(t *testing.T) (names []string) {
	folder, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, pattern := range []string{"*.go", "internal/*/*.go"} {
		some, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, some...)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, isType := n.(*ast.TypeSpec)
			if !isType {
				return true
			}
			if s, isStruct := spec.Type.(*ast.StructType); isStruct && slices.ContainsFunc(s.Fields.List, func(f *ast.Field) bool {
				return f.Tag != nil && strings.Contains(f.Tag.Value, "json:")
			}) {
				names = append(names, filepath.Base(filepath.Dir(name))+"."+spec.Name.Name)
			}
			return true
		})
	}
	return names
}

// undocumented are the fields of a line that was really written and that the table does
// not have.
func undocumented(line map[string]any) (list []string, err error) {
	table, err := documented()
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for f := range table {
		known[f.path] = true
	}
	walk("", line, func(f field) {
		if !known[f.path] {
			list = append(list, f.path)
		}
	})
	return list, nil
}
