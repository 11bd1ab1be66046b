package wire

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/access"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/expr"
	"github.com/ptracer/ptracer/engine/expr/bind"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/failure"
	"github.com/ptracer/ptracer/internal/skip"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/dwarf"
	"github.com/ptracer/ptracer/symbols/dwarf/raw"
	"github.com/ptracer/ptracer/symbols/elffile"
	"github.com/ptracer/ptracer/symbols/location"
	"github.com/ptracer/ptracer/symbols/objfile"
	"github.com/ptracer/ptracer/symbols/scope"
)

// exported are the errors that clients compare with, by package and name.
var exported = map[string]error{
	"breakpoint.ErrChanged": breakpoint.ErrChanged, "breakpoint.ErrExclusive": breakpoint.ErrExclusive,
	"breakpoint.ErrForeign": breakpoint.ErrForeign, "breakpoint.ErrMisaligned": breakpoint.ErrMisaligned,
	"breakpoint.ErrNotCode": breakpoint.ErrNotCode, "breakpoint.ErrNotMapped": breakpoint.ErrNotMapped,
	"breakpoint.ErrOverlap": breakpoint.ErrOverlap, "breakpoint.ErrRefused": breakpoint.ErrRefused,
	"breakpoint.ErrTaken": breakpoint.ErrTaken,

	"engine.ErrAside": engine.ErrAside, "engine.ErrBusy": engine.ErrBusy, "engine.ErrCapability": engine.ErrCapability,
	"engine.ErrCycle": engine.ErrCycle, "engine.ErrDebug": engine.ErrDebug, "engine.ErrDispatch": engine.ErrDispatch,
	"engine.ErrEnded": engine.ErrEnded, "engine.ErrFailed": engine.ErrFailed, "engine.ErrFollowed": engine.ErrFollowed,
	"engine.ErrGone": engine.ErrGone, "engine.ErrHandler": engine.ErrHandler, "engine.ErrJobStop": engine.ErrJobStop,
	"engine.ErrKernel": engine.ErrKernel, "engine.ErrMachine": engine.ErrMachine, "engine.ErrNamespace": engine.ErrNamespace,
	"engine.ErrNoProbe": engine.ErrNoProbe, "engine.ErrNoProcess": engine.ErrNoProcess, "engine.ErrNotMapped": engine.ErrNotMapped,
	"engine.ErrNotPermitted": engine.ErrNotPermitted, "engine.ErrNotResident": engine.ErrNotResident,
	"engine.ErrNotStopped": engine.ErrNotStopped, "engine.ErrOtherUser": engine.ErrOtherUser, "engine.ErrResident": engine.ErrResident,
	"engine.ErrSeccomp": engine.ErrSeccomp, "engine.ErrSelf": engine.ErrSelf, "engine.ErrTraced": engine.ErrTraced,
	"engine.ErrUndumpable": engine.ErrUndumpable, "engine.ErrWaited": engine.ErrWaited, "engine.ErrWaiting": engine.ErrWaiting,
	"engine.ErrYama": engine.ErrYama, "engine.ErrZombie": engine.ErrZombie,

	"access.ErrCapability": access.ErrCapability, "access.ErrCycle": access.ErrCycle, "access.ErrFollowed": access.ErrFollowed,
	"access.ErrKernel": access.ErrKernel, "access.ErrMachine": access.ErrMachine, "access.ErrNamespace": access.ErrNamespace,
	"access.ErrOtherUser": access.ErrOtherUser, "access.ErrResident": access.ErrResident, "access.ErrSelf": access.ErrSelf, "access.ErrTraced": access.ErrTraced,
	"access.ErrUndumpable": access.ErrUndumpable, "access.ErrWaited": access.ErrWaited, "access.ErrYama": access.ErrYama,
	"access.ErrZombie": access.ErrZombie, "event.ErrEnded": event.ErrEnded,

	"arbiter.ErrClosed": arbiter.ErrClosed, "arbiter.ErrControl": arbiter.ErrControl, "arbiter.ErrElsewhere": arbiter.ErrElsewhere,
	"arbiter.ErrHeld": arbiter.ErrHeld, "arbiter.ErrQuota": arbiter.ErrQuota,
	"wire.ErrMessage": ErrMessage, "wire.ErrPeer": ErrPeer, "wire.ErrToken": ErrToken, "wire.ErrVersion": ErrVersion,

	"handler.ErrClosed": handler.ErrClosed, "handler.ErrExists": handler.ErrExists, "handler.ErrName": handler.ErrName,
	"handler.ErrNotFound": handler.ErrNotFound, "handler.ErrPermission": handler.ErrPermission,
	"builtin.ErrParams": builtin.ErrParams, "expr.ErrSyntax": expr.ErrSyntax, "bind.ErrNoValue": bind.ErrNoValue,
	"scope.ErrUnknown": scope.ErrUnknown, "handler.ErrUnbound": handler.ErrUnbound, "program.ErrInvalid": program.ErrInvalid,
	"maps.ErrTooLarge": maps.ErrTooLarge, "verify.ErrComplex": verify.ErrComplex, "verify.ErrRights": verify.ErrRights,
	"verify.ErrUnsafe": verify.ErrUnsafe,

	"location.ErrBeyond": location.ErrBeyond, "elffile.ErrBudget": elffile.ErrBudget, "elffile.ErrFormat": elffile.ErrFormat,
	"location.ErrInside": location.ErrInside, "location.ErrNoExits": location.ErrNoExits, "symbols.ErrNoText": symbols.ErrNoText,
	"symbols.ErrNotFound": symbols.ErrNotFound, "objfile.ErrNotRegular": objfile.ErrNotRegular, "objfile.ErrReplaced": objfile.ErrReplaced,
	"objfile.ErrUnread": objfile.ErrUnread, "symbols.ErrNoSource": symbols.ErrNoSource, "dwarf.ErrFormat": dwarf.ErrFormat, "raw.ErrFormat": raw.ErrFormat,
}

// local are exported errors that no answer of a server contains, and why.
var local = map[string]string{
	"amd64.ErrInvalid": "of decoding", "amd64.ErrTruncated": "of decoding",
	"symbols.ErrNoFunc": "why a place is no jump: a text of Placement", "symbols.ErrTable": "the same", "symbols.ErrTarget": "the same",
	"elffile.ErrCrowded": "package symbols reads the whole table then", "elffile.ErrNoTable": "there may be another", "elffile.ErrNotELF": "a mapped file that is no object",
	"op.ErrUnsupported": "why a variable has no value: a text",
	"raw.ErrShort":      "an ErrFormat", "dwarf.ErrNone": "an ErrNoSource, of a file without a separate one",
	"debuginfod.ErrNone": "fetching, which is the client's", "debuginfod.ErrOff": "the same",
	"xz.ErrDamaged": "why an embedded symbol table can't be read: a text", "xz.ErrTooLarge": "the same",
	"goruntime.ErrMany": "the same", "goruntime.ErrUnknown": "the same",
	"build.ErrBuild": "a client's own handler, before it is sent", "build.ErrNotKnown": "the same",
	"builtin.ErrRecord": "reading records, which is the client's", "filter.ErrFault": "the same", "ring.ErrRegion": "the same",
	"maps.ErrBusy": "an entry of a map, which the client reads", "maps.ErrExists": "the same", "maps.ErrFull": "the same",
	"maps.ErrInvalid": "the same", "maps.ErrNotFound": "the same", "maps.ErrSet": "the same",
	"interp.ErrFault":    "counted, not told",
	"client.ErrNoServer": "there is none", "server.ErrRunning": "the same", "wire.ErrServer": "the same",
}

// TestExported checks that exported and local have all errors that the module exports.
func TestExported(t *testing.T) {
	const root = "../../.."
	if _, err := os.Stat("errors.go"); err != nil {
		skip.Missing(t, "the module's source")
	}
	found := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if hidden := strings.HasPrefix(d.Name(), ".") && path != root; d.IsDir() && (hidden || d.Name() == "internal" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			for n := 0; ok && n < len(g.Specs); n++ {
				v, ok := g.Specs[n].(*ast.ValueSpec)
				for i := 0; ok && i < len(v.Names); i++ {
					if name := v.Names[i].Name; strings.HasPrefix(name, "Err") {
						found[f.Name.Name+"."+name] = true
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range found {
		if exported[name] == nil && local[name] == "" {
			t.Errorf("%s has no row in the test's tables: does it come through the protocol?", name)
		}
	}
	for name := range exported {
		if !found[name] || local[name] != "" {
			t.Errorf("%s: found %t, local %q", name, found[name], local[name])
		}
	}
	for name := range local {
		if !found[name] {
			t.Errorf("%s is no more", name)
		}
	}
}

// over returns an error as the other side receives it: in an answer, in an answer that a front
// passes on, and as a place's error.
func over(t *testing.T, err error) map[string]error {
	once := FromStatus(ToStatus(err))
	p := engine.Placement{Err: err}
	return map[string]error{"answer": once, "handed on": FromStatus(ToStatus(once)),
		"place": ToPlacement(sent(t, FromPlacement(&p), &Placement{})).Err}
}

// TestErrors sends errors: the other side can tell their classes, and their texts are the same.
func TestErrors(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range reasons {
		if seen[r.name] {
			t.Errorf("%s is there twice", r.name)
		}
		seen[r.name] = true
	}
	wider := []error{errors.ErrUnsupported, fs.ErrPermission, fs.ErrNotExist, os.ErrProcessDone, engine.ErrEnded, symbols.ErrNotFound}
	for name, e := range exported {
		for how, got := range over(t, fmt.Errorf("process 7: %w", e)) {
			if !errors.Is(got, e) || got.Error() != "process 7: "+e.Error() {
				t.Errorf("%s, %s: %v", name, how, got)
			}
			for _, class := range wider {
				if errors.Is(got, class) != errors.Is(e, class) {
					t.Errorf("%s, %s: it is %v: %t", name, how, class, errors.Is(got, class))
				}
			}
			for other, o := range exported {
				if errors.Is(got, o) != errors.Is(e, o) {
					t.Errorf("%s, %s: it is %s: %t", name, how, other, errors.Is(got, o))
				}
			}
		}
	}
}

// TestForms sends errors of each type that clients examine.
func TestForms(t *testing.T) {
	cause := fmt.Errorf("read: %w: %w", breakpoint.ErrForeign, syscall.EACCES)
	tested := map[string]bool{}
	for _, e := range []error{
		&engine.RequestError{Op: "PTRACE_SEIZE", Task: 7, Errno: syscall.EPERM},
		&engine.MemoryError{Op: "read", PID: 7, Addr: 1<<63 + 1, Err: syscall.EIO},
		&engine.AttachError{PID: 7, Reason: engine.ErrYama, Detail: "d", Help: "h"},
		&engine.AttachError{PID: 7, Reason: &engine.RequestError{Op: "PTRACE_SEIZE", Task: 7, Errno: syscall.EIO}},
		engine.ErrSeccomp,
		&failure.Unsupported{What: "w", Needs: "n", Err: cause},
		&breakpoint.SiteError{Addr: 1<<64 - 1, Err: failure.Unsupportedf("too long")},
		&handler.Error{Op: "open", Name: "n", Err: cause},
		&program.Error{Program: "p", Section: "s", Insn: 3, Text: "t", Err: failure.Unsupportedf("helper 9")},
		&verify.Error{Program: "p", Insn: 1, Reg: 2, Path: []int{1, 2}, Err: verify.ErrUnsafe},
		&expr.Error{Text: "a\nb", Pos: 2, Msg: "m", What: "fields"},
		&symbols.NoSourceError{Path: "/p", BuildID: "0123"},
		&location.SyntaxError{Text: "a:b:c", Column: 4, Reason: "r"},
	} {
		for how, got := range over(t, fmt.Errorf("process 7: %w", e)) {
			for name, f := range forms {
				want, is := f.pack(e)
				have, ok := f.pack(got)
				if is {
					tested[name] = true
				}
				if is != ok || want != have {
					t.Errorf("%T, %s: as %s it is %s, want %s", e, how, name, have, want)
				}
			}
			same := reflect.New(reflect.TypeOf(e))
			if !errors.As(got, same.Interface()) || same.Elem().Interface().(error).Error() != e.Error() {
				t.Errorf("%T, %s: %v", e, how, got)
			}
			for _, class := range []error{errors.ErrUnsupported, fs.ErrPermission, breakpoint.ErrForeign, syscall.EPERM, syscall.EACCES, syscall.EIO, engine.ErrNotMapped, verify.ErrUnsafe} {
				if errors.Is(got, class) != errors.Is(e, class) || errors.Is(same.Elem().Interface().(error), class) != errors.Is(e, class) {
					t.Errorf("%T, %s: is it %v", e, how, class)
				}
			}
		}
	}
	for name := range forms {
		if !tested[name] {
			t.Errorf("%s is not tested", name)
		}
	}
	for _, m := range []map[string]string{{"site": "{"}, {"site": `{"Fields":7}`}, {"request": `{"Fields":{"Task":"x"}}`}, {keyErrno: "x"}, {keyErrno: "-1"}, {"new": "{}"}} {
		if err := unpack("text", "FOREIGN", m); err.Error() != "text" || !errors.Is(err, breakpoint.ErrForeign) || errors.As(err, new(*breakpoint.SiteError)) {
			t.Errorf("%v: %v", m, err)
		}
	}
}

// TestOtherVersions reads answers of servers of other versions, and checks what older clients read.
func TestOtherVersions(t *testing.T) {
	info := func(i *errdetails.ErrorInfo) error {
		s, err := status.New(codes.Unknown, "text").WithDetails(i)
		if err != nil {
			t.Fatal(err)
		}
		return FromStatus(s.Err())
	}
	for reason, want := range map[string]error{"HANDLER_UNSUPPORTED": errors.ErrUnsupported, "YAMA": engine.ErrYama} {
		if err := info(&errdetails.ErrorInfo{Domain: domain, Reason: reason}); !errors.Is(err, want) || err.Error() != "text" {
			t.Errorf("%s: %v", reason, err)
		}
	}
	newer := info(&errdetails.ErrorInfo{Domain: domain, Reason: "NEWER", Metadata: map[string]string{keyReasons: "NEWER GONE"}})
	if !errors.Is(newer, engine.ErrGone) || newer.Error() != "text" {
		t.Errorf("%v", newer)
	}
	if reason, _ := pack(&engine.AttachError{Reason: engine.ErrYama}); reason != "YAMA" {
		t.Errorf("an older client sees %s", reason)
	}
	for code, want := range map[codes.Code]error{codes.Unavailable: ErrServer, codes.Unimplemented: ErrVersion, codes.Canceled: context.Canceled, codes.DeadlineExceeded: context.DeadlineExceeded} {
		if err := FromStatus(status.Error(code, "text")); !errors.Is(err, want) {
			t.Errorf("%v: %v", code, err)
		}
	}
}
