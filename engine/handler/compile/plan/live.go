package plan

import "github.com/ptracer/ptracer/engine/handler/program"

// next returns the operations that may run behind operation i: the next one, if fall is true, and
// the one that it jumps to, if that is not -1.
func (b *builder) next(i int) (fall bool, to int) {
	switch o := &b.Ops[i]; o.Kind {
	case Exit:
		return false, -1
	case Goto:
		return false, o.To
	case Jump:
		return true, o.To
	case Lookup:
		return true, o.Miss
	}
	return true, -1
}

// labels marks the targets of jumps, and the operations in loops.
func (b *builder) labels() {
	for i := range b.Ops {
		b.Ops[i].Label, b.Ops[i].Loop = false, false
	}
	for i := range b.Ops {
		_, to := b.next(i)
		if to < 0 {
			continue
		}
		b.Ops[to].Label = true
		for j := to; j <= i; j++ {
			b.Ops[j].Loop = true
		}
	}
}

// reach removes operations that no path from the start leads to.
func (b *builder) reach() {
	seen := make([]bool, len(b.Ops)+1)
	todo := []int{0}
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for i < len(b.Ops) && !seen[i] {
			seen[i] = true
			o := &b.Ops[i]
			if (o.Kind == CallFunc || o.Kind == FuncAddr || o.Kind == Repeat) && o.To >= 0 {
				todo = append(todo, b.Funcs[o.To].Start)
			}
			fall, to := b.next(i)
			if to >= 0 {
				todo = append(todo, to)
			}
			if !fall {
				break
			}
			i++
		}
	}
	for i := range b.Ops {
		if !seen[i] {
			b.Ops[i].Kind = Nop
		}
	}
	for f := range b.Funcs {
		b.Funcs[f].Used = seen[b.Funcs[f].Start]
	}
}

// trim removes operations that set unread registers and stores to the stack that are not read,
// until none are left.
func (b *builder) trim() {
	b.labels()
	for {
		clear(b.in)
		clear(b.entry)
		for again := true; again; {
			again = false
			for f := len(b.Funcs) - 1; f >= 0; f-- {
				again = b.liveness(f) || again
			}
		}
		changed := false
		for i := range b.Ops {
			o := &b.Ops[i]
			if o.Kind == Atomic && o.Fetch && o.Fn < program.AtomicXchg && o.Defines()&o.Live == 0 {
				o.Fetch = false
			}
			if o.pure() && o.Defines()&o.Live == 0 {
				o.Kind, changed = Nop, true
			}
		}
		for f := range b.Funcs {
			changed = b.deadStores(f) || changed
		}
		if !changed {
			return
		}
	}
}

// liveness finds the registers that are live behind each operation of function f, and reports
// whether it has found something that other functions depend on.
func (b *builder) liveness(f int) (news bool) {
	fn := &b.Funcs[f]
	result := f > 0 || b.Target.Result
	entry := func(f int) uint16 { return b.entry[f] }
	for again := true; again; {
		again = false
		for i := fn.End - 1; i >= fn.Start; i-- {
			o := &b.Ops[i]
			fall, to := b.next(i)
			live := uint16(0)
			if fall && i+1 < fn.End {
				live = b.in[i+1]
			}
			if to >= 0 {
				live |= b.in[to]
			}
			o.Live = live
			if !o.pure() || o.Defines()&live != 0 {
				live = live&^o.Defines() | o.uses(entry, result)
			}
			again = again || o.Label && b.in[i] != live
			b.in[i] = live
		}
	}
	expects := b.in[fn.Start] & args
	news = b.entry[f] != expects
	b.entry[f] = expects
	return news
}

// deadStores removes the stores to function f's stack that are not read, if all accesses to the
// stack are known.
func (b *builder) deadStores(f int) (changed bool) {
	if b.escapes(f) {
		return false
	}
	fn := &b.Funcs[f]
	var read [program.StackSize]bool
	each := func(o *Op, size int, do func(at *bool)) {
		for n := range size {
			if at := int(o.Mem.Off) + n + program.StackSize; at >= 0 && at < len(read) {
				do(&read[at])
			}
		}
	}
	for i := fn.Start; i < fn.End; i++ {
		o := &b.Ops[i]
		size := int(o.Size)
		if o.Kind == Lookup {
			size = keySize
		}
		if o.hasMem() && o.Kind != Store && o.Mem.Base == BaseStack {
			each(o, size, func(at *bool) { *at = true })
		}
	}
	for i := fn.Start; i < fn.End; i++ {
		o := &b.Ops[i]
		if o.Kind != Store || o.Mem.Base != BaseStack {
			continue
		}
		used := false
		each(o, int(o.Size), func(at *bool) { used = used || *at })
		if !used {
			o.Kind, changed = Nop, true
		}
	}
	return changed
}
