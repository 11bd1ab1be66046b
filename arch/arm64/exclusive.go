package arm64

import "github.com/ptracer/ptracer/arch"

// exclusiveReach is the largest distance of a load-exclusive and its store, in instructions. The
// architecture guarantees progress for 128 bytes.
const exclusiveReach = 32

// Exclusive looks for a load-exclusive from which control can reach "at", and a store-exclusive
// that control can reach from there. An exception clears the monitor (on the way back the kernel
// uses clrex or eret), so that after a trap between the two the store fails and the program repeats
// both, for ever. A trap on the load itself has no such effect. Exclusive follows both ways of
// branches.
func (isa) Exclusive(code []byte, base, at arch.Addr) (start arch.Addr, inside bool) {
	w := walker{code: code, base: base}
	if at < base || at%instLen != 0 || !w.reaches(at, isStoreExclusive) {
		return 0, false
	}
	// The nearest load is as good as any: a trap there can't make a store fail.
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

// inst returns the instruction at at, if it belongs to the function.
func (w *walker) inst(at arch.Addr) (uint32, bool) {
	off := at - w.base
	if at < w.base || off >= arch.Addr(len(w.code)) {
		return 0, false
	}
	inst, err := word(w.code[off:], at)
	return inst, err == nil
}

// loadReaches reports whether load is a load-exclusive with a monitor that is still held when
// control reaches at.
func (w *walker) loadReaches(load, at arch.Addr) bool {
	inst, ok := w.inst(load)
	if !ok || !isLoadExclusive(inst) {
		return false
	}
	return w.walk(load+instLen, func(pc arch.Addr, _ uint32) bool { return pc == at })
}

// reaches reports whether the first instruction from at on, including at, that touches the monitor
// can be a wanted one.
func (w *walker) reaches(at arch.Addr, wanted func(uint32) bool) bool {
	return w.walk(at, func(_ arch.Addr, inst uint32) bool { return wanted(inst) })
}

// walk visits the instructions that can be executed from pc on, until found returns true. It does
// not go beyond an instruction that touches the monitor or leaves the function.
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

// successors returns the addresses where inst can continue within a sequence.
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

// isExclusive reports whether w is ldxr, ldaxr, stxr or stlxr of any size or, for words and larger,
// a pair of these; with a smaller size that would be casp.
func isExclusive(w uint32) bool {
	return w&0x3fa00000 == 0x08000000 || w&0xbfa00000 == 0x88200000
}

func isLoadExclusive(w uint32) bool  { return isExclusive(w) && w>>22&1 == 1 }
func isStoreExclusive(w uint32) bool { return isExclusive(w) && w>>22&1 == 0 }

func touchesMonitor(w uint32) bool {
	const clrex = 0xd503305f // with any value in bits 11:8
	return isExclusive(w) || w&0xfffff0ff == clrex
}
