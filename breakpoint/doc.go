// Package breakpoint is every code byte we change in a tracee: sites, the
// slots that hold their displaced instructions, and the patches themselves.
//
// A Table belongs to one address space. It reads and writes that space through
// Memory and gets room for slots through Mapper; it makes no system call of its
// own, so that it is tested on plain byte slices. A site is armed by one write
// of a trap instruction, after its slot and its index entry are in place, and
// stays armed until it is removed: threads pass through the slot and never
// past a site that is not there for a moment.
//
// Not safe for concurrent use: it lives on the session's thread. It imports
// arch and nothing else of the module.
package breakpoint
