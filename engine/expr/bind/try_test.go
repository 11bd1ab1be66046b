package bind

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/arch/amd64"
	"github.com/ptracer/ptracer/symbols"
	"github.com/ptracer/ptracer/symbols/location"
	"github.com/ptracer/ptracer/symbols/scope"
)

func TestTry(t *testing.T) {
	path := os.Getenv("TRY")
	if path == "" {
		t.Skip()
	}
	f, err := symbols.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	sf, err := scope.Of(f, amd64.ISA)
	if err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(os.Stdin)
	var s *scope.Scope
	for sc.Scan() {
		line := sc.Text()
		if l, ok := strings.CutPrefix(line, "@"); ok {
			loc, err := location.Parse(l)
			if err != nil {
				t.Fatal(err)
			}
			ts, err := loc.Resolve(f, amd64.ISA)
			if err != nil {
				t.Fatal(err)
			}
			tt := ts[0]
			p := scope.Inside
			if tt.Entry {
				p = scope.AtEntry
			}
			if tt.Exit != nil {
				p = scope.AtExit
			}
			calls := arch.C
			if f.IsGo() {
				calls = f.Convention(tt.Function)
			}
			if s, err = sf.At(tt.Addr, p, calls); err != nil {
				t.Fatal(err)
			}
			fmt.Println("==", l, tt.Addr, s.Function(), len(ts))
			continue
		}
		n, err := Number(s, Options{Text: line})
		fmt.Println(line, " => ", n, err)
		v, err := Value(s, Options{Text: line})
		ty := "-"
		if v.Type != nil {
			ty = fmt.Sprintf("%d %s %d", v.Type.Kind, v.Type.Name, v.Type.Size)
		}
		fmt.Println("        ", v.Parts, ty, err)
	}
}
