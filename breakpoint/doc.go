// Package breakpoint changes code bytes in a tracee: it has the sites, the slots
// that hold their displaced instructions, and the patches themselves.
//
// A Table belongs to one address space. It reads and writes that space through Memory and gets room
// for slots through Mapper. It makes no system call itself, so tests run it on plain byte slices.
// One write of a trap instruction arms a site, after its slot and its index entry have been
// written. The site stays armed until it is removed: a thread passes through the slot, so that no
// thread can pass the site while it is disarmed for a moment.
//
// A Table is not safe for concurrent use: it lives on the session's thread. The package imports
// arch and nothing else of the module.
package breakpoint
