package inproc

import (
	"encoding/binary"
	"testing"

	"github.com/ptracer/ptracer/engine/internal/inferior"
	"github.com/ptracer/ptracer/engine/internal/tasks"
)

// TestNewsPlace is about where the table of threads has room for news.
func TestNewsPlace(t *testing.T) {
	x := &InProcess{loop: tasks.New(nil)}
	x.loop.Tasks[7] = &inferior.Task{}
	news := func(list ...uint64) (b []byte) { // pointer, ids, ...
		b = make([]byte, 8*len(list))
		for i, v := range list {
			binary.LittleEndian.PutUint64(b[8*i:], v)
		}
		return b
	}
	const alive, dead = 5<<32 | 7, 5<<32 | 8
	for _, c := range []struct {
		places []byte
		want   int
	}{
		{news(0, 0, 0, 0), 0},
		{news(1, alive, 0, 0), 16},
		{news(0, 0, 2, alive), 16},
		{news(1, dead, 2, 0), 16},
		{news(1, alive, 3, dead), 16},
		{news(1, alive, 3, 0), -1}, // that one asks
	} {
		if off := x.newsPlace(c.places, 2); off != c.want {
			t.Errorf("%v: %d, want %d", c.places, off, c.want)
		}
	}
}
