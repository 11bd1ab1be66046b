package wire

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/arbiter"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/internal/leak"
	"github.com/ptracer/ptracer/printable"
	"github.com/ptracer/ptracer/symbols"
)

func TestMain(m *testing.M) { leak.Main(m) }

// sent returns a message as the other side receives it.
func sent[M proto.Message](t testing.TB, m, empty M) M {
	t.Helper()
	b, err := proto.Marshal(m)
	if err == nil {
		err = proto.Unmarshal(b, empty)
	}
	if err != nil {
		t.Fatal(err)
	}
	return empty
}

// TestEvents sends an event of each kind, with all that its body can say.
func TestEvents(t *testing.T) {
	for k := event.KindHit; Event_Kind_name[int32(k)] != ""; k++ {
		e := event.Event{Time: 1, PID: 2, TID: 3, Body: event.NewBody(k)}
		fill(t, reflect.ValueOf(e.Body).Elem(), new(0))
		if d := cmp.Diff(e, ToEvent(sent(t, FromEvent(&e), &Event{}))); d != "" {
			t.Errorf("%v: %s", k, d)
		}
	}
	if k := event.Kind(len(Event_Kind_name)); !isUnknown(k) || isUnknown(k-1) {
		t.Errorf("the protocol has kinds up to %v, and events have others", k-1)
	}
}

// isUnknown reports whether there is no type of a kind's bodies.
func isUnknown(k event.Kind) bool { return strings.HasPrefix(k.String(), "kind(") }

// fill sets each field of a body to a value that no other field has. A field of a type that it does
// not know fails the test.
func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch v.Interface().(type) {
	case arch.Convention:
		v.Set(reflect.ValueOf(arch.GoStack))
		return
	case []string: // from programs' memory: of any bytes
		v.Set(reflect.ValueOf([]string{"\xff\xfe", "ü", fmt.Sprint(*n)}))
		return
	}
	switch v.Kind() {
	case reflect.Int:
		v.SetInt(int64(*n))
	case reflect.Uint64:
		v.SetUint(1<<63 | uint64(*n))
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
		if count := v.FieldByName("NArgs"); count.IsValid() {
			count.SetInt(event.MaxArgs)
		}
	default:
		t.Fatalf("no value of a %v", v.Type())
	}
}

// TestEventTexts sends texts of any bytes: what a program or a handler says stays as it is, and a
// name becomes valid.
func TestEventTexts(t *testing.T) {
	e := event.Event{Body: &event.Print{Location: "\xff:f", Text: "a\x80b"}}
	want := &event.Print{Location: "\ufffd:f", Text: "a\x80b"}
	if d := cmp.Diff(want, ToEvent(sent(t, FromEvent(&e), &Event{})).Body); d != "" {
		t.Error(d)
	}
	e.Body = &event.Exec{Path: "/\xff"}
	if d := cmp.Diff(&event.Exec{Path: "/\ufffd"}, ToEvent(sent(t, FromEvent(&e), &Event{})).Body); d != "" {
		t.Error(d)
	}
}

// TestUnknownEvents receives what only a newer server sends: a kind without a body here, and numbers
// that no kind can have.
func TestUnknownEvents(t *testing.T) {
	for number, want := range map[int32]string{0: "?", 200: "kind(200)", 255: "kind(255)", 256: "kind(255)", 257: "kind(255)", -1: "kind(255)"} {
		m := &Event{Kind: Event_Kind(number), Time: 1, Pid: 2, Tid: 3, Probe: 4, Text: []byte("text"), Args: []uint64{5}}
		e := ToEvent(sent(t, m, &Event{}))
		if e.Kind().String() != want || e.Time != 1 || e.PID != 2 || e.TID != 3 {
			t.Errorf("%d became %v, %+v", number, e.Kind(), e)
		}
		if again := ToEvent(FromEvent(&e)); again.Kind() != e.Kind() {
			t.Errorf("%d became %v when it was sent on", number, again.Kind())
		}
	}
}

// TestSpecs sends specs of probes.
func TestSpecs(t *testing.T) {
	for _, s := range []engine.ProbeSpec{
		{Location: "work"},
		{Location: "*:*", PID: 7, Alone: true, Except: []int{1, 2}, Action: engine.ActionTell, Args: []engine.Arg{{Text: true}, {}, {Text: true}}, Pending: true, Cookie: 1 << 63},
		{Location: "*0x10", Action: engine.ActionStop, Rung: breakpoint.Hardware, Watch: engine.AccessReadWrite, Len: 8},
	} {
		got, err := ToSpec(sent(t, FromSpec(&s), &RegisterRequest{}))
		if d := cmp.Diff(s, got); d != "" || err != nil {
			t.Errorf("%v, %s", err, d)
		}
	}
	for _, m := range []*RegisterRequest{
		{Action: 7}, {Action: -1}, {Strings: 256}, {Args: -1}, {Args: 9}, {Pid: -1}, {Rung: "ladder"}, {Watch: "tv"}, {Length: 3},
		{Location: string(make([]byte, maxLocation+1))}, {Except: make([]int32, maxExcept+1)},
	} {
		if _, err := ToSpec(m); !errors.Is(err, ErrMessage) {
			t.Errorf("%v: %v", m, err)
		}
	}
}

// TestTracers sends descriptions of tracers, tasks and places.
func TestTracers(t *testing.T) {
	now := time.Unix(0, 1e18)
	i := arbiter.TracerInfo{ID: 1, Name: "n", PID: 2, UID: 3, Since: now, Processes: []int{4}, Probes: []string{"p"}, Handlers: 5,
		Holds:    []arbiter.Hold{{PID: 6, TID: 7, Since: now, Until: now}, {PID: 6, TID: 8, Since: now}},
		Controls: []arbiter.Control{{PID: 9, Until: now, Asked: true, Waiting: 2}}, Missed: 10, Late: true, Hits: []uint64{1 << 63}}
	if d := cmp.Diff(i, ToTracer(sent(t, FromTracer(&i), &Tracer{}))); d != "" {
		t.Error(d)
	}
	x := engine.Task{TID: 1, Name: "n", Stopped: true, PC: 2, Signal: 3}
	if d := cmp.Diff(x, ToTask(sent(t, FromTask(&x), &Task{}))); d != "" {
		t.Error(d)
	}
	p := engine.Placement{Probe: 1, PID: 2, Name: "n", Addr: 3, Rung: breakpoint.Slot, Reason: "why", Gap: "lost", Hits: 4, Err: fmt.Errorf("x: %w", breakpoint.ErrForeign)}
	got := ToPlacement(sent(t, FromPlacement(&p), &Placement{}))
	if !errors.Is(got.Err, breakpoint.ErrForeign) || got.Err.Error() != p.Err.Error() {
		t.Errorf("error %v", got.Err)
	}
	p.Err, got.Err = nil, nil
	if d := cmp.Diff(p, got); d != "" {
		t.Error(d)
	}
}

// TestTexts sends errors with arbitrary texts.
func TestTexts(t *testing.T) {
	if err := FromStatus(ToStatus(fmt.Errorf("\xff: %w", symbols.ErrNotFound))); !errors.Is(err, symbols.ErrNotFound) {
		t.Errorf("of any bytes: %v", err)
	}
	if err := FromStatus(ToStatus(errors.New("plain"))); err == nil || err.Error() != "plain" {
		t.Errorf("without a reason: %v", err)
	}
	joined := errors.Join(fmt.Errorf("f\nforged\xff: %w", symbols.ErrNotFound), errors.New("second"))
	want := []string{`f\nforged\xff: not found`, "second"}
	for _, err := range []error{joined, errors.Join(errors.New("f\nforged\xff: not found"), errors.New("second"))} { // with a reason, and without
		if got := printable.Lines(FromStatus(ToStatus(err))); !slices.Equal(got, want) {
			t.Errorf("%q has the lines %q, want %q", err, got, want)
		}
	}
	if ToStatus(nil) != nil || FromStatus(nil) != nil {
		t.Error("no error is one")
	}
}

// FuzzSpec decodes any bytes as a probe's spec: they are one, or are refused.
func FuzzSpec(f *testing.F) {
	spec := engine.ProbeSpec{Location: "work", Rung: breakpoint.Hardware, Watch: engine.AccessWrite, Len: 4}
	b, _ := proto.Marshal(FromSpec(&spec))
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var m RegisterRequest
		if proto.Unmarshal(b, &m) != nil {
			return
		}
		s, err := ToSpec(&m)
		if err != nil {
			if !errors.Is(err, ErrMessage) {
				t.Error(err)
			}
			return
		}
		again, err := ToSpec(sent(t, FromSpec(&s), &RegisterRequest{}))
		if d := cmp.Diff(s, again); d != "" || err != nil {
			t.Errorf("%v, %s", err, d)
		}
	})
}

// FuzzHandler does the same for a handler's programs.
func FuzzHandler(f *testing.F) {
	exit := []byte{0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0} // r0 = 0; exit
	for _, p := range []*Program{{Name: "p", Instructions: exit}, {Instructions: exit[:7]},
		{Instructions: exit, Maps: []*Map{{Name: "m", Type: 2, KeySize: 4, ValueSize: 8, MaxEntries: 1, Contents: []*Content{{Key: make([]byte, 4), Value: make([]byte, 8)}}}}}} {
		b, _ := proto.Marshal(p)
		f.Add(b, []byte(nil), "amd64")
		f.Add(b, b, "arm64")
	}
	f.Fuzz(func(t *testing.T, entry, exit []byte, isa string) {
		programs := [2]*Program{}
		for i, b := range [][]byte{entry, exit} {
			var p Program
			if proto.Unmarshal(b, &p) != nil {
				return
			}
			if len(b) > 0 {
				programs[i] = &p
			}
		}
		h, err := ToHandler(programs[0], programs[1], isa)
		if err != nil {
			if !errors.Is(err, ErrMessage) {
				t.Error(err)
			}
			return
		}
		e, x := FromHandler(h)
		if _, err := ToHandler(e, x, isa); err != nil {
			t.Errorf("what was taken is refused: %v", err)
		}
	})
}

// FuzzEvent sends events with any bytes in them.
func FuzzEvent(f *testing.F) {
	for k := range len(Event_Kind_name) + 1 {
		f.Add(uint8(k), 2, uint64(3), "s", "text", "path")
	}
	f.Fuzz(func(t *testing.T, kind uint8, pid int, addr uint64, str, words, path string) {
		e := event.Event{PID: int(int32(pid)), Body: event.NewBody(event.Kind(kind))}
		want := event.Event{PID: e.PID, Body: event.NewBody(event.Kind(kind))}
		set(e.Body, map[string]any{"Addr": arch.Addr(addr), "Strings": []string{str}, "Text": words, "Path": path, "Location": path})
		valid := text(path)
		set(want.Body, map[string]any{"Addr": arch.Addr(addr), "Strings": []string{str}, "Text": words, "Path": valid, "Location": valid})
		if got := ToEvent(sent(t, FromEvent(&e), &Event{})); !reflect.DeepEqual(got, want) || got.Kind() != event.Kind(kind) {
			t.Errorf("%v %+v became %+v", e, e.Body, got.Body)
		}
	})
}

// set sets those of a body's fields that are named.
func set(b event.Body, values map[string]any) {
	if b == nil {
		return
	}
	for name, value := range values {
		if v := reflect.ValueOf(b).Elem().FieldByName(name); v.IsValid() {
			v.Set(reflect.ValueOf(value))
		}
	}
}
