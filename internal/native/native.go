// Package native runs machine code of ours in the test's own process, with
// registers that the test gives and sees again, all of them, flags included:
// what code that lies in a traced program will meet, without one.
//
// A Machine is a piece of memory: first the code, never writable while it can
// be executed, then data in its reach. Between Go and the code stand stubs that
// are written at the code's end: one loads every register from the state and
// jumps, one stores every register and returns to Go. The code calls back by
// such stubs, too: Go answers and goes back in. Signals meanwhile find Go's
// signal stack, as in foreign code.
//
// A Handler is a compiled handler in a Machine, run as a probe will and held to
// what it says of itself.
//
// It is imported by tests only; it knows amd64 and arm64, and of this module
// package arch and what compiled code is.
package native

import (
	"fmt"
	"syscall"
	"unsafe"

	"github.com/ptracer/ptracer/arch"
)

// Sizes of a Machine's parts, in bytes.
const (
	CodeSize  = 1 << 20
	stubSize  = 64 << 10 // of CodeSize, at its end
	stateSize = 4096
	DataSize  = 4 << 20 // the test's own
	size      = CodeSize + stateSize + DataSize
)

// MaxHelpers is how many functions the code can call.
const MaxHelpers = 256

// Words of the state.
const (
	stateSP     = arch.Words + iota // Go's stack pointer
	stateFP                         // and its frame pointer
	statePC                         // where to go
	stateHelper                     // which stub came back; helpers' are 1 and up
)

// Machine is memory to run code in.
type Machine struct {
	mem    []byte
	helper [MaxHelpers]arch.Addr
	enter  arch.Addr // stub: Go to code
	exit   arch.Addr // stub: code to Go
}

// New makes a Machine. Close gives its memory back.
func New() (*Machine, error) {
	mem, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("native: memory: %w", err)
	}
	m := &Machine{mem: mem}
	if err := m.stubs(); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// Close gives the memory back.
func (m *Machine) Close() error { return syscall.Munmap(m.mem) }

// Base is where code lies.
func (m *Machine) Base() arch.Addr { return arch.Addr(uintptr(unsafe.Pointer(&m.mem[0]))) }

// Data is the test's memory and where it lies.
func (m *Machine) Data() ([]byte, arch.Addr) {
	return m.mem[CodeSize+stateSize:], m.Base() + CodeSize + stateSize
}

// Exit is where the code goes to end.
func (m *Machine) Exit() arch.Addr { return m.exit }

// Helper is where helper n lies, 0 to MaxHelpers-1.
func (m *Machine) Helper(n int) arch.Addr { return m.helper[n] }

// Load puts code at Base.
func (m *Machine) Load(code []byte) error {
	if len(code) > CodeSize-stubSize {
		return fmt.Errorf("native: %d bytes of code", len(code))
	}
	return m.write(0, code)
}

// LoadAt puts code at an offset from Base, a multiple of the page size, behind
// what Load has put there.
func (m *Machine) LoadAt(at int, code []byte) error {
	if at+len(code) > CodeSize-stubSize {
		return fmt.Errorf("native: %d bytes of code at %#x", len(code), at)
	}
	return m.write(at, code)
}

// write puts code at offset at, a multiple of the page size. Only the pages
// that it needs change their protection, which costs by the page where the CPU
// is emulated.
func (m *Machine) write(at int, code []byte) error {
	page := syscall.Getpagesize()
	text := m.mem[at:][:(max(len(code), 1)+page-1)&^(page-1)]
	if err := syscall.Mprotect(text, syscall.PROT_READ|syscall.PROT_WRITE); err != nil {
		return fmt.Errorf("native: writable: %w", err)
	}
	copy(text, code)
	flush(uintptr(m.Base())+uintptr(at), uintptr(len(code)))
	if err := syscall.Mprotect(text, syscall.PROT_READ|syscall.PROT_EXEC); err != nil {
		return fmt.Errorf("native: executable: %w", err)
	}
	return nil
}

// stubs writes the stubs at the end of the code.
func (m *Machine) stubs() error {
	b := &arch.Buffer{Addr: m.Base() + CodeSize - stubSize}
	state := m.Base() + CodeSize
	m.enter = b.PC()
	enterStub(b, state)
	m.exit = b.PC()
	helperStub(b, state, 0)
	leaveStub(b, state)
	for n := range m.helper {
		m.helper[n] = b.PC()
		helperStub(b, state, n+1)
		leaveStub(b, state)
	}
	if len(b.Code) > stubSize {
		return fmt.Errorf("native: %d bytes of stubs", len(b.Code))
	}
	return m.write(CodeSize-stubSize, b.Code)
}

// state is what the stubs load and store: registers by their words, then the
// words above.
type state [stateHelper + 1]uint64

func (m *Machine) state() *state { return (*state)(unsafe.Pointer(&m.mem[CodeSize])) }

// Run goes to address pc with registers r and leaves in r what they are when
// the code comes to Exit. Helpers are answered by call; it gets the registers
// and changes them. The code sees the stack pointer of r.
func (m *Machine) Run(pc arch.Addr, r *arch.Regs, call func(n int, r *arch.Regs)) {
	for s := m.state(); ; {
		*(*arch.Regs)(s[:]) = *r
		s[statePC] = uint64(pc)
		enter(uintptr(m.enter))
		*r = *(*arch.Regs)(s[:])
		n := int(s[stateHelper])
		if n == 0 {
			return
		}
		call(n-1, r)
		pc = back(r)
	}
}

// Bench goes to pc n times; the registers are what they are.
func (m *Machine) Bench(pc arch.Addr, r *arch.Regs, n int) {
	s := m.state()
	*(*arch.Regs)(s[:]) = *r
	s[statePC] = uint64(pc)
	for range n {
		enter(uintptr(m.enter))
	}
}

// enter calls the code at addr.
func enter(addr uintptr)

// flush makes code that was written visible to where instructions are fetched.
func flush(addr, n uintptr)
