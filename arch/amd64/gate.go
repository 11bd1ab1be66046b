package amd64

import (
	"bytes"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/failure"
)

const (
	sysRTSigaction   = 13
	sysRTSigprocmask = 14
	sysGetpid        = 39
	sigTrap          = 5

	// gateRoom is the number of bytes below the stack pointer, behind the red zone, where the gate
	// saves what it changes.
	gateRoom = 128 + 40
)

func (isa) LoadsNumber(code []byte, nr uint64) bool {
	return bytes.HasPrefix(code, []byte{0xb8, byte(nr), byte(nr >> 8), byte(nr >> 16), byte(nr >> 24)})
}

func (isa) SigactionGate(b *arch.Buffer, behind arch.Addr, pid int) error {
	b.Bytes(0x83, 0xff, sigTrap) // cmp edi, 5
	b.Bytes(0x75, 0)             // jne: the call
	other := len(b.Code)
	b.Bytes(0x48, 0x8d, 0xa4, 0x24) // lea rsp, [rsp-room]
	b.Uint32(^uint32(gateRoom) + 1)
	b.Bytes(0x48, 0x89, 0x7c, 0x24, 8)  // mov [rsp+8], rdi
	b.Bytes(0x48, 0x89, 0x74, 0x24, 16) // mov [rsp+16], rsi
	b.Bytes(0x48, 0x89, 0x54, 0x24, 24) // mov [rsp+24], rdx
	b.Bytes(0x4c, 0x89, 0x54, 0x24, 32) // mov [rsp+32], r10
	b.Bytes(0x48, 0xc7, 0x04, 0x24)     // mov qword [rsp], 0
	b.Uint32(0)
	b.Bytes(0x31, 0xff, 0x31, 0xf6)           // rdi and rsi: 0
	b.Bytes(0x48, 0x89, 0xe2)                 // mov rdx, rsp
	b.Bytes(0x41, 0xba, 8, 0, 0, 0)           // mov r10d, 8
	b.Bytes(0xb8, sysRTSigprocmask, 0, 0, 0)  // mov eax, 14
	b.Bytes(0x0f, 0x05)                       // syscall
	b.Bytes(0xf6, 0x04, 0x24, 1<<(sigTrap-1)) // test byte [rsp], 16
	b.Bytes(0x74, 5+2+5)                      // jz: no further
	b.Bytes(0xb8, sysGetpid, 0, 0, 0)         // mov eax, 39
	b.Bytes(0x0f, 0x05)
	b.Bytes(0x3d) // cmp eax, pid
	b.Uint32(uint32(pid))
	b.Bytes(0x48, 0x8b, 0x7c, 0x24, 8)
	b.Bytes(0x48, 0x8b, 0x74, 0x24, 16)
	b.Bytes(0x48, 0x8b, 0x54, 0x24, 24)
	b.Bytes(0x4c, 0x8b, 0x54, 0x24, 32)
	b.Bytes(0x48, 0x8d, 0xa4, 0x24)
	b.Uint32(gateRoom)
	b.Bytes(0x74, 5+2+jumpLen) // jz: on
	b.Code[other-1] = byte(len(b.Code) - other)
	b.Bytes(0xb8, sysRTSigaction, 0, 0, 0, 0x0f, 0x05) // mov eax, 13; syscall
	end := b.PC() + jumpLen
	if !reaches(end, behind) {
		return failure.Unsupportedf("%v is out of a jump's reach from %v", behind, b.PC())
	}
	b.Bytes(opJmp)
	b.Uint32(uint32(behind - end))
	return nil
}

// TakesNumber implements arch.ISA: mov %rdi, %rax or mov %edi, %eax.
func (isa) TakesNumber(code []byte) bool {
	return bytes.HasPrefix(code, []byte{0x48, 0x89, 0xf8}) || bytes.HasPrefix(code, []byte{0x89, 0xf8})
}

func (isa) WrapperGate(b *arch.Buffer, aside arch.Addr) error {
	b.Bytes(0x83, 0xf8, sysRTSigaction) // cmp eax, 13
	b.Bytes(0x75, 3+6)                  // jne: on
	b.Bytes(0x83, 0xff, sigTrap)        // cmp edi, 5
	end := b.PC() + 6
	if !reaches(end, aside) {
		return failure.Unsupportedf("%v is out of a jump's reach from %v", aside, b.PC())
	}
	b.Bytes(0x0f, 0x84) // je aside
	b.Uint32(uint32(aside - end))
	return nil
}
