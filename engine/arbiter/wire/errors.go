package wire

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/expr"
	"github.com/ptracer/ptracer/engine/expr/bind"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/failure"
	"github.com/ptracer/ptracer/printable"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/dwarf"
	"github.com/ptracer/ptracer/symbols/elffile"
	"github.com/ptracer/ptracer/symbols/location"
	"github.com/ptracer/ptracer/symbols/objfile"
	"github.com/ptracer/ptracer/symbols/scope"
)

// domain is the domain of ptracer's error reasons.
const domain = "ptracer"

// ErrPeer is returned to a peer that may not do to a process what it asked for.
var ErrPeer = failure.Kind("not permitted", fs.ErrPermission)

// ErrToken is returned for a request in the name of a tracer that does not exist.
var ErrToken = errors.New("no such tracer")

// ErrVersion is returned when a client and a server do not know each other's protocol.
var ErrVersion = errors.New("of another version")

// reasons are the errors that the other side can tell apart: the names that they have there, and
// their gRPC codes. An error has the reasons of all errors that it wraps; its code is that of the
// first.
var reasons = []struct {
	name string
	err  error
	code codes.Code
}{
	{"CONTROL", arbiter.ErrControl, codes.FailedPrecondition},
	{"HELD", arbiter.ErrHeld, codes.FailedPrecondition},
	{"ELSEWHERE", arbiter.ErrElsewhere, codes.FailedPrecondition},
	{"QUOTA", arbiter.ErrQuota, codes.ResourceExhausted},
	{"CLOSED", arbiter.ErrClosed, codes.Unavailable},
	{"ASIDE", engine.ErrAside, codes.FailedPrecondition},
	{"DEBUG_REGISTERS", engine.ErrDebug, codes.ResourceExhausted},
	{"FAILED", engine.ErrFailed, codes.FailedPrecondition}, // which is an ErrEnded
	{"ENDED", engine.ErrEnded, codes.FailedPrecondition},
	{"NO_PROCESS", engine.ErrNoProcess, codes.NotFound},
	{"NO_PROBE", engine.ErrNoProbe, codes.NotFound},
	{"NOT_MAPPED", engine.ErrNotMapped, codes.InvalidArgument},
	{"BUSY", engine.ErrBusy, codes.FailedPrecondition},
	{"JOB_STOP", engine.ErrJobStop, codes.FailedPrecondition},
	{"WAITING", engine.ErrWaiting, codes.FailedPrecondition},
	{"NOT_STOPPED", engine.ErrNotStopped, codes.FailedPrecondition},
	{"TRACED", engine.ErrTraced, codes.FailedPrecondition},
	{"CYCLE", engine.ErrCycle, codes.FailedPrecondition},
	{"SELF", engine.ErrSelf, codes.FailedPrecondition},
	{"KERNEL", engine.ErrKernel, codes.FailedPrecondition},
	{"ZOMBIE", engine.ErrZombie, codes.FailedPrecondition},
	{"WAITED", engine.ErrWaited, codes.FailedPrecondition},
	{"YAMA", engine.ErrYama, codes.PermissionDenied},
	{"OTHER_USER", engine.ErrOtherUser, codes.PermissionDenied},
	{"CAPABILITY", engine.ErrCapability, codes.PermissionDenied},
	{"UNDUMPABLE", engine.ErrUndumpable, codes.PermissionDenied},
	{"NAMESPACE", engine.ErrNamespace, codes.PermissionDenied},
	{"FOLLOWED", engine.ErrFollowed, codes.FailedPrecondition},
	{"MACHINE", engine.ErrMachine, codes.Unimplemented},
	{"NOT_RESIDENT", engine.ErrNotResident, codes.NotFound},
	{"RESIDENT", engine.ErrResident, codes.FailedPrecondition},
	{"SECCOMP", engine.ErrSeccomp, codes.FailedPrecondition},
	{"DISPATCH", engine.ErrDispatch, codes.FailedPrecondition},
	{"GONE", engine.ErrGone, codes.NotFound},
	{"HANDLER", engine.ErrHandler, codes.InvalidArgument},
	{"PARAMS", builtin.ErrParams, codes.InvalidArgument},
	{"NO_HANDLER", handler.ErrNotFound, codes.NotFound},
	{"HANDLER_PERMISSION", handler.ErrPermission, codes.PermissionDenied},
	{"HANDLER_EXISTS", handler.ErrExists, codes.AlreadyExists},
	{"HANDLER_NAME", handler.ErrName, codes.InvalidArgument},
	{"HANDLER_CLOSED", handler.ErrClosed, codes.FailedPrecondition},
	{"UNBOUND", handler.ErrUnbound, codes.InvalidArgument},
	{"UNKNOWN_NAME", scope.ErrUnknown, codes.NotFound},
	{"NO_VALUE", bind.ErrNoValue, codes.NotFound},
	{"FILTER", expr.ErrSyntax, codes.InvalidArgument},
	{"PROGRAM", program.ErrInvalid, codes.InvalidArgument},
	{"UNSAFE", verify.ErrUnsafe, codes.InvalidArgument},
	{"HANDLER_RIGHTS", verify.ErrRights, codes.PermissionDenied},
	{"COMPLEX", verify.ErrComplex, codes.InvalidArgument},
	{"MAPS_TOO_LARGE", maps.ErrTooLarge, codes.ResourceExhausted},
	{"NO_TEXT", symbols.ErrNoText, codes.NotFound},     // which is an ErrNotFound
	{"NO_SOURCE", symbols.ErrNoSource, codes.NotFound}, // which is an ErrNotFound, too
	{"NOT_FOUND", symbols.ErrNotFound, codes.NotFound},
	{"NOT_REGULAR", objfile.ErrNotRegular, codes.FailedPrecondition},
	{"REPLACED", objfile.ErrReplaced, codes.FailedPrecondition},
	{"UNREAD", objfile.ErrUnread, codes.FailedPrecondition},
	{"NO_EXITS", location.ErrNoExits, codes.NotFound},
	{"INSIDE", location.ErrInside, codes.InvalidArgument},
	{"BEYOND", location.ErrBeyond, codes.InvalidArgument},
	{"FORMAT", elffile.ErrFormat, codes.InvalidArgument},
	{"DEBUG_FORMAT", dwarf.ErrFormat, codes.InvalidArgument},
	{"BUDGET", elffile.ErrBudget, codes.ResourceExhausted},
	{"REFUSED", breakpoint.ErrRefused, codes.FailedPrecondition},
	{"FOREIGN", breakpoint.ErrForeign, codes.FailedPrecondition},
	{"CHANGED", breakpoint.ErrChanged, codes.FailedPrecondition},
	{"MISALIGNED", breakpoint.ErrMisaligned, codes.InvalidArgument},
	{"SITE_NOT_MAPPED", breakpoint.ErrNotMapped, codes.InvalidArgument},
	{"NOT_CODE", breakpoint.ErrNotCode, codes.InvalidArgument},
	{"EXCLUSIVE", breakpoint.ErrExclusive, codes.FailedPrecondition},
	{"OVERLAP", breakpoint.ErrOverlap, codes.FailedPrecondition},
	{"TAKEN", breakpoint.ErrTaken, codes.ResourceExhausted},
	{"PERMISSION", ErrPeer, codes.PermissionDenied},
	{"TOKEN", ErrToken, codes.Unauthenticated},
	{"VERSION", ErrVersion, codes.FailedPrecondition},
	{"MESSAGE", ErrMessage, codes.InvalidArgument},
	{"UNSUPPORTED", errors.ErrUnsupported, codes.Unimplemented},
	{"HANDLER_UNSUPPORTED", errors.ErrUnsupported, codes.Unimplemented}, // of older servers
	{"FILE_CLOSED", os.ErrClosed, codes.FailedPrecondition},
	{"NOT_PERMITTED", fs.ErrPermission, codes.PermissionDenied},
	{"NOT_EXIST", fs.ErrNotExist, codes.NotFound},
	{"PROCESS_DONE", os.ErrProcessDone, codes.NotFound},
}

// classOf returns the code of an error, and the names of all reasons that it wraps.
func classOf(err error) (code codes.Code, names []string) {
	code = codes.Unknown
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			if len(names) == 0 {
				code = r.code
			}
			names = append(names, r.name)
		}
	}
	return code, names
}

// classes returns the reasons with these names, as far as this side knows them.
func classes(names []string) (list []error) {
	for _, r := range reasons {
		if slices.Contains(names, r.name) {
			list = append(list, r.err)
		}
	}
	return list
}

// message returns an error's text with no line ends but the error's own: this side knows the names
// in the text, and escapes them.
func message(err error) string {
	var b bytes.Buffer
	_ = printable.Write(&b, printable.Lines(err)...)
	return strings.TrimSuffix(b.String(), "\n")
}

// ToStatus converts an error into a gRPC status.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	code, _ := classOf(err)
	text := message(err)
	reason, metadata := pack(err)
	if reason == "" && metadata == nil {
		return status.Error(code, text)
	}
	s, err2 := status.New(code, text).WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: domain, Metadata: metadata})
	if err2 != nil {
		return status.Error(code, text)
	}
	return s.Err()
}

// ErrServer is returned when a server does not answer any more: it has ended, was killed, or has
// given up on this client because the client did not answer. The traced program continues.
var ErrServer = errors.New("ptracer's server is gone, or has had no answer for too long; the program goes on, and its next tracer, or 'ptracer stop PID', takes out what may be left in it")

// FromStatus converts a gRPC status into an error for which errors.Is and errors.As find the
// original's classes.
func FromStatus(err error) error {
	s, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.Domain == domain {
			return unpack(s.Message(), info.Reason, info.Metadata)
		}
	}
	switch s.Code() {
	case codes.Unavailable:
		return ErrServer
	case codes.Unimplemented:
		return &remoteError{s.Message(), []error{ErrVersion}}
	case codes.Canceled:
		return context.Canceled
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	}
	return &remoteError{s.Message(), nil}
}

// remoteError is an error that the other side has reported.
type remoteError struct {
	text string
	is   []error // what errors.Is and errors.As find
}

func (e *remoteError) Error() string   { return e.text }
func (e *remoteError) Unwrap() []error { return e.is }

// Lines splits the text that message has made into lines.
func (e *remoteError) Lines() []string { return strings.Split(e.text, "\n") }
