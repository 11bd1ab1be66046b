package guest

import "testing"

func TestLines(t *testing.T) {
	for _, want := range []Line{
		{Kind: Run, Package: "a/b"},
		{Kind: RC, Package: "a/b", Code: 2, Millis: 1500},
		{Kind: RC, Package: "a/b", Code: -1},
		{Kind: Skip, Text: "TestX: no compiler, none at all"},
		{Kind: End, Code: 1},
	} {
		got, ok := Parse(want.String() + "\r\n")
		if !ok || got != want {
			t.Errorf("%q is read as %+v, %v", want, got, ok)
		}
	}
	for _, text := range []string{
		"", "@@", "@@END", "@@END rc=", "@@END rc=x", "@@END 0", "@@RC", "@@RC a", "@@RC a b c",
		"@@RC a 0 1 2", "@@RUN", "@@RUN a b", " @@END rc=0", "ok @@END rc=0", "@@ENDrc=0",
	} {
		if got, ok := Parse(text); ok {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}
