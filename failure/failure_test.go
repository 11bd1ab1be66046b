package failure

import (
	"errors"
	"io/fs"
	"testing"
)

func TestUnsupported(t *testing.T) {
	cause := errors.New("no such device")
	for want, err := range map[string]error{
		"unsupported: 8 bytes":                                    Unsupportedf("%d bytes", 8),
		"unsupported: a filter (needs root)":                      &Unsupported{What: "a filter", Needs: "root"},
		"unsupported: uprobes (needs Linux 4.17): no such device": &Unsupported{"uprobes", "Linux 4.17", cause},
		"unsupported: no such device":                             &Unsupported{Err: cause},
	} {
		var u *Unsupported
		if err.Error() != want || !errors.Is(err, errors.ErrUnsupported) || !errors.As(err, &u) {
			t.Errorf("%q, want %q", err, want)
		}
		if errors.Is(err, cause) != (u.Err != nil) {
			t.Errorf("%v: its cause", err)
		}
	}
}

func TestKind(t *testing.T) {
	a, b := Kind("no right", fs.ErrPermission), Kind("no right", fs.ErrPermission)
	if a.Error() != "no right" || !errors.Is(a, fs.ErrPermission) || !errors.Is(a, a) || errors.Is(a, b) {
		t.Errorf("%v", a)
	}
}
