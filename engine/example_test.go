package engine_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"runtime"

	"github.com/ptracer/ptracer/engine"
	"github.com/ptracer/ptracer/engine/event"
	"github.com/ptracer/ptracer/engine/handler/builtin"
)

// listing is a run of this test program that lists no tests and ends.
var listing = engine.Command{Path: os.Args[0], Args: []string{"-test.list=^none$"}}

// Count how often a program calls a function.
func Example() {
	s, err := engine.Start(context.Background(), listing)
	if err != nil {
		log.Fatal(err)
	}
	p, err := s.Register(engine.ProbeSpec{Location: "os.Exit"})
	if err != nil {
		log.Fatal(err)
	}
	_ = s.Resume(s.Processes()[0])
	<-s.Done()
	fmt.Println(s.Hits(p))
	// Output: 1
}

// Look at each call, and steer the program: here it ends with another status.
func Example_events() {
	s, err := engine.Start(context.Background(), listing)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := s.Register(engine.ProbeSpec{Location: "os.Exit", Action: engine.ActionCall, Func: steer}); err != nil {
		log.Fatal(err)
	}
	_, _ = s.Register(engine.ProbeSpec{Location: "os.Exit", Action: engine.ActionTell})
	pid := s.Processes()[0]
	_ = s.Resume(pid)
	for e := range s.Events(context.Background()) {
		if hit, ok := e.Body.(*event.Hit); ok {
			fmt.Println(hit.Location[len(hit.Location)-len("os.Exit"):])
		}
	}
	exit, _ := s.Exit(pid)
	fmt.Println(exit.Code())
	// Output:
	// os.Exit
	// 7
}

// steer changes the first argument of a Go function: register rax, or x0.
func steer(h engine.Hit) {
	r := h.Registers()
	r[map[string]int{"amd64": 10, "arm64": 0}[runtime.GOARCH]] = 7
	h.SetRegisters(r)
}

// A histogram of a function's argument: nothing stops but for as long as a
// verified program looks at a register.
func Example_handler() {
	s, err := engine.Start(context.Background(), listing)
	if err != nil {
		log.Fatal(err)
	}
	code := map[string]string{"amd64": "$rax", "arm64": "$x0"}[runtime.GOARCH] // Go's first argument
	h, err := s.OpenHandler(engine.HandlerSpec{Name: "hist", Params: builtin.Params{Exprs: []string{code}}})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	if _, err := s.Register(engine.ProbeSpec{Location: "os.Exit", Handler: h}); err != nil {
		log.Fatal(err)
	}
	_ = s.Resume(s.Processes()[0])
	<-s.Done()
	r, _ := h.Result()
	fmt.Println(r.(*builtin.Histogram).Count > 0, r.(*builtin.Histogram).Max)
	// Output: true 0
}
