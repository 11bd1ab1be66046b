package builtin

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"

	"github.com/ptracer/ptracer/engine/handler/build"
	"github.com/ptracer/ptracer/engine/handler/program"
	"github.com/ptracer/ptracer/internal/skip"
)

// loads lets the kernel's verifier judge a handler.
func loads(t *testing.T, h *build.Handler) {
	t.Helper()
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Logf("memlock: %v", err)
	}
	var maps []*ebpf.Map
	for _, m := range h.Maps() {
		km, err := ebpf.NewMap(&ebpf.MapSpec{
			Type: ebpf.MapType(m.Type), KeySize: m.KeySize, ValueSize: m.ValueSize, MaxEntries: m.MaxEntries,
		})
		if errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, errNotPermitted) {
			skip.Missing(t, "the right to load eBPF programs")
		}
		if err != nil {
			t.Fatalf("map %s: %v", m.Name, err)
		}
		defer km.Close()
		maps = append(maps, km)
	}
	for _, p := range []*program.Program{h.Entry, h.Exit} {
		if p == nil {
			continue
		}
		k, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.Kprobe, License: "GPL", Instructions: kernelForm(t, p, maps)})
		if err != nil {
			var v *ebpf.VerifierError
			if errors.As(err, &v) {
				t.Fatalf("%s: %+v", h.Name, v)
			}
			t.Fatalf("%s: %v", h.Name, err)
		}
		k.Close()
	}
}

// kernelForm is a program with the maps' file descriptors.
func kernelForm(t *testing.T, p *program.Program, maps []*ebpf.Map) asm.Instructions {
	t.Helper()
	var raw []byte
	for i := 0; i < len(p.Insns); i++ {
		in := p.Insns[i]
		if in.Wide() && in.Src == program.PseudoMap {
			in.Imm = int32(maps[in.Imm].FD())
		}
		raw = append(raw, in.Op, in.Dst|in.Src<<4)
		raw = binary.LittleEndian.AppendUint16(raw, uint16(in.Off))
		raw = binary.LittleEndian.AppendUint32(raw, uint32(in.Imm))
	}
	insns, err := asm.AppendInstructions(nil, bytes.NewReader(raw), binary.LittleEndian, "linux")
	if err != nil {
		t.Fatal(err)
	}
	return insns
}
