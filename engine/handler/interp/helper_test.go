package interp

import (
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/maps"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/ring"
	"github.com/ptracer/ptracer/engine/handler/verify"
)

// realMaps are maps in the engine's form.
type realMaps struct{ *maps.Set }

func (s realMaps) Map(i int) Map {
	m := s.Set.Map(i)
	if m.Ring() == nil {
		return m
	}
	return struct {
		Map
		Ring
	}{m, m.Ring()}
}

// run verifies what make builds, and runs it once.
func run(t *testing.T, env *fake, make func(b *build.Builder)) (r0 int64, set *maps.Set) {
	t.Helper()
	ctx, err := program.ContextOf("amd64")
	if err != nil {
		t.Fatal(err)
	}
	b := build.New("test", ctx)
	make(b)
	p, err := b.Program()
	if err != nil {
		t.Fatal(err)
	}
	r, err := verify.Check(p, verify.Options{Context: ctx, Rights: program.ReadMemory | program.WriteMemory | program.Override})
	if err != nil {
		t.Fatal(err)
	}
	if set, err = maps.New(p.Maps, maps.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Close() })
	code, err := New(r, realMaps{set})
	if err != nil {
		t.Fatal(err)
	}
	var m Machine
	v, err := m.Run(code, env)
	if err != nil {
		t.Fatal(err)
	}
	return int64(v), set
}

// call calls a helper and returns its result.
func call(helper int32) func(b *build.Builder) {
	return func(b *build.Builder) {
		b.Move(build.R1, build.Ctx)
		b.Call(helper)
		b.Add(asm.Return())
	}
}

// TestHelpers calls the helpers that describe the thread and its memory.
func TestHelpers(t *testing.T) {
	page := make([]byte, 4096)
	copy(page[4096-10:], "some text\x00")
	const text = fakeBase + 4096 - 10 // up to the last byte that there is
	for _, c := range []struct {
		name string
		make func(b *build.Builder)
		want int64
	}{
		{"time", call(program.FnKtimeGetNS), 1000},
		{"boot time", call(program.FnKtimeGetBootNS), 2000},
		{"pid", call(program.FnCurrentPIDTGID), 7<<32 | 8},
		{"uid", call(program.FnCurrentUIDGID), 5<<32 | 6},
		{"cpu", call(program.FnSMPProcessorID), 3},
		{"cookie", call(program.FnGetAttachCookie), 11},
		{"func ip", call(program.FnGetFuncIP), 12},
		{"comm", func(b *build.Builder) {
			s := b.Slot(16)
			b.Comm(s)
			b.Load(build.R0, s)
			b.Add(asm.Return())
		}, int64(binary.LittleEndian.Uint64([]byte("name\x00\x00\x00\x00")))},
		{"comm, short", func(b *build.Builder) {
			s := b.Slot(8)
			b.Addr(build.R1, s)
			b.Const(build.R2, 3)
			b.Zero(s)
			b.Addr(build.R1, s)
			b.Const(build.R2, 3)
			b.Call(program.FnCurrentComm)
			b.Load(build.R0, s)
			b.Add(asm.Return())
		}, int64(binary.LittleEndian.Uint64([]byte("na\x00\x00\x00\x00\x00\x00")))},
		{"read", func(b *build.Builder) {
			s := b.Slot(8)
			b.Const(build.R3, text+1)
			b.Read(s, build.R3)
			b.Load(build.R0, s)
			b.Add(asm.Return())
		}, int64(binary.LittleEndian.Uint64([]byte("ome text")))},
		{"read, bad", func(b *build.Builder) {
			s := b.Slot(8)
			b.Const(build.R3, 1)
			b.Read(s, build.R3)
			b.Add(asm.Return())
		}, eFault},
		{"read, bad: cleared", func(b *build.Builder) {
			s := b.Slot(8)
			b.StoreImm(s, -1, asm.DWord)
			b.Const(build.R3, 1)
			b.Read(s, build.R3)
			b.Load(build.R0, s)
			b.Add(asm.Return())
		}, 0},
		{"string", func(b *build.Builder) {
			s := b.Slot(16)
			b.Const(build.R3, text+5)
			b.ReadString(s, build.R3)
			b.Add(asm.Return())
		}, 5},
		{"string, cut", func(b *build.Builder) {
			s := b.Slot(4)
			b.Const(build.R3, text)
			b.ReadString(s, build.R3)
			b.Add(asm.Return())
		}, 4},
		{"string, bad", func(b *build.Builder) {
			s := b.Slot(16)
			b.Const(build.R3, text+100)
			b.ReadString(s, build.R3)
			b.Add(asm.Return())
		}, eFault},
		{"stack", func(b *build.Builder) {
			s := b.Slot(32)
			b.Move(build.R1, build.Ctx)
			b.Addr(build.R2, s)
			b.Const(build.R3, 32)
			b.Const(build.R4, userStack|1)
			b.Call(program.FnGetStack)
			b.Add(asm.Return())
		}, 16},
		{"stack of the kernel", func(b *build.Builder) {
			s := b.Slot(32)
			b.Move(build.R1, build.Ctx)
			b.Addr(build.R2, s)
			b.Const(build.R3, 32)
			b.Const(build.R4, 0)
			b.Call(program.FnGetStack)
			b.Add(asm.Return())
		}, eInval},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, _ := run(t, &fake{memory: page}, c.make); got != c.want {
				t.Errorf("%#x, not %#x", got, c.want)
			}
		})
	}
}

// TestWrites: a program may change the thread's memory and its registers.
func TestWrites(t *testing.T) {
	env := &fake{memory: make([]byte, 16)}
	run(t, env, func(b *build.Builder) {
		s := b.Slot(8)
		b.StoreImm(s, 0x1234, asm.DWord)
		b.Const(build.R3, fakeBase+4)
		b.Write(build.R3, s)
		b.Const(build.R3, 99)
		b.SetArg(0, build.R3)
	})
	if binary.LittleEndian.Uint64(env.memory[4:]) != 0x1234 || env.regs[14] != 99 {
		t.Errorf("%x, %d", env.memory, env.regs[14])
	}
}

// TestPrint compares the formatting with the kernel's printk.
func TestPrint(t *testing.T) {
	for _, c := range []struct {
		format, want string
		r0           int64
	}{
		{"plain", "plain", 5},
		{"%d %u %x", "-5 4294967291 fffffffb", 22},
		{"%ld %lu %lx", "-5 18446744073709551611 fffffffffffffffb", 40},
		{"%lld%%", "-5%", 3},
		{"%p", "fffffffffffffffb", 16},
		{"%s", "text", 4},
		{"%c\n", "A", 2},
		{"%d %d %d %d", "", eInval},
		{"%f", "", eInval},
		{"%", "", eInval},
	} {
		env := &fake{memory: []byte("text\x00")}
		r0, _ := run(t, env, func(b *build.Builder) {
			regs := []build.Reg{b.Var(), b.Var(), b.Var()}
			for _, r := range regs {
				b.Const(r, map[string]int64{"%s": fakeBase, "%c\n": 'A'}[c.format])
				if c.format != "%s" && c.format != "%c\n" {
					b.Const(r, -5)
				}
			}
			b.Print(c.format, regs...)
			b.Add(asm.Return())
		})
		want := c.want + "\n"
		if c.r0 < 0 {
			want = ""
		}
		if env.printed != want || r0 != c.r0 {
			t.Errorf("%q prints %q and gives %d, should be %q and %d", c.format, env.printed, r0, c.want, c.r0)
		}
	}
}

// TestRings writes records in each possible way, into the intended ring.
func TestRings(t *testing.T) {
	_, set := run(t, &fake{}, func(b *build.Builder) {
		one := b.Map(program.Map{Name: "one", Type: program.RingBuf, MaxEntries: 4096})
		two := b.Map(program.Map{Name: "two", Type: program.RingBuf, MaxEntries: 4096})
		perf := b.Map(program.Map{Name: "perf", Type: program.PerfEvents, KeySize: 4, ValueSize: 4})
		s := b.Slot(8)
		b.StoreImm(s, 1, asm.DWord)
		b.Output(one, s)
		full := b.NewLabel()
		for i := range 2 { // one is discarded, one is submitted
			b.Reserve(two, 16, full)
			rec := b.Var()
			b.Move(rec, build.R0)
			b.StoreImm(build.At(rec, 0), 2, asm.DWord)
			b.StoreImm(build.At(rec, 8), 3, asm.DWord)
			if i == 0 {
				b.Discard(rec)
			} else {
				b.Submit(rec)
			}
			b.Free(rec)
		}
		b.Move(build.R1, build.Ctx)
		b.LoadMap(build.R2, perf)
		b.Const(build.R3, 0xffffffff)
		b.Addr(build.R4, s)
		b.Const(build.R5, 4)
		b.Call(program.FnPerfEventOutput)
		b.Here(full)
	})
	for name, want := range map[string]string{"one": "\x01\x00\x00\x00\x00\x00\x00\x00",
		"two": "\x02\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00", "perf": "\x01\x00\x00\x00"} {
		rd := ring.NewReader(set.ByName(name).Ring(), nil)
		got, ok := rd.Next()
		if !ok || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
		if more, ok := rd.Next(); ok {
			t.Errorf("%s: another record %q", name, more)
		}
	}
}

// TestStackIDs keeps stacks, each once.
func TestStackIDs(t *testing.T) {
	r0, set := run(t, &fake{}, func(b *build.Builder) {
		m := b.Map(program.Map{Name: "stacks", Type: program.StackTrace, KeySize: 4, ValueSize: 80, MaxEntries: 16})
		first := b.Var()
		for i := range 2 {
			b.Move(build.R1, build.Ctx)
			b.LoadMap(build.R2, m)
			b.Const(build.R3, userStack)
			b.Call(program.FnGetStackID)
			if i == 0 {
				b.Move(first, build.R0)
			}
		}
		b.Add(asm.Sub.Reg(build.R0, first), asm.Return())
	})
	if r0 != 0 {
		t.Error("the same stack has two numbers")
	}
	n := 0
	for _, values := range set.Entries("stacks") {
		n++
		for i, want := range []uint64{10, 20, 30, 0} {
			if got := binary.LittleEndian.Uint64(values[0][8*i:]); got != want {
				t.Errorf("address %d is %d, not %d", i, got, want)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d stacks", n)
	}
}
