package show

import (
	"bytes"
	"slices"
	"testing"
)

func TestScreen(t *testing.T) {
	var b bytes.Buffer
	s := Screen{w: &b}
	s.replace([]string{"a", "b"})
	s.replace([]string{"c"})
	s.Clear()
	const want = "a\r\nb\r\n" + "\x1b[2A\r\x1b[J" + "c\r\n" + "\x1b[1A\r\x1b[J"
	if b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

func TestFit(t *testing.T) {
	got := Fit([]string{"abcdefgh", "b", "c"}, 6, 3)
	if want := []string{"ab~fgh", "b"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Fit([]string{"1 |████"}, 7, 3); got[0] != "1 |████" { // columns, not bytes
		t.Errorf("%q is cut", got)
	}
	if got := Fit([]string{"a"}, 80, 0); len(got) != 0 {
		t.Errorf("%q in no line", got)
	}
}
