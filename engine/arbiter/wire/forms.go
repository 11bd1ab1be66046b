package wire

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"syscall"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/expr"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/location"
)

// Keys of an ErrorInfo's metadata. A form has a key of its own: its name.
const (
	keyReasons = "reasons" // the names of all reasons of the error, separated by spaces
	keyErrno   = "errno"   // the kernel's number
)

// forms are the types of errors that the other side finds with errors.As, by name.
var forms = map[string]form{
	"request": formOf(func(*engine.RequestError) *error { return nil }),
	"memory":  formOf(func(e *engine.MemoryError) *error { return &e.Err }),
	"attach":  formOf(func(e *engine.AttachError) *error { return &e.Reason }),
	"lacking": formOf(func(e *engine.Unsupported) *error { return &e.Err }),
	"site":    formOf(func(e *breakpoint.SiteError) *error { return &e.Err }),
	"handler": formOf(func(e *handler.Error) *error { return &e.Err }),
	"program": formOf(func(e *program.Error) *error { return &e.Err }),
	"verify":  formOf(func(e *verify.Error) *error { return &e.Err }),
	"filter":  formOf(func(*expr.Error) *error { return nil }),
	"source":  formOf(func(*symbols.NoSourceError) *error { return nil }),
	"syntax":  formOf(func(*location.SyntaxError) *error { return nil }),
}

// form packs and unpacks errors of one type.
type form struct {
	pack   func(err error) (packed string, found bool)
	unpack func(packed string) error
}

// packed holds an error of a form: its fields, and its cause.
type packed struct {
	Fields  json.RawMessage
	Cause   string   // its text, "" if there is none
	Reasons []string // its reasons
	Errno   int
}

// formOf makes the form of errors of type *E; cause returns the field that holds the cause, nil if
// the type has none.
func formOf[E any, P interface {
	*E
	error
}](cause func(*E) *error) form {
	pack := func(err error) (string, bool) {
		var found P
		if !errors.As(err, &found) {
			return "", false
		}
		var m packed
		e := *found
		if c := cause(&e); c != nil && *c != nil {
			m.Cause, m.Errno = (*c).Error(), errnoOf(*c)
			_, m.Reasons = classOf(*c)
			*c = nil
		}
		var fail error
		if m.Fields, fail = json.Marshal(e); fail != nil {
			return "", false
		}
		text, fail := json.Marshal(m)
		return string(text), fail == nil
	}
	unpack := func(text string) error {
		var m packed
		e := new(E)
		if json.Unmarshal([]byte(text), &m) != nil || json.Unmarshal(m.Fields, e) != nil {
			return nil
		}
		if c := cause(e); c != nil && m.Cause != "" {
			*c = &remoteError{m.Cause, classesOf(m.Reasons, m.Errno)}
		}
		return P(e)
	}
	return form{pack, unpack}
}

// errnoOf returns the kernel's number in an error, 0 if there is none.
func errnoOf(err error) int {
	var n syscall.Errno
	if errors.As(err, &n) {
		return int(n)
	}
	return 0
}

func classesOf(names []string, errno int) []error {
	list := classes(names)
	if errno > 0 {
		list = append(list, syscall.Errno(errno))
	}
	return list
}

// pack returns what an ErrorInfo contains beside the error's text. A client that does not know the
// metadata uses the reason alone.
func pack(err error) (reason string, metadata map[string]string) {
	set := func(key, value string) {
		if metadata == nil {
			metadata = map[string]string{}
		}
		metadata[key] = value
	}
	_, names := classOf(err)
	if len(names) > 0 {
		reason = names[0]
	}
	if len(names) > 1 {
		set(keyReasons, strings.Join(names, " "))
	}
	if n := errnoOf(err); n != 0 {
		set(keyErrno, strconv.Itoa(n))
	}
	for name, f := range forms {
		if text, ok := f.pack(err); ok {
			set(name, text)
		}
	}
	return reason, metadata
}

// unpack makes an error of its text and the result of pack. It omits what this side does not know
// or can't read; the text is always there.
func unpack(text, reason string, metadata map[string]string) error {
	names := append(strings.Fields(metadata[keyReasons]), reason)
	errno, _ := strconv.Atoi(metadata[keyErrno])
	e := &remoteError{text, classesOf(names, errno)}
	for name, f := range forms {
		if m := metadata[name]; m != "" {
			if err := f.unpack(m); err != nil {
				e.is = append(e.is, err)
			}
		}
	}
	return e
}
