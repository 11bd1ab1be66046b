package line

import (
	"fmt"

	"github.com/ptracer/ptracer/symbols/dwarf/raw"
)

// Opcodes of a line table's program (DW_LNS_, DW_LNE_).
const (
	lnsExtended = iota
	lnsCopy
	lnsAdvancePC
	lnsAdvanceLine
	lnsSetFile
	lnsSetColumn
	lnsNegateStmt
	lnsBasicBlock
	lnsConstAddPC
	lnsFixedAdvancePC
	lnsPrologueEnd
	lnsEpilogueBegin
	lnsISA

	lneEnd           = 1
	lneAddress       = 2
	lneDefineFile    = 3
	lneDiscriminator = 4
)

// machine executes a line table's program.
type machine struct {
	t     *Table
	row   Row
	op    uint64 // number of the operation in the instruction at row.Addr
	line  int64
	yield func(*Row) bool
	done  bool
}

// Rows calls yield for each row, until it returns false. The row is overwritten by the next one.
// Rows of one sequence, up to one with End, are by ascending addresses; sequences are not.
func (t *Table) Rows(yield func(*Row) bool) error {
	m := &machine{t: t, yield: yield}
	m.reset()
	b := &raw.Buf{B: t.program}
	for b.Left() > 0 && !m.done {
		code := b.U8()
		switch {
		case code >= t.opcodeBase:
			m.special(code)
		case code == lnsExtended:
			m.extended(b)
		default:
			m.standard(b, code)
		}
	}
	if b.Err != nil {
		return fmt.Errorf("line table: %w", b.Err)
	}
	return nil
}

// reset begins a sequence.
func (m *machine) reset() {
	m.row = Row{File: 1, Line: 1, Stmt: m.t.isStmt}
	m.op, m.line = 0, 1
}

// emit adds a row.
func (m *machine) emit() {
	m.row.Line = int(min(max(m.line, 0), 1<<31-1))
	if !m.yield(&m.row) {
		m.done = true
	}
	m.row.PrologueEnd, m.row.EpilogueBegin, m.row.Discriminator = false, false, 0
}

// advance moves on by a number of operations.
func (m *machine) advance(n uint64) {
	t := m.t
	if t.maxOps == 1 {
		m.row.Addr += t.minInst * n
		return
	}
	m.row.Addr += t.minInst * ((m.op + n) / t.maxOps)
	m.op = (m.op + n) % t.maxOps
}

// special is an opcode that advances both address and line, and adds a row.
func (m *machine) special(code uint8) {
	n := code - m.t.opcodeBase
	m.advance(uint64(n / m.t.lineRange))
	m.line += int64(m.t.lineBase) + int64(n%m.t.lineRange)
	m.emit()
}

// standard is an opcode with LEB128 operands. One that is not known has as many as the header says.
func (m *machine) standard(b *raw.Buf, code uint8) {
	switch code {
	case lnsCopy:
		m.emit()
	case lnsAdvancePC:
		m.advance(b.ULEB())
	case lnsAdvanceLine:
		m.line += b.SLEB()
	case lnsSetFile:
		m.row.File = int(min(b.ULEB(), maxFiles))
	case lnsSetColumn:
		m.row.Column = int(min(b.ULEB(), 1<<31-1))
	case lnsNegateStmt:
		m.row.Stmt = !m.row.Stmt
	case lnsBasicBlock:
	case lnsConstAddPC:
		m.advance(uint64((255 - m.t.opcodeBase) / m.t.lineRange))
	case lnsFixedAdvancePC:
		m.row.Addr += uint64(b.U16())
		m.op = 0
	case lnsPrologueEnd:
		m.row.PrologueEnd = true
	case lnsEpilogueBegin:
		m.row.EpilogueBegin = true
	case lnsISA:
		b.SkipLEB()
	default:
		for range m.t.lengths[code-1] {
			b.SkipLEB()
		}
	}
}

// extended is an opcode with its length.
func (m *machine) extended(b *raw.Buf) {
	e := &raw.Buf{B: b.Bytes(b.ULEB())}
	if b.Err != nil {
		return
	}
	switch e.U8() {
	case lneEnd:
		m.row.End = true
		m.emit()
		m.reset()
	case lneAddress:
		m.row.Addr, m.op = e.Uint(e.Left()), 0
	case lneDiscriminator:
		m.row.Discriminator = int(min(e.ULEB(), 1<<31-1))
	case lneDefineFile:
		if name := e.Text(); len(m.t.names) < maxFiles {
			m.t.names = append(m.t.names, fileEntry{string(name), e.ULEB()})
		}
	}
	if e.Err != nil {
		b.Fail(e.Err)
	}
}
