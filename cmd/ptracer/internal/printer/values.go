package printer

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/symbols/location"
)

// Values says which values of a hit are shown, and how.
type Values struct {
	values []value
	result bool // at an exit: the value is the result
	line   bool // at a line of the source, where there are no arguments
}

type value struct {
	index int
	form  string // key of forms
}

// forms are the ways to show a value; a string is read by the engine.
var forms = map[string]func(v uint64) any{
	"":     func(v uint64) any { return "0x" + strconv.FormatUint(v, 16) },
	"int":  func(v uint64) any { return int32(v) }, // the upper half of the register is anything
	"long": func(v uint64) any { return int64(v) },
	"str":  nil,
}

// ParseShow splits "LOCATION [ARG...]", ARG = argN[:FORM] | ret[:FORM]. Names
// of C++ functions have blanks in them: ARGs are what looks like it at the end.
func ParseShow(s string, args int) (place string, sh Values, err error) {
	words := strings.Split(strings.TrimSpace(s), " ")
	n := len(words)
	for n > 1 && (words[n-1] == "" || looksLikeArg(words[n-1])) {
		n--
	}
	place = strings.Join(words[:n], " ")
	loc, err := location.Parse(place)
	if err != nil {
		return place, sh, err
	}
	sh.result, sh.line = loc.Return, loc.File != ""
	for _, w := range words[n:] {
		if w == "" {
			continue
		}
		v, err := parseValue(w, sh.result)
		if err != nil {
			return place, sh, fmt.Errorf("%s: %w", s, err)
		}
		sh.values = append(sh.values, v)
	}
	if len(sh.values) == 0 {
		switch {
		case sh.line: // registers are arguments only where a function begins
			args = 0
		case sh.result:
			args = min(args, 1)
		}
		for i := range args {
			sh.values = append(sh.values, value{index: i})
		}
	}
	return place, sh, nil
}

// looksLikeArg says whether a word can't be the end of a function's name.
func looksLikeArg(w string) bool {
	name, _, _ := strings.Cut(w, ":")
	digits, isArg := strings.CutPrefix(name, "arg")
	return name == "ret" || isArg && strings.Trim(digits, "0123456789") == ""
}

func parseValue(w string, result bool) (v value, err error) {
	name, form, _ := strings.Cut(w, ":")
	if _, ok := forms[form]; !ok {
		return v, fmt.Errorf("%s: unknown form %q: one of str, int, long", w, form)
	}
	v.form = form
	if name == "ret" {
		if !result {
			return v, fmt.Errorf("%s: a result there is only at exits: FUNCTION%%return", w)
		}
		return v, nil
	}
	if result {
		return v, fmt.Errorf("%s: arguments are gone at an exit, which has only ret", w)
	}
	v.index, err = strconv.Atoi(strings.TrimPrefix(name, "arg"))
	if err != nil || v.index >= event.MaxArgs {
		return v, fmt.Errorf("%s: arguments are arg0 to arg%d", w, event.MaxArgs-1)
	}
	return v, nil
}

// Args are the arguments that the engine has to read for that, and which of them it has to follow.
func (sh *Values) Args() (args []engine.Arg) {
	for _, v := range sh.values {
		for len(args) <= v.index {
			args = append(args, engine.Arg{})
		}
		args[v.index].Text = args[v.index].Text || v.form == "str"
	}
	return args
}

// of gives a hit's values, as JSON has them. An argument that the calling convention
// has in no register, or of which nothing says where it is, is a notKnown.
func (sh *Values) of(h *event.Hit) []any {
	list := []any{}
	for _, v := range sh.values {
		switch {
		case v.index >= h.NArgs && sh.result:
		case v.index >= h.NArgs:
			list = append(list, NotKnown{})
		case v.form == "str" && v.index < len(h.Strings) && (h.Args[v.index] != 0 || h.Calls != arch.C):
			list = append(list, text(h.Strings[v.index]))
		case v.form == "str":
			list = append(list, nil)
		default:
			list = append(list, forms[v.form](h.Args[v.index]))
		}
	}
	return list
}

// NotKnown is a value that can't be told; in JSON it is null.
type NotKnown struct{}

// MarshalJSON implements json.Marshaler.
func (NotKnown) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// text is a string read from the program, as against a number in hexadecimal.
type text string

// plain gives the values as a line of trace has them.
func plain(values []any) string {
	words := make([]string, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case text:
			words[i] = strconv.Quote(string(v))
		case nil:
			words[i] = "NULL"
		case NotKnown:
			words[i] = "?"
		default:
			words[i] = fmt.Sprint(v)
		}
	}
	return strings.Join(words, ", ")
}
