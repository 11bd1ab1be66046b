// Check holds the module to its own rules about imports, those that no general
// tool knows. It reads the sources that go into the product (no tests, no
// fixtures), prints each breach as "file:line: rule: why", and exits with 1 if
// there is one, with 2 if it could not read them.
//
//	go run ./internal/check [DIR]
//
// The rules themselves are in rules.go. It imports nothing of the module.
package main

import (
	"fmt"
	"io/fs"
	"os"
)

func main() {
	dir := "."
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	breaches, files, err := check(os.DirFS(dir))
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(2)
	}
	for _, b := range breaches {
		fmt.Println(b)
	}
	if len(breaches) > 0 {
		os.Exit(1)
	}
	fmt.Printf("rules: %d files in order\n", files)
}

// check applies all rules to the module below fsys, and tells of how many
// files it looked at.
func check(fsys fs.FS) (breaches []breach, files int, err error) {
	sources, err := load(fsys)
	if err != nil {
		return nil, 0, err
	}
	if len(sources) == 0 {
		return nil, 0, fmt.Errorf("no Go files")
	}
	for _, s := range sources {
		for _, r := range rules {
			breaches = append(breaches, r.apply(s)...)
		}
	}
	breaches = append(breaches, onePicker(sources)...)
	return append(breaches, small(sources)...), len(sources), nil
}
