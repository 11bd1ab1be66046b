package location

import "testing"

func TestPlaceName(t *testing.T) {
	for _, c := range []struct {
		location string
		names    []string
		want     string
	}{
		{"work", []string{"loop:work"}, "loop:work"},
		{"work", []string{"loop:work", "loop:work"}, "loop:work"},
		{"work", []string{"a:work", "b:work"}, ""},
		{"work", nil, ""},
		{"work", []string{"loop:work", "loop:work%return"}, "loop:work"},
		{"work%return", []string{"loop:work%return"}, "loop:work%return"},
		{"*0x1000", []string{"loop:work+4"}, "loop:work+4"},
		{"main.(*T).Get", []string{"p:main.(*T).Get"}, "p:main.(*T).Get"},
		{"wor?", []string{"loop:work"}, ""},
		{"*:work", []string{"loop:work"}, ""},
		{"work+*", []string{"loop:work"}, ""},
	} {
		l, err := Parse(c.location)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.PlaceName(c.names); got != c.want {
			t.Errorf("%s at %q: %q, want %q", c.location, c.names, got, c.want)
		}
	}
}
