// Package mangled reads the names that compilers give to functions, of C++ and Rust, of
// Go's generic functions and of parts that are moved away: what they read like, and whether
// a name as people write it can mean one.
package mangled
