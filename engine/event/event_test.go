package event

import (
	"reflect"
	"strings"
	"testing"
)

// TestKinds: each kind has a name, and a body of a type named for it.
func TestKinds(t *testing.T) {
	words := map[string]string{"missed": "Dropped", "aside": "Released", "back": "Reattached", "asked": "ControlRequested"}
	seen := map[string]bool{}
	for k := KindHit; k < kinds; k++ {
		name := k.String()
		if name == "" || seen[name] {
			t.Errorf("kind %d has the name %q", k, name)
		}
		seen[name] = true
		if bodies[k] == nil {
			t.Errorf("%v has no body", k)
			continue
		}
		b := NewBody(k)
		want := words[name]
		if want == "" {
			want = strings.ToUpper(name[:1]) + name[1:]
		}
		if got := reflect.TypeOf(b).Elem().Name(); got != want || b.Kind() != k {
			t.Errorf("the body of %v is a %s, of kind %v", k, got, b.Kind())
		}
		if e := (&Event{Body: b}); e.Kind() != k {
			t.Errorf("the event of %v has the kind %v", k, e.Kind())
		}
	}
}

// TestUnknownKinds: an event without a body has kind 0, and one of a newer server has its number.
func TestUnknownKinds(t *testing.T) {
	if e := (&Event{}); e.Kind() != 0 || e.Kind().String() != "?" || NewBody(0) != nil {
		t.Errorf("without a body: %v", e.Kind())
	}
	for _, k := range []Kind{kinds, 255} {
		if b := NewBody(k); b == nil || b.Kind() != k || !strings.HasPrefix(b.Kind().String(), "kind(") {
			t.Errorf("%v has the body %#v", k, b)
		}
	}
}

// TestProtocolNumbers: the numbers of kinds are those that servers and clients of other versions know.
func TestProtocolNumbers(t *testing.T) {
	if KindHit != 1 || KindExit != 9 || KindDropped != 10 || KindFailed != 16 {
		t.Error("a kind has another number than before")
	}
}
