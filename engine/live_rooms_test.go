package engine

import (
	"reflect"
	"testing"

	"github.com/ptracer/ptracer/breakpoint"
	"github.com/ptracer/ptracer/engine/internal/inferior"
)

// TestRooms: what has state of processes or spaces forgets those that are gone. It looks at all maps
// that have one as a key, in all rooms.
func TestRooms(t *testing.T) {
	stays, goes := launch(t, "loop", "1", "0"), launch(t, "forker", "fork", "10")
	s := attach(t, stays.pid, Options{Follow: true}).(*session)
	if err := s.AddProcess(goes.pid); err != nil {
		t.Fatal(err)
	}
	h := openHandler(t, s, HandlerSpec{Name: "latency"})
	register(t, s, ProbeSpec{Location: "work", Handler: h})
	register(t, s, ProbeSpec{Location: "libc:*mem*"})
	register(t, s, ProbeSpec{Location: "main", Rung: breakpoint.Hardware})
	goes.goOn()
	goes.end()
	until(t, "the end of all but one process", func() bool { return len(s.Processes()) == 1 })
	maps := 0
	s.look(func() {
		there := map[uintptr]bool{}
		for _, p := range s.loop.Procs {
			there[reflect.ValueOf(p).Pointer()], there[reflect.ValueOf(p.Space).Pointer()] = true, true
		}
		v := reflect.ValueOf(s).Elem()
		for i := range v.NumField() {
			room := v.Field(i)
			if room.Kind() != reflect.Pointer || room.Elem().Kind() != reflect.Struct {
				continue
			}
			for k := range room.Elem().NumField() {
				f, name := room.Elem().Field(k), v.Type().Field(i).Name+"."+room.Elem().Type().Field(k).Name
				if f.Kind() != reflect.Map || f.Type().Key() != reflect.TypeFor[*inferior.Process]() && f.Type().Key() != reflect.TypeFor[*inferior.Space]() {
					continue
				}
				maps++
				for _, key := range f.MapKeys() {
					if !there[key.Pointer()] {
						t.Errorf("%s has one that is gone", name)
					}
				}
			}
		}
	})
	if maps < 5 {
		t.Errorf("%d maps", maps)
	}
}
