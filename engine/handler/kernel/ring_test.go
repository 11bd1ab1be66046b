package kernel

import (
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// output is a program that puts a word of the context into a ring.
func output(t *testing.T, m program.Map, off int16) *program.Program {
	ring := []asm.Instruction{ // bpf_ringbuf_output(map, data, size, flags)
		asm.LoadMapPtr(asm.R1, 0).WithReference(m.Name),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -8),
		asm.Mov.Imm(asm.R3, 8),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnRingbufOutput.Call(),
	}
	if m.Type == program.PerfEvents { // bpf_perf_event_output(ctx, map, flags, data, size)
		ring = []asm.Instruction{
			asm.LoadMapPtr(asm.R2, 0).WithReference(m.Name),
			asm.LoadImm(asm.R3, 0xffffffff, asm.DWord), // BPF_F_CURRENT_CPU
			asm.Mov.Reg(asm.R4, asm.RFP),
			asm.Add.Imm(asm.R4, -8),
			asm.Mov.Imm(asm.R5, 8),
			asm.FnPerfEventOutput.Call(),
		}
	}
	insns := append([]asm.Instruction{
		asm.LoadMem(asm.R6, asm.R1, off, asm.DWord),
		asm.StoreMem(asm.RFP, -8, asm.R6, asm.DWord),
	}, ring...)
	return assemble(t, "output", []program.Map{m}, append(insns, asm.Mov.Imm(asm.R0, 0), asm.Return())...)
}

var rings = []program.Map{
	{Name: "ring", Type: program.RingBuf, MaxEntries: 1 << 16},
	{Name: "events", Type: program.PerfEvents, KeySize: 4, ValueSize: 4, MaxEntries: 0},
}

// TestRing: each call's argument and result arrive, in order; those of a perf
// event array, which has a ring for each CPU, in any.
func TestRing(t *testing.T) {
	available(t)
	for _, m := range rings {
		t.Run(m.Type.String(), func(t *testing.T) {
			w := start(t, "loop", "500")
			in := instance(t, output(t, m, parm1), output(t, m, result))
			r, err := in.Map(m.Name).Ring()
			if err != nil {
				t.Fatal(err)
			}
			at := Location{Path: w.path, Offset: w.offset("work")}
			attach(t, in, 0, Options{PID: w.pid}, at)
			at.Return = true
			attach(t, in, 1, Options{PID: w.pid}, at)
			if _, ok, err := r.Next(); ok || err != nil {
				t.Errorf("a record before the first: %v, %v", ok, err)
			}
			w.run()
			var got, want []uint64
			for i := range uint64(500) {
				want = append(want, i, i*3+1)
				for range 2 {
					record, err := r.Read(time.Now().Add(5 * time.Second))
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, binary.LittleEndian.Uint64(record))
				}
			}
			if m.Type == program.PerfEvents {
				slices.Sort(got)
				slices.Sort(want)
			}
			if !slices.Equal(got, want) {
				t.Errorf("records %v instead of %v", got, want)
			}
			if _, err := r.Read(time.Now().Add(time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a record after the last: %v", err)
			}
		})
	}
}

// TestRingDrops: a perf event array without a reader reports its lost records with the next record
// on the same CPU.
func TestRingDrops(t *testing.T) {
	available(t)
	in := instance(t, output(t, rings[1], parm1))
	r, err := in.Map("events").Ring()
	if err != nil {
		t.Fatal(err)
	}
	total, records := uint64(0), uint64(0)
	for i := 0; i < 50 && r.Lost() == 0; i++ {
		calls := "9000"
		if i > 0 {
			calls = "5"
		}
		w := start(t, "loop", calls)
		l := attach(t, in, 0, Options{PID: w.pid}, Location{Path: w.path, Offset: w.offset("work")})
		total += w.run()
		l.Close()
		for _, ok, err := r.Next(); ok || err != nil; _, ok, err = r.Next() {
			if err != nil {
				t.Fatal(err)
			}
			records++
		}
	}
	if r.Lost() == 0 || records+r.Lost() > total {
		t.Errorf("%d records and %d lost of %d", records, r.Lost(), total)
	}
}

// TestRingClosed: a reader that waits for a record wakes up.
func TestRingClosed(t *testing.T) {
	available(t)
	for _, m := range rings {
		in, err := Load(output(t, m, parm1))
		if err != nil {
			t.Fatal(err)
		}
		r, err := in.Map(m.Name).Ring()
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			_, err := r.Read(time.Now().Add(10 * time.Second))
			done <- err
		}()
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, os.ErrClosed) {
			t.Errorf("%v: %v", m.Type, err)
		}
	}
}

func TestRingOfOtherMap(t *testing.T) {
	available(t)
	in := instance(t, count(t))
	if _, err := in.Map("counts").Ring(); err == nil {
		t.Error("no error")
	}
}
