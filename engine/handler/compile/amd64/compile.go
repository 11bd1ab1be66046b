// Package amd64 makes x86-64 machine code of a plan. Each operation becomes a few instructions; R0
// to R9 have machine registers of their own all the time.
//
// The code uses only general registers, and no instruction beyond what every x86-64 has, unless the
// target permits it. The package is pure; it imports package plan and what that imports.
package amd64

import "github.com/ptracer/ptracer/engine/handler/compile/plan"

// compiler writes the code of a plan.
type compiler struct {
	plan.Writer
	jumps    []jump
	left     *plan.Op        // a load, left to the operation behind it
	relative []plan.Relative // see plan.Code
	linked   []plan.Relative // the list of the last complete pass
}

// Compile makes the code of p.
func Compile(p *plan.Plan) (*plan.Code, error) {
	c := &compiler{Writer: plan.NewWriter(p)}
	code, err := c.Run(c)
	if err == nil {
		code.Relative, code.Movable = c.linked, true
	}
	return code, err
}
