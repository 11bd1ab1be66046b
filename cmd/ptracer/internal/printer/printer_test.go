package printer

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
)

// noSuchPID is above every pid that Linux gives (PID_MAX_LIMIT).
const noSuchPID = 1 << 23

func TestParseShow(t *testing.T) {
	for _, c := range []struct {
		in, location string
		count        int
		strings      uint8
		values       string
	}{
		{"libc:open", "libc:open", 3, 0, "[{0 } {1 } {2 }]"},
		{"libc:open arg0:str", "libc:open", 1, 1, "[{0 str}]"},
		{" libc:open  arg0:str   arg2 ", "libc:open", 3, 1, "[{0 str} {2 }]"},
		{"f arg7:int arg3:long arg3", "f", 8, 0, "[{7 int} {3 long} {3 }]"},
		{"libc:getenv%return", "libc:getenv%return", 1, 0, "[{0 }]"},
		{"libc:getenv%return ret:str", "libc:getenv%return", 1, 1, "[{0 str}]"},
		{"operator new(unsigned long) arg0:long", "operator new(unsigned long)", 1, 0, "[{0 long}]"},
		{"argument", "argument", 3, 0, "[{0 } {1 } {2 }]"},
		{"arg0", "arg0", 3, 0, "[{0 } {1 } {2 }]"}, // a function may be called so
	} {
		location, sh, err := ParseShow(c.in, 3)
		if err != nil {
			t.Errorf("%q: %v", c.in, err)
			continue
		}
		count, texts := asked(&sh)
		got := fmt.Sprintln(location, count, texts, sh.values)
		if want := fmt.Sprintln(c.location, c.count, c.strings, c.values); got != want {
			t.Errorf("%q: %s, want %s", c.in, got, want)
		}
	}
	for in, want := range map[string]string{
		"f arg8":           "arg0 to arg7",
		"f arg":            "arg0 to arg7",
		"f arg0:float":     "unknown form",
		"f ret":            "only at exits",
		"f%return arg0":    "gone at an exit",
		"f arg99999999999": "arg0 to arg7",
	} {
		if _, _, err := ParseShow(in, 3); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

// asked is how many arguments are asked for, and a bit for each text.
func asked(sh *Values) (n, texts int) {
	args := sh.Args()
	for i, arg := range args {
		if arg.Text {
			texts |= 1 << i
		}
	}
	return len(args), texts
}

// FuzzParseShow: whatever is asked for, the engine is not asked for more than
// it can give, and what is shown has been asked for.
func FuzzParseShow(f *testing.F) {
	for _, s := range []string{"libc:open arg0:str", "f%return ret", "f  arg1:int arg7:str", "operator new(unsigned long)", " ", "arg0", "f ret:", "*0x10 arg0", "a.c:5", "a.c:5 arg1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		location, sh, err := ParseShow(s, 3)
		if err != nil {
			return
		}
		if !strings.HasPrefix(strings.TrimSpace(s), location) {
			t.Errorf("location %q is not what %q begins with", location, s)
		}
		n := len(sh.Args())
		if n < 1 && !sh.line || n > event.MaxArgs {
			t.Errorf("%q asks for %d arguments", s, n)
		}
		if got := sh.of(&event.Hit{NArgs: n}); len(got) != len(sh.values) {
			t.Errorf("%q: %d values shown, want %d", s, len(got), len(sh.values))
		}
	})
}

func TestPrinter(t *testing.T) {
	args := [event.MaxArgs]uint64{0xffffffff, 0xfffffffffffffffe, 0x5000, 0}
	shows := []Values{
		{values: []value{{0, ""}, {0, "int"}, {1, "long"}, {2, "str"}, {3, "str"}}},
		{values: []value{{0, ""}}, result: true},
		{values: []value{{0, "int"}, {5, ""}}},
		{result: true},
	}
	hit := func(probe event.ProbeID, n int) event.Event {
		return event.Event{PID: noSuchPID, TID: noSuchPID + 1, Body: &event.Hit{Probe: probe, Location: "x:f", NArgs: n, Args: args,
			Strings: []string{"", "", "a\"\n", ""}}}
	}
	of := func(b event.Body) event.Event { return event.Event{PID: noSuchPID, TID: noSuchPID, Body: b} }
	for _, c := range []struct {
		e          event.Event
		line, json string // "" is not to be told
	}{
		{hit(1, 4), `? x:f(0xffffffff, -1, -2, "a\"\n", NULL)`,
			`"event":"hit","pid":8388608,"tid":8388609,"comm":"?","probe":"x:f","args":["0xffffffff",-1,-2,"a\"\n",null]}`},
		{hit(2, 1), `? x:f = 0xffffffff`, `"probe":"x:f","result":"0xffffffff"}`},
		{hit(2, 0), `? x:f = ? (tail call)`, `"probe":"x:f"}`},
		{hit(3, 4), `? x:f(-1, ?)`, `"args":[-1,null]}`},
		{hit(4, 0), `? x:f`, `"probe":"x:f"}`},
		{event.Event{Body: &event.Dropped{Count: 12}}, `... 12 events not shown: output was slower`, `"event":"missed","missed":12}`},
		{of(&event.Fork{Child: 9}), `? -- new process 9`, `"event":"fork","pid":8388608,"tid":8388608,"comm":"?","child":9}`},
		{of(&event.Clone{Child: 9}), `? -- new thread 9`, `"child":9}`},
		{of(&event.Exec{Path: "/bin/a-name-that-is-long"}), `a-name-that-is- -- executes /bin/a-name-that-is-long`, `"path":"/bin/a-name-that-is-long"}`},
		{of(&event.Exit{Status: 3}), `? -- exits with status 3`, `"status":3}`},
		{of(&event.Exit{Signal: 9}), `? -- killed by signal 9 (killed)`, `"signal":9}`},
		{of(&event.Library{Path: "/lib/x"}), "", ""},
	} {
		for _, asJSON := range []bool{false, true} {
			var b bytes.Buffer
			p := New(&b, asJSON, true)
			p.Shows = shows
			p.Print(&c.e)
			want := map[bool]string{false: c.line, true: c.json}[asJSON]
			if got := strings.TrimSuffix(b.String(), "\n"); !strings.HasSuffix(got, want) || (got == "") != (want == "") {
				t.Errorf("%v: %s\nwant %s", c.e.Kind(), got, want)
			}
		}
	}
}

func TestPrinterQuiet(t *testing.T) {
	var b bytes.Buffer
	p := New(&b, false, false)
	for _, b := range []event.Body{&event.Fork{}, &event.Clone{}, &event.Exec{}, &event.Exit{}, &event.Library{}, &event.Unload{}, &event.Signal{}} {
		p.Print(&event.Event{PID: 1, TID: 1, Body: b})
	}
	if b.Len() != 0 {
		t.Errorf("told without -v: %s", b.String())
	}
}

// TestPrinterNames: a process that was too short to be asked has the name of
// the one that made it, until it executes something.
func TestPrinterNames(t *testing.T) {
	p := New(&bytes.Buffer{}, false, false)
	p.comm[noSuchPID] = "parent"
	const child = noSuchPID + 1
	p.Print(&event.Event{PID: noSuchPID, Body: &event.Fork{Child: child}})
	if got := p.name(&event.Event{PID: child, Body: &event.Hit{}}); got != "parent" {
		t.Errorf("child is %q", got)
	}
	p.Print(&event.Event{PID: child, Body: &event.Exec{Path: "/bin/ls"}})
	if got := p.name(&event.Event{PID: child, Body: &event.Exit{}}); got != "ls" {
		t.Errorf("child is %q after exec", got)
	}
	if _, kept := p.comm[child]; kept {
		t.Error("the name of a dead process is kept: pids come again")
	}
}

func TestStamp(t *testing.T) {
	var b bytes.Buffer
	p := New(&b, false, false)
	e := event.Event{Time: 1e9, PID: noSuchPID, TID: noSuchPID, Body: &event.Hit{Location: "x:f"}}
	p.Print(&e)
	if want := engine.Wall(1e9).Format("15:04:05.000000") + " 8388608/8388608 ? x:f()\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}
