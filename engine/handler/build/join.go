package build

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// Before puts a guard in front of any program: the code that guard builds runs first. When it
// reaches its end, the program follows, with the context in R1 as if it had started alone. When the
// guard calls Stop, the program does not run. Filters, samplers and limits are guards.
//
// Before does not change p; the guard's maps come behind p's. The guard must not call functions of
// its own. It may use the whole stack, since p does not see the contents.
func Before(p *program.Program, ctx program.Context, guard func(b *Builder)) (*program.Program, error) {
	b := New(p.Name, ctx)
	guard(b)
	b.Add(asm.Mov.Reg(R1, Ctx), asm.Return())
	g, err := b.Program()
	if err != nil {
		return nil, err
	}
	return join(g, p), nil
}

// join replaces g's last instruction, an exit, by p.
func join(g, p *program.Program) *program.Program {
	head := slices.Clone(g.Insns[:len(g.Insns)-1])
	for i := range head {
		if head[i].Wide() && (head[i].Src == program.PseudoMap || head[i].Src == program.PseudoMapValue) {
			head[i].Imm += int32(len(p.Maps))
		}
	}
	out := *p
	out.Insns = append(head, p.Insns...)
	out.Maps = append(slices.Clone(p.Maps), renamed(g.Maps, p.Maps)...)
	out.Funcs = nil
	for i, f := range p.Funcs {
		if i > 0 {
			f.Start += len(head)
		}
		out.Funcs = append(out.Funcs, f)
	}
	if p.Source != nil {
		out.Source = func(i int) string {
			if i < len(head) {
				return ""
			}
			return p.Source(i - len(head))
		}
	}
	return &out
}

// renamed gives maps names that none of the others has.
func renamed(maps, others []program.Map) []program.Map {
	taken := map[string]bool{}
	for _, m := range others {
		taken[m.Name] = true
	}
	maps = slices.Clone(maps)
	for i := range maps {
		base := maps[i].Name
		for n := 2; taken[maps[i].Name]; n++ {
			maps[i].Name = fmt.Sprintf("%s_%d", base, n)
		}
		taken[maps[i].Name] = true
	}
	return maps
}
