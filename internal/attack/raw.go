package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// preface is what an HTTP/2 client says first.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// raw sends what no client of ptracer's sends: lines for the front that are root's, nonsense,
// frames with random heads, half of something, and nothing, over many connections, of which some are not
// read and some are never closed.
func (a *attacker) raw() {
	var open []net.Conn
	for range 300 {
		c, err := net.DialTimeout("unix", a.socket, 5*time.Second)
		if err != nil {
			fmt.Println("count connect: refused")
			time.Sleep(10 * time.Millisecond)
			continue
		}
		_ = c.SetDeadline(time.Now().Add(200 * time.Millisecond))
		text, roots := a.nonsense()
		_, _ = io.WriteString(c, text)
		if a.r.IntN(3) > 0 {
			answer, _ := io.ReadAll(io.LimitReader(c, 1<<16))
			fmt.Printf("count nonsense: %v\n", map[bool]string{true: "answered", false: "not answered"}[len(answer) > 0])
			if roots && len(answer) > 0 && answer[0] >= ' ' { // text; HTTP/2 begins with a length
				fmt.Printf("WRONG a line that is root's is answered: %q\n", answer)
			}
		}
		if a.r.IntN(4) == 0 {
			open = append(open, c)
			continue
		}
		c.Close()
	}
	for _, c := range open {
		c.Close()
	}
}

// nonsense is what a connection begins with; root is whether only root may say it.
func (a *attacker) nonsense() (text string, root bool) {
	junk := make([]byte, a.r.IntN(5000))
	for i := range junk {
		junk[i] = byte(a.r.Uint32())
	}
	switch a.r.IntN(8) {
	case 0:
		return "PTRACER WORKERS\n", true
	case 1:
		return "PTRACER USER root\n" + preface, true
	case 2:
		return "PTRACER WORKER 1\n", true
	case 3:
		return fmt.Sprintf("PTRACER MAPS %x %d\n", a.r.Uint64(), a.r.IntN(10)), false
	case 4:
		return fmt.Sprintf("PTRACER READ %d %d\n", a.r.IntN(20), a.r.IntN(10)), false
	case 5:
		return string(junk), false
	case 6:
		return "", false
	}
	text = preface
	for range a.r.IntN(20) {
		n := a.r.IntN(len(junk) + 1)
		head := binary.BigEndian.AppendUint32(nil, uint32(n)<<8|a.r.Uint32N(12)) // length and type
		head = append(head, byte(a.r.Uint32()))
		head = binary.BigEndian.AppendUint32(head, a.r.Uint32N(8))
		text += string(head) + string(junk[:n])
	}
	return text, false
}
