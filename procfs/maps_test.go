package procfs

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestParseMaps(t *testing.T) {
	const text = `00400000-0040b000 r-xp 00001000 fd:01 1234                               /usr/bin/a b
7f00-7f10 rw-p 00000000 00:00 0
7ffc4d000000-7ffc4d002000 r-xp 00000000 00:00 0                          [vdso]
7f0000000000-7f0000001000 r--s 00000000 08:02 77                         /tmp/x\012y (deleted)
7f0000002000-7f0000003000 rw-p 00000000 00:00 0                          [anon: odd (deleted)]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
`
	want := []Mapping{
		{Start: 0x400000, End: 0x40b000, Perm: "r-xp", Offset: 0x1000, Dev: "fd:01", Inode: 1234, Path: "/usr/bin/a b"},
		{Start: 0x7f00, End: 0x7f10, Perm: "rw-p", Dev: "00:00"},
		{Start: 0x7ffc4d000000, End: 0x7ffc4d002000, Perm: "r-xp", Dev: "00:00", Path: "[vdso]"},
		{Start: 0x7f0000000000, End: 0x7f0000001000, Perm: "r--s", Dev: "08:02", Inode: 77, Path: "/tmp/x\ny", Deleted: true},
		{Start: 0x7f0000002000, End: 0x7f0000003000, Perm: "rw-p", Dev: "00:00", Path: "[anon: odd (deleted)]"},
		{Start: 0xffffffffff600000, End: 0xffffffffff601000, Perm: "--xp", Dev: "00:00", Path: "[vsyscall]"},
	}
	got, err := ParseMaps(strings.NewReader(text))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if !want[0].Executable() || want[1].Executable() {
		t.Error("Executable is wrong")
	}
}

func TestParseMapsErrors(t *testing.T) {
	for _, text := range []string{
		"x", "\n", "1-2 r-xp 0 0:0", "2-1 r-xp 0 00:00 0", "12 r-xp 0 00:00 0", "1-g r-xp 0 00:00 0",
		"1-2 rx 0 00:00 0", "1-2 r-xp z 00:00 0", "1-2 r-xp 0 00:00 x", "10000000000000000-2 r-xp 0 00:00 0",
		strings.Repeat("a", maxMapsLine+1),
	} {
		if got, err := ParseMaps(strings.NewReader(text)); err == nil {
			t.Errorf("%.40q: got %+v, want an error", text, got)
		}
	}
}

func TestMapsOfNobody(t *testing.T) {
	if _, err := Maps(-1); !os.IsNotExist(err) {
		t.Errorf("got %v", err)
	}
}

func FuzzParseMaps(f *testing.F) {
	f.Add([]byte("00400000-0040b000 r-xp 00001000 fd:01 1234    /usr/bin/a b (deleted)\n"))
	f.Add([]byte("7f00-7f10 rw-p 00000000 00:00 0"))
	f.Fuzz(func(t *testing.T, text []byte) {
		maps, err := ParseMaps(strings.NewReader(string(text)))
		for _, m := range maps {
			if err == nil && (m.End < m.Start || len(m.Perm) != 4) {
				t.Errorf("%+v", m)
			}
		}
	})
}
