package program

import (
	"strconv"
	"strings"
)

// Place is the location for a program according to its section's name in the object file:
// "uprobe/PATH:FUNCTION+OFFSET" and similar forms. Parts that the name does not have are empty.
type Place struct {
	Return bool   // at the function's return, not at its entry
	Kernel bool   // a function of the kernel's: kprobe, kretprobe
	Many   bool   // Func is a pattern: uprobe.multi
	Path   string // of the executable or library
	Func   string
	Offset uint64 // from the function's start, or in the file if there is none
}

// Place returns the location for the program; false if its section's name has none.
func (p *Program) Place() (Place, bool) {
	kind, target, _ := strings.Cut(p.Section, "/")
	kind, sleeps := strings.CutSuffix(kind, ".s")
	kind, many := strings.CutSuffix(kind, ".multi")
	at := Place{Many: many}
	switch kind {
	case "uprobe":
	case "uretprobe":
		at.Return = true
	case "kprobe":
		at.Kernel = true
	case "kretprobe":
		at.Return, at.Kernel = true, true
	default:
		return Place{}, false
	}
	if at.Kernel && sleeps {
		return Place{}, false
	}
	if !at.Kernel {
		i := strings.LastIndexByte(target, ':')
		if i < 0 {
			at.Path = target
			return at, true
		}
		at.Path, target = target[:i], target[i+1:]
	}
	at.Func = target
	if i := strings.LastIndexByte(target, '+'); i >= 0 && !at.Many {
		off, err := strconv.ParseUint(target[i+1:], 0, 64)
		if err != nil {
			return Place{}, false
		}
		at.Func, at.Offset = target[:i], off
	}
	if off, err := strconv.ParseUint(at.Func, 0, 64); err == nil && at.Offset == 0 && !at.Kernel {
		at.Func, at.Offset = "", off
	}
	return at, true
}
