// Package source relates addresses of a file to lines of its source: which instructions a line
// stands for, and which line, function and inlined calls an instruction is of.
package source
