// Package arm64 makes AArch64 machine code of a plan. Each operation becomes a few instructions; R0
// to R9 have machine registers of their own all the time.
//
// The code uses only general registers, and instructions that every ARMv8.0 has, unless the target
// permits more. The package is pure; it imports package plan and what that imports.
package arm64

import "github.com/ptracer/ptracer/engine/handler/compile/plan"

// compiler writes the code of a plan.
type compiler struct {
	plan.Writer
	jumps []jump
}

// Compile makes the code of p.
func Compile(p *plan.Plan) (*plan.Code, error) {
	c := &compiler{Writer: plan.NewWriter(p)}
	return c.Run(c)
}
