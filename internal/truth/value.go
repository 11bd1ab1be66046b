package truth

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// value is something of a call that ptracer can be asked for.
type value struct {
	text   string // the expression
	signed bool   // how ptracer shows the number
	of     func(c *Call) uint64
	string func(c *Call) string // instead of of
}

func arg(i int) func(*Call) uint64 { return func(c *Call) uint64 { return c.Args[i] } }

func ret(c *Call) uint64 { return c.Ret }

// values are the expressions of the matrix by the names that questions use. Those of
// narrow types are cast: a register holds more than a C int.
var values = map[string]value{
	"a":      {text: "{a}", signed: true, of: arg(0)},
	"ua":     {text: "uint64({a})", of: arg(0)},
	"b":      {text: "{b}", signed: true, of: arg(1)},
	"c":      {text: "int({c})", signed: true, of: arg(2)},
	"text":   {text: "{text}", signed: true, of: arg(3)},
	"str":    {text: "str({text})", string: func(c *Call) string { return c.Text }},
	"e":      {text: "{e}", signed: true, of: arg(4)},
	"ue":     {text: "uint64({e})", of: arg(4)},
	"f":      {text: "{f}", signed: true, of: arg(5)},
	"n":      {text: "arg0", signed: true, of: arg(0)},
	"int":    {text: "int(arg0)", signed: true, of: arg(0)},
	"short":  {text: "int16(arg1)", signed: true, of: arg(1)},
	"ret":    {text: "ret", signed: true, of: ret},
	"uret":   {text: "uint64(ret)", of: ret},
	"iret":   {text: "int(ret)", signed: true, of: ret},
	"ret16":  {text: "uint16(ret)", signed: true, of: func(c *Call) uint64 { return c.Ret & 0xffff }},
	"sret16": {text: "int16(ret)", signed: true, of: func(c *Call) uint64 { return uint64(int64(int16(c.Ret))) }},
	"strret": {text: "str(ret)", string: func(c *Call) string { return c.Result }},
}

// number is n as ptracer writes it.
func (v value) number(n uint64) string {
	if v.signed {
		return strconv.FormatInt(int64(n), 10)
	}
	return strconv.FormatUint(n, 10)
}

// json is the value of a call as JSON has it.
func (v value) json(c *Call) string {
	if v.string == nil {
		return v.number(v.of(c))
	}
	text, err := json.Marshal(v.string(c))
	if err != nil {
		return fmt.Sprint(err)
	}
	return string(text)
}

// less is whether x is below y.
func (v value) less(x, y uint64) bool {
	if v.signed {
		return int64(x) < int64(y)
	}
	return x < y
}
