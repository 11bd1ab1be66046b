package handler_test

import (
	"testing"
	"unsafe"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler"
	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/builtin"
	"github.com/ptracer/ptracer/engine/handler/compile"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/engine/handler/verify"
	"github.com/ptracer/ptracer/internal/native"

	"runtime"
)

// benchNative measures a handler's programs at a hit, with the entry and exit code, minus the time
// for "nothing".
func benchNative(b *testing.B, h *build.Handler) {
	m, err := native.New()
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	v := &handler.Verified{Handler: h}
	check := func(p *program.Program) *verify.Result {
		if p == nil {
			return nil
		}
		r, err := check(b, p)
		if err != nil {
			b.Fatal(err)
		}
		return r
	}
	v.Entry, v.Exit = check(h.Entry), check(h.Exit)
	open, err := handler.InTracee{}.Open(v)
	if err != nil {
		b.Fatal(err)
	}
	defer open.Close()
	x := open.(*handler.Interpreted)
	const place, threads = 256 << 10, 3 << 20
	_, data := m.Data()
	region := arch.Addr(uintptr(unsafe.Pointer(&x.Bytes()[0])))
	env, need := x.Helpers(v, region)
	env.Threads = data + threads
	lib, err := env.Make(need, m.Base()+place)
	if err == nil {
		err = m.LoadAt(place, lib.Code)
	}
	if err != nil {
		b.Fatal(err)
	}
	var code []byte
	for _, r := range []*verify.Result{v.Entry, v.Exit} {
		if r == nil {
			continue
		}
		way := compile.Way{Skip: 128, Flags: true, Helpers: lib.Stack}
		c, err := handler.Native([]handler.Piece{{Program: r, Set: x.Set, Region: region, Way: way, Helpers: lib.At}}, m.Base()+arch.Addr(len(code)))
		if err != nil {
			b.Fatal(err)
		}
		code = append(code, c...)
	}
	var regs arch.Regs
	regs[native.SP] = uint64(data) + 1<<20
	code = append(code, native.Jump(m.Base()+arch.Addr(len(code)), m.Exit())...)
	if err := m.Load(code); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(code)), "bytes")
	b.ResetTimer()
	m.Bench(m.Base(), &regs, b.N)
}

func BenchmarkNative(b *testing.B) {
	ctx, err := program.ContextOf(runtime.GOARCH)
	if err != nil {
		b.Fatal(err)
	}
	for name, make := range map[string]func(*build.Builder){
		"nothing": func(b *build.Builder) {},
		"time":    func(b *build.Builder) { b.Time(build.R0) },
		"ids":     func(b *build.Builder) { b.PIDTGID(build.R0) },
		"cpu":     func(b *build.Builder) { b.CPU(build.R0) },
		"lookup": func(b *build.Builder) {
			m := b.Map(program.Map{Name: "m", Type: program.LRUHash, KeySize: 8, ValueSize: 8, MaxEntries: 1024})
			key, full := b.Slot(8), b.NewLabel()
			b.Zero(key)
			b.LookupOrInit(m, key, full)
			b.Here(full)
		},
	} {
		b.Run(name, func(b *testing.B) {
			bld := build.New(name, ctx)
			make(bld)
			p, err := bld.Program()
			if err != nil {
				b.Fatal(err)
			}
			benchNative(b, build.One(build.Entry, p, ctx))
		})
	}
	for _, kind := range builtin.Kinds {
		if kind.Name != "latency" && kind.Name != "record" && kind.Name != "count" {
			continue
		}
		b.Run(kind.Name, func(b *testing.B) {
			h, err := kind.Make(ctx, builtin.Params{})
			if err != nil {
				b.Fatal(err)
			}
			benchNative(b, h)
		})
	}
}
