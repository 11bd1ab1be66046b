package interp

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/engine/handler/program"
)

// printk is trace_printk: up to three of %d %i %u %x %p with l and ll, %s (a string of the traced
// program) and %c. It returns the length of the text, or EINVAL if the kernel would refuse the
// format.
func (m *Machine) printk() (uint64, bool) {
	format, ok := m.mem(program.R1, uint64(uint32(m.r[program.R2])))
	if !ok {
		return 0, false
	}
	format, _, ended := bytes.Cut(format, []byte{0})
	if !ended {
		return errno(eInval), true
	}
	var text []byte
	args := m.r[program.R3:program.R6]
	for len(format) > 0 {
		c := format[0]
		if format = format[1:]; c != '%' {
			text = append(text, c)
			continue
		}
		if len(format) > 0 && format[0] == '%' {
			text, format = append(text, '%'), format[1:]
			continue
		}
		longs := len(format) - len(bytes.TrimLeft(format, "l"))
		format = format[longs:]
		if len(format) == 0 || len(args) == 0 {
			return errno(eInval), true
		}
		if text, ok = m.verb(text, format[0], longs, args[0]); !ok {
			return errno(eInval), true
		}
		format, args = format[1:], args[1:]
	}
	m.env.Print(string(bytes.TrimSuffix(text, []byte{'\n'})))
	return uint64(len(text)), true
}

func (m *Machine) verb(text []byte, verb byte, longs int, v uint64) ([]byte, bool) {
	if longs == 0 && verb != 'p' && verb != 's' {
		v = extend(v, 32)
	}
	switch verb {
	case 'd', 'i':
		return strconv.AppendInt(text, int64(v), 10), true
	case 'u', 'x':
		if longs == 0 {
			v = uint64(uint32(v))
		}
		return strconv.AppendUint(text, v, map[byte]int{'u': 10, 'x': 16}[verb]), true
	case 'p':
		return fmt.Appendf(text, "%016x", v), true
	case 'c':
		return append(text, byte(v)), true
	case 's':
		return append(text, m.text(v)...), true
	}
	return nil, false
}

// text reads a string of the traced program, cut where the kernel cuts it.
func (m *Machine) text(addr uint64) []byte {
	b := m.buf[:0]
	for len(b) < cap(b) {
		var c [1]byte
		if m.env.ReadMemory(arch.Addr(addr)+arch.Addr(len(b)), c[:]) != nil || c[0] == 0 {
			break
		}
		b = append(b, c[0])
	}
	return b
}
