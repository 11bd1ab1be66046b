// Gotracer PROGRAM [ARG]... starts a program under its own trace, as debuggers written
// in Go do, and attaches to another one that runs. It prints what came of each.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

func main() {
	runtime.LockOSThread()
	c := exec.Command(os.Args[1], os.Args[2:]...)
	c.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	fmt.Println("start:", c.Start())
	fmt.Println("stop:", wait(c))
	fmt.Println("end:", syscall.PtraceCont(c.Process.Pid, 0), wait(c))

	c = exec.Command("sleep", "100")
	fmt.Println("start:", c.Start())
	fmt.Println("attach:", syscall.PtraceAttach(c.Process.Pid))
	fmt.Println("stop:", wait(c))
	fmt.Println("detach:", syscall.PtraceDetach(c.Process.Pid))
	fmt.Println("kill:", c.Process.Kill(), wait(c))
}

func wait(c *exec.Cmd) string {
	var ws syscall.WaitStatus
	_, err := syscall.Wait4(c.Process.Pid, &ws, 0, nil)
	return fmt.Sprintf("%v %#x", err, uint32(ws))
}
