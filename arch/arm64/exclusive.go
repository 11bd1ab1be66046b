package arm64

import "github.com/ptracer/ptracer/arch"

// exclusiveReach is how many instructions a load-exclusive and its store may
// be apart. The architecture promises progress for 128 bytes.
const exclusiveReach = 32

// Exclusive looks for a load-exclusive from which control can come to "at",
// and a store-exclusive to which it can go on from there. An exception clears
// the monitor (the kernel's way back does, by clrex or eret), so a trap
// between the two lets the store fail, the program tries again, and for ever.
// A trap on the load itself does no harm. Both ways branches are followed.
func (isa) Exclusive(code []byte, base, at arch.Addr) (start arch.Addr, inside bool) {
	w := walker{code: code, base: base}
	if at < base || at%instLen != 0 || !w.reaches(at, isStoreExclusive) {
		return 0, false
	}
	// The nearest one is as good as any: a trap there can't fail any store.
	for d := arch.Addr(instLen); d <= exclusiveReach*instLen; d += instLen {
		for _, load := range [2]arch.Addr{at - d, at + d} {
			if w.loadReaches(load, at) {
				return load, true
			}
		}
	}
	return 0, false
}

// walker follows control through the code of one function.
type walker struct {
	code []byte
	base arch.Addr
}

// inst is the instruction at at, if it is the function's.
func (w *walker) inst(at arch.Addr) (uint32, bool) {
	off := at - w.base
	if at < w.base || off >= arch.Addr(len(w.code)) {
		return 0, false
	}
	inst, err := word(w.code[off:], at)
	return inst, err == nil
}

// loadReaches says whether load is a load-exclusive whose monitor is still
// held when control comes to at.
func (w *walker) loadReaches(load, at arch.Addr) bool {
	inst, ok := w.inst(load)
	if !ok || !isLoadExclusive(inst) {
		return false
	}
	return w.walk(load+instLen, func(pc arch.Addr, _ uint32) bool { return pc == at })
}

// reaches says whether an instruction that is wanted can be the next one after
// at, or be at itself, that touches the monitor.
func (w *walker) reaches(at arch.Addr, wanted func(uint32) bool) bool {
	return w.walk(at, func(_ arch.Addr, inst uint32) bool { return wanted(inst) })
}

// walk visits what can be executed from pc on, until found says yes, without
// passing an instruction that touches the monitor or leaves the function.
func (w *walker) walk(pc arch.Addr, found func(arch.Addr, uint32) bool) bool {
	todo := []arch.Addr{pc}
	seen := map[arch.Addr]bool{}
	for len(todo) > 0 && len(seen) < exclusiveReach {
		pc, todo = todo[0], todo[1:]
		inst, ok := w.inst(pc)
		if !ok || seen[pc] {
			continue
		}
		seen[pc] = true
		if found(pc, inst) {
			return true
		}
		if touchesMonitor(inst) {
			continue
		}
		todo = append(todo, successors(inst, pc)...)
	}
	return false
}

// successors are where inst can go on within a sequence.
func successors(inst uint32, pc arch.Addr) []arch.Addr {
	f := classify(inst)
	switch kinds[f] {
	case arch.KindOther, arch.KindNop:
		return []arch.Addr{pc + instLen}
	case arch.KindJump:
		return []arch.Addr{targets[f](inst, pc)}
	case arch.KindBranch:
		return []arch.Addr{pc + instLen, targets[f](inst, pc)}
	}
	return nil
}

// isExclusive is ldxr, ldaxr, stxr, stlxr in all sizes and, where the size is
// a word or more, their pairs; with a smaller size that would be casp.
func isExclusive(w uint32) bool {
	return w&0x3fa00000 == 0x08000000 || w&0xbfa00000 == 0x88200000
}

func isLoadExclusive(w uint32) bool  { return isExclusive(w) && w>>22&1 == 1 }
func isStoreExclusive(w uint32) bool { return isExclusive(w) && w>>22&1 == 0 }

func touchesMonitor(w uint32) bool {
	const clrex = 0xd503305f // with any number in bits 11:8
	return isExclusive(w) || w&0xfffff0ff == clrex
}
