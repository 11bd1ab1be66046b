// Attack runs the server for all users under attack: users that ask for what is not theirs,
// clients that send nonsense, programs that execute set-uid programs and scribble over what ptracer
// shares with them, workers that their users stop and kill. Meanwhile another user and root count, and must
// count right.
//
//	go run ./internal/attack [-time 2m] [-seed N] [-ptracer FILE] [-v]
//
// Every answer of the server is held against the kernel's: what a user was given of a process
// must have been allowed to that user by ptrace before or behind the request
// (/proc/PID/mem opens by the same check). What is wrong ends the run with status 1; -seed with what
// was printed repeats the choices, though not the moments.
//
// It needs root, and makes processes of two users that have no name.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// The users. Nothing else on the machine is theirs.
const userA, userB = 61001, 61002

func main() {
	if part := os.Getenv(partEnv); part != "" {
		runPart(part)
		return
	}
	length := flag.Duration("time", 10*time.Minute, "how long")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the random choices")
	binary := flag.String("ptracer", "", "attack this `FILE`, another version; \"\": what is here")
	verbose := flag.Bool("v", false, "print what is asked for, and what the server says")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Printf("attack: -seed %d -time %v\n", *seed, *length)
	w := &world{seed: *seed, binary: *binary, verbose: *verbose, said: map[string]int{}}
	err := w.run(ctx, *length)
	w.tell()
	if err != nil {
		fmt.Printf("attack: WRONG: %v\nrepeat it by: go run ./internal/attack -seed %d -time %v\n", err, *seed, *length)
		os.Exit(1)
	}
}
