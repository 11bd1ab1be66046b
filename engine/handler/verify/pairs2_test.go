package verify

import (
	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// readUser reads 8 bytes to the stack, from the address that an instruction puts into R3.
func readUser(addr asm.Instruction) asm.Instructions {
	return is(addr, asm.Mov.Reg(asm.R1, asm.R10), asm.Add.Imm(asm.R1, -8), asm.Mov.Imm(asm.R2, 8), asm.FnProbeReadUser.Call())
}

// readString reads a string of up to 16 bytes to data, and then the byte at the index of the result
// plus that.
func readString(more int32) asm.Instructions {
	return is(arg0, loadValue(asm.R1, "data", 0), asm.Mov.Imm(asm.R2, 16), asm.FnProbeReadUserStr.Call(),
		asm.JSLT.Imm(asm.R0, 0, "out"), loadValue(asm.R2, "data", 0), asm.Add.Reg(asm.R2, asm.R0),
		asm.LoadMem(asm.R1, asm.R2, int16(more), asm.Byte), at("out", ret0))
}

// output writes that much of the stack to the ring.
func output(size asm.Instruction) asm.Instructions {
	return is(arg0, loadMap(asm.R1, "ring"), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -8),
		size, asm.Mov.Imm(asm.R4, 0), asm.FnRingbufOutput.Call(), ret0)
}

func zero(off int16) asm.Instruction { return storeImm(asm.R10, off, 0, asm.DWord) }

var helpers = []pair{
	{name: "memory without the right", class: ErrRights, forth: program.ReadMemory, wrong: is(arg0, readUser(asm.Mov.Reg(asm.R3, asm.R3)), ret0), right: is(arg0, readUser(asm.Mov.Reg(asm.R3, asm.R3)), ret0)},
	{name: "writing without the right", class: ErrRights, rights: program.ReadMemory, forth: program.WriteMemory,
		wrong: is(arg0, asm.Mov.Reg(asm.R1, asm.R3), zero(-8), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -8), asm.Mov.Imm(asm.R3, 8), asm.FnProbeWriteUser.Call(), ret0),
		right: is(arg0, asm.Mov.Reg(asm.R1, asm.R3), zero(-8), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -8), asm.Mov.Imm(asm.R3, 8), asm.FnProbeWriteUser.Call(), ret0)},
	{name: "own address read", class: ErrUnsafe, wrong: is(readUser(asm.Mov.Reg(asm.R3, asm.R10)), ret0), right: is(readUser(asm.Mov.Imm(asm.R3, 64)), ret0)},
	{name: "key that was not written", class: ErrUnsafe,
		wrong: is(asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -4), loadMap(asm.R1, "counts"), asm.FnMapLookupElem.Call(), ret0), right: is(lookup, ret0)},
	{name: "address in a key", class: ErrUnsafe,
		wrong: is(asm.StoreMem(asm.R10, -8, asm.R1, asm.DWord), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -8), loadMap(asm.R1, "hash"), asm.FnMapLookupElem.Call(), ret0),
		right: is(zero(-8), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -8), loadMap(asm.R1, "hash"), asm.FnMapLookupElem.Call(), ret0)},
	{name: "map that has no keys", class: ErrUnsafe,
		wrong: is(zero(-8), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -8), loadMap(asm.R1, "ring"), asm.FnMapLookupElem.Call(), ret0),
		right: is(zero(-8), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -8), loadMap(asm.R1, "hash"), asm.FnMapLookupElem.Call(), ret0)},
	{name: "map that is none", class: ErrUnsafe,
		wrong: is(zero(-8), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -8), asm.FnMapLookupElem.Call(), ret0), right: is(lookup, ret0)},
	{name: "update of constants", class: ErrUnsafe, wrong: updated("consts", 0), right: updated("counts", 0)},
	{name: "flags that are none", class: ErrUnsafe, wrong: updated("counts", 4), right: updated("counts", 2)},
	{name: "memory too large", class: ErrUnsafe, wrong: is(zero(-8), output(asm.Mov.Imm(asm.R3, 16))), right: is(zero(-8), output(asm.Mov.Imm(asm.R3, 8)))},
	{name: "memory of any size", class: ErrUnsafe, wrong: is(zero(-8), output(asm.And.Imm(asm.R3, 15))), right: is(zero(-8), output(asm.And.Imm(asm.R3, 7)))},
	{name: "size that may be negative", class: ErrUnsafe, wrong: is(zero(-8), output(asm.Mov.Reg(asm.R3, asm.R3))), right: is(zero(-8), output(asm.RSh.Imm(asm.R3, 61)))},
	{name: "size 0", class: ErrUnsafe,
		wrong: is(asm.Mov.Reg(asm.R1, asm.R10), asm.Add.Imm(asm.R1, -16), asm.Mov.Imm(asm.R2, 0), asm.FnGetCurrentComm.Call(), ret0),
		right: is(asm.Mov.Reg(asm.R1, asm.R10), asm.Add.Imm(asm.R1, -16), asm.Mov.Imm(asm.R2, 16), asm.FnGetCurrentComm.Call(), asm.LoadMem(asm.R0, asm.R10, -8, asm.DWord), asm.Return())},
	{name: "context that was moved", class: ErrUnsafe,
		wrong: is(asm.Add.Imm(asm.R1, 8), asm.FnGetFuncIp.Call(), asm.Return()), right: is(asm.FnGetFuncIp.Call(), asm.Return())},
	{name: "context as memory", class: ErrUnsafe,
		wrong: is(asm.Mov.Imm(asm.R2, 8), asm.FnGetCurrentComm.Call(), ret0), right: is(asm.FnGetFuncIp.Call(), asm.Return())},
	{name: "result of none", class: ErrUnsafe,
		wrong: is(reserve, asm.JEq.Imm(asm.R6, 0, "end"), submit, asm.Return(), at("end", ret0)), right: is(reserve, asm.JEq.Imm(asm.R6, 0, "end"), submit, at("end", ret0))},
	{name: "length of a string as index", class: ErrUnsafe, wrong: readString(16), right: readString(15)},
	{name: "string that may change", class: ErrUnsafe, wrong: compared("data", 0), right: compared("consts", 4)},
	{name: "trace of stacks in another map", class: ErrUnsafe,
		wrong: is(loadMap(asm.R2, "counts"), asm.Mov.Imm(asm.R3, 256), asm.FnGetStackid.Call(), ret0),
		right: is(loadMap(asm.R2, "traces"), asm.Mov.Imm(asm.R3, 256), asm.FnGetStackid.Call(), ret0)},
	{name: "stack trace of any size", class: ErrUnsafe,
		wrong: is(asm.LoadMem(asm.R3, asm.R1, 112, asm.DWord), loadValue(asm.R2, "data", 0), asm.Mov.Imm(asm.R4, 256), asm.FnGetStack.Call(), ret0),
		right: is(asm.Mov.Imm(asm.R3, 32), loadValue(asm.R2, "data", 0), asm.Mov.Imm(asm.R4, 256), asm.FnGetStack.Call(), ret0)},
	{name: "address traced", class: ErrUnsafe, wrong: traced(asm.Mov.Reg(asm.R3, asm.R10)), right: traced(asm.Mov.Imm(asm.R4, 1))},
}

func updated(name string, flags int32) asm.Instructions {
	return is(zero(-8), zero(-16), zero(-24), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -8), asm.Mov.Reg(asm.R3, asm.R10),
		asm.Add.Imm(asm.R3, -24), asm.Mov.Imm(asm.R4, flags), loadMap(asm.R1, name), asm.FnMapUpdateElem.Call(), ret0)
}

func compared(name string, off uint32) asm.Instructions {
	return is(zero(-8), asm.Mov.Reg(asm.R1, asm.R10), asm.Add.Imm(asm.R1, -8), asm.Mov.Imm(asm.R2, 4), loadValue(asm.R3, name, off), asm.FnStrncmp.Call(), ret0)
}

func traced(arg asm.Instruction) asm.Instructions {
	return is(zero(-8), asm.Mov.Reg(asm.R1, asm.R10), asm.Add.Imm(asm.R1, -8), asm.Mov.Imm(asm.R2, 8), arg, asm.FnTracePrintk.Call(), ret0)
}

var flows = []pair{
	{name: "code that nothing leads to", class: ErrUnsafe,
		wrong: is(ret0, ret0), right: is(arg0, asm.JEq.Imm(asm.R3, 0, "x"), ret0, at("x", ret0))},
	{name: "loop for ever", class: ErrComplex,
		wrong: is(asm.Mov.Imm(asm.R0, 0), asm.Ja.Label("x").WithSymbol("x")),
		right: is(asm.Mov.Imm(asm.R0, 0), asm.Ja.Label("x"), asm.Return().WithSymbol("x"))},
	{name: "loop until memory changes", class: ErrComplex,
		wrong: is(loadValue(asm.R2, "data", 0), asm.LoadMem(asm.R1, asm.R2, 0, asm.DWord).WithSymbol("x"), asm.JEq.Imm(asm.R1, 0, "x"), ret0),
		right: is(loadValue(asm.R2, "data", 0), asm.Mov.Imm(asm.R3, 0), asm.Add.Imm(asm.R3, 1).WithSymbol("x"), asm.JGT.Imm(asm.R3, 50, "end"),
			asm.LoadMem(asm.R1, asm.R2, 0, asm.DWord), asm.JEq.Imm(asm.R1, 0, "x"), at("end", ret0))},
	{name: "loop that is too long", class: ErrComplex,
		wrong: counted(1 << 20), right: counted(1 << 10)},
	{name: "loop without a bound", class: ErrComplex,
		wrong: is(arg0, asm.Sub.Imm(asm.R3, 1).WithSymbol("x"), asm.JNE.Imm(asm.R3, 0, "x"), ret0),
		right: is(arg0, asm.And.Imm(asm.R3, 63), asm.Add.Imm(asm.R3, 1), asm.Sub.Imm(asm.R3, 1).WithSymbol("x"), asm.JNE.Imm(asm.R3, 0, "x"), ret0)},
}

// counted is a loop with that many rounds.
func counted(rounds int32) asm.Instructions {
	return is(asm.Mov.Imm(asm.R1, 0), asm.Add.Imm(asm.R1, 1).WithSymbol("x"), asm.JLT.Imm(asm.R1, rounds, "x"), ret0)
}

var functions = []pair{
	{name: "argument that was not given", class: ErrUnsafe,
		wrong: is(callFunc("f"), asm.Return(), at("f", is(asm.Mov.Reg(asm.R0, asm.R2), asm.Return()))),
		right: is(asm.Mov.Imm(asm.R2, 5), callFunc("f"), asm.Return(), at("f", is(asm.Mov.Reg(asm.R0, asm.R2), asm.Return())))},
	{name: "register of the caller", class: ErrUnsafe,
		wrong: is(asm.Mov.Imm(asm.R6, 5), callFunc("f"), asm.Return(), at("f", is(asm.Mov.Reg(asm.R0, asm.R6), asm.Return()))),
		right: is(asm.Mov.Imm(asm.R6, 5), callFunc("f"), asm.Mov.Reg(asm.R0, asm.R6), asm.Return(), at("f", ret0))},
	{name: "address of the function's own stack", class: ErrUnsafe,
		wrong: is(callFunc("f"), storeImm(asm.R0, -8, 1, asm.DWord), ret0, at("f", is(asm.Mov.Reg(asm.R0, asm.R10), asm.Return()))),
		right: is(asm.Mov.Reg(asm.R1, asm.R10), callFunc("f"), storeImm(asm.R0, -8, 1, asm.DWord), ret0, at("f", is(asm.Mov.Reg(asm.R0, asm.R1), asm.Return())))},
	{name: "address of the function's own stack, stored", class: ErrUnsafe,
		wrong: is(asm.Mov.Reg(asm.R1, asm.R10), callFunc("f"), asm.Return(), at("f", is(asm.StoreMem(asm.R1, -8, asm.R10, asm.DWord), ret0))),
		right: is(asm.Mov.Reg(asm.R1, asm.R10), callFunc("f"), asm.LoadMem(asm.R0, asm.R10, -8, asm.DWord), asm.Return(), at("f", is(storeImm(asm.R1, -8, 6, asm.DWord), ret0)))},
	{name: "recursion", class: ErrUnsafe,
		wrong: is(callFunc("f"), asm.Return(), at("f", is(callFunc("f"), asm.Return()))),
		right: is(callFunc("f"), asm.Return(), at("f", is(callFunc("g"), asm.Return())), at("g", ret0))},
	{name: "nine calls deep", class: ErrUnsafe, wrong: nested(9), right: nested(8)},
	{name: "record that a function forgets", class: ErrUnsafe,
		wrong: is(callFunc("f"), asm.Return(), at("f", is(reserve, ret0))),
		right: is(callFunc("f"), asm.JEq.Imm(asm.R0, 0, "end"), asm.Mov.Reg(asm.R6, asm.R0), submit, at("end", ret0), at("f", is(reserve, asm.Return())))},
}

func nested(depth int) asm.Instructions {
	list := is(callFunc("f2"), asm.Return())
	for d := 2; d < depth; d++ {
		list = is(list, at(fname(d), is(callFunc(fname(d+1)), asm.Return())))
	}
	return is(list, at(fname(depth), ret0))
}

func fname(d int) string { return "f" + string(rune('0'+d)) }

var loops = []pair{
	{name: "body with another result", class: ErrUnsafe,
		wrong: loopOf(asm.Mov.Imm(asm.R1, 5), is(asm.Mov.Imm(asm.R0, 2), asm.Return())), right: loopOf(asm.Mov.Imm(asm.R1, 5), ret0)},
	{name: "body that forgets a record", class: ErrUnsafe,
		wrong: loopOf(asm.Mov.Imm(asm.R1, 5), is(reserve, ret0)),
		right: loopOf(asm.Mov.Imm(asm.R1, 5), is(reserve, asm.JEq.Imm(asm.R6, 0, "end"), submit, at("end", ret0)))},
	{name: "body that ends the caller's record", class: ErrUnsafe,
		wrong: is(reserve, asm.JEq.Imm(asm.R6, 0, "end"), asm.StoreMem(asm.R10, -8, asm.R6, asm.DWord),
			asm.Mov.Imm(asm.R1, 5), loadFunc(asm.R2, "body"), asm.Mov.Reg(asm.R3, asm.R10), asm.Mov.Imm(asm.R4, 0), asm.FnLoop.Call(), submit, at("end", ret0),
			at("body", is(asm.LoadMem(asm.R6, asm.R2, -8, asm.DWord), submit, ret0))),
		right: is(reserve, asm.JEq.Imm(asm.R6, 0, "end"), asm.StoreMem(asm.R10, -8, asm.R6, asm.DWord),
			asm.Mov.Imm(asm.R1, 5), loadFunc(asm.R2, "body"), asm.Mov.Reg(asm.R3, asm.R10), asm.Mov.Imm(asm.R4, 0), asm.FnLoop.Call(), submit, at("end", ret0),
			at("body", is(asm.LoadMem(asm.R6, asm.R2, -8, asm.DWord), storeImm(asm.R6, 0, 1, asm.DWord), ret0)))},
	{name: "too many rounds", class: ErrComplex, wrong: loopOf(asm.Mov.Imm(asm.R1, 1<<20), ret0), right: loopOf(asm.Mov.Imm(asm.R1, 1<<18), ret0)},
	{name: "any number of rounds", class: ErrComplex,
		wrong: loopOf(asm.LoadMem(asm.R1, asm.R1, 112, asm.DWord), ret0), right: loopOf(asm.LoadMem(asm.R1, asm.R1, 112, asm.Byte), ret0)},
	{name: "index of the rounds", class: ErrUnsafe, wrong: loopOf(asm.Mov.Imm(asm.R1, 33), byIndex), right: loopOf(asm.Mov.Imm(asm.R1, 32), byIndex)},
	{name: "counter of the rounds", class: ErrUnsafe,
		wrong: is(zero(-8), loopOf(asm.Mov.Imm(asm.R1, 32), byCounter(false))), right: is(zero(-8), loopOf(asm.Mov.Imm(asm.R1, 32), byCounter(true)))},
	{name: "memory of rounds that may be none", class: ErrUnsafe,
		wrong: is(asm.Mov.Imm(asm.R1, 3), loadFunc(asm.R2, "body"), asm.Mov.Reg(asm.R3, asm.R10), asm.Mov.Imm(asm.R4, 0), asm.FnLoop.Call(),
			asm.LoadMem(asm.R0, asm.R10, -8, asm.DWord), asm.Return(), at("body", is(storeImm(asm.R2, -8, 1, asm.DWord), ret0))),
		right: is(zero(-8), asm.Mov.Imm(asm.R1, 3), loadFunc(asm.R2, "body"), asm.Mov.Reg(asm.R3, asm.R10), asm.Mov.Imm(asm.R4, 0), asm.FnLoop.Call(),
			asm.LoadMem(asm.R0, asm.R10, -8, asm.DWord), asm.Return(), at("body", is(storeImm(asm.R2, -8, 1, asm.DWord), ret0)))},
}

// byIndex reads a byte of data at the round's number.
var byIndex = is(loadValue(asm.R3, "data", 0), asm.Add.Reg(asm.R3, asm.R1), asm.LoadMem(asm.R4, asm.R3, 0, asm.Byte), ret0)

// byCounter reads a byte at a counter in the caller's stack, with a test or
// without.
func byCounter(tested bool) asm.Instructions {
	test := asm.Instructions{}
	if tested {
		test = is(asm.JGT.Imm(asm.R4, 31, "end"))
	}
	return is(loadValue(asm.R3, "data", 0), asm.LoadMem(asm.R4, asm.R2, -8, asm.DWord), asm.Mov.Reg(asm.R5, asm.R4), asm.Add.Imm(asm.R5, 1),
		asm.StoreMem(asm.R2, -8, asm.R5, asm.DWord), test, asm.Add.Reg(asm.R3, asm.R4), asm.LoadMem(asm.R4, asm.R3, 0, asm.Byte), at("end", ret0))
}
