// Package gofile reads what only Go's linker writes into a file: the table of functions
// that the runtime needs, which is there where symbols were stripped, and what it says of
// how these functions are called.
package gofile
