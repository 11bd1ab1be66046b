package engine

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/ptracer/ptracer/symbols"
)

// Peer is who asks for a process to be traced, where that is not us.
type Peer struct {
	PID  int
	UID  uint32
	GID  uint32
	GIDs []uint32 // others that it is in
	// Root: it may trace what we may (CAP_SYS_PTRACE, in our user namespace).
	Root bool
	Caps uint64 // what it may have at the most (CapPrm); of root only
	NS   string // its user namespace
}

// PeerOf completes what a socket tells of a peer (SO_PEERCRED) by what its
// process has now. Between the two the process may have executed another
// program, with more rights, while who has connected holds the socket still: its
// capabilities count only for root, whom a program gives nothing that it could not
// have, and nothing counts where its ids differ from each other.
func PeerOf(pid int, uid, gid uint32) (Peer, error) {
	st, err := readStatus(pid)
	if err != nil {
		return Peer{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	p := Peer{PID: pid, UID: uid, GID: gid}
	if !same(st["Uid"], uid) || !same(st["Gid"], gid) {
		return p, nil // what it runs now is not for it to lend
	}
	p.NS = userNamespace(pid)
	for _, f := range strings.Fields(st["Groups"]) {
		if n, err := strconv.ParseUint(f, 10, 32); err == nil {
			p.GIDs = append(p.GIDs, uint32(n))
		}
	}
	if uid == 0 {
		p.Caps = st.hex("CapPrm")
		p.Root = st.hex("CapEff")>>capSysPtrace&1 != 0 && p.NS == userNamespace(os.Getpid())
	}
	return p, nil
}

// OwnerOf is the peer that a process itself would be, without the rights that its
// capabilities give; which process traces it, or 0; and whether it has forbidden itself system calls (seccomp).
func OwnerOf(pid int) (p Peer, tracer int, sealed bool) {
	st, err := readStatus(pid)
	if err != nil {
		return Peer{}, 0, false
	}
	uid, _ := strconv.ParseUint(firstField(st["Uid"]), 10, 32)
	gid, _ := strconv.ParseUint(firstField(st["Gid"]), 10, 32)
	if p, err = PeerOf(pid, uint32(uid), uint32(gid)); err != nil {
		return Peer{}, 0, false
	}
	p.PID, p.Root, p.Caps = 0, false, 0
	return p, tracingProcess(st), st.number("Seccomp") != 0
}

// tracingProcess is the process of the thread that traces another (TracerPid), 0 without one.
func tracingProcess(st status) int {
	if tid := st.number("TracerPid"); tid != 0 {
		if by, err := readStatus(tid); err == nil {
			return by.number("Tgid")
		}
	}
	return 0
}

// OwnNamespace is the user namespace of this process.
func OwnNamespace() string { return userNamespace(os.Getpid()) }

// same is whether the real, effective and saved id of a line of a status are id.
func same(line string, id uint32) bool {
	ids := strings.Fields(line)
	return len(ids) > 2 && !slices.ContainsFunc(ids[:3], func(s string) bool { return s != strconv.FormatUint(uint64(id), 10) })
}

// MayTrace is whether ptrace(2) would let a peer attach to a process, as far as
// that can be told: the error is an AttachError. It is what the kernel asks in
// __ptrace_may_access, and Yama; other security modules are not asked. What can't
// be known is refused: whether root's process is dumpable, if the peer is a root
// without capabilities, and whether a process has allowed the peer by
// PR_SET_PTRACER. So is what only capabilities of another user than root would
// allow, and a process of another user namespace.
func MayTrace(p Peer, pid int) error {
	no := func(reason error, detail, help string) error { return &AttachError{pid, reason, detail, help} }
	st, err := readStatus(pid)
	if err != nil {
		return no(ErrGone, "no such process", "")
	}
	if p.Root {
		return nil
	}
	mode, ns := yamaMode(), userNamespace(pid)
	switch {
	case !same(st["Uid"], p.UID) || !same(st["Gid"], p.GID):
		return no(ErrOtherUser, fmt.Sprintf("uid %s, gid %s; who asks has %d, %d", firstField(st["Uid"]), firstField(st["Gid"]), p.UID, p.GID), "ask as that user, or as root")
	case p.NS == "" || ns != "" && ns != p.NS:
		return no(ErrNamespace, ns, "ask from within that namespace")
	case st.hex("CapPrm")&^p.Caps != 0:
		return no(ErrCapability, "CapPrm "+st["CapPrm"], "ask with CAP_SYS_PTRACE")
	case !ownsFiles(pid, p):
		return no(ErrUndumpable, "", "ask as root (CAP_SYS_PTRACE)")
	case ns == "": // which a dumpable process shows to those of its user
		return no(ErrNamespace, "it can't be read", "ask from within that namespace")
	case mode >= 2, mode == 1 && !descends(pid, p.PID):
		return no(ErrYama, fmt.Sprintf("mode %d", mode), yamaHelp(mode))
	}
	return nil
}

// ownsFiles is whether a process is dumpable: else root owns its files in /proc.
// Of root's own that is told by asking for one, as long as we have no more rights
// than the peer.
func ownsFiles(pid int, p Peer) bool {
	fi, err := os.Stat(fmt.Sprintf("/proc/%d/status", symbols.LiveTask(pid)))
	if err != nil {
		return false
	}
	if p.UID != 0 {
		st, ok := fi.Sys().(*syscall.Stat_t)
		return ok && st.Uid == p.UID
	}
	own, err := readStatus(os.Getpid())
	return err == nil && own.hex("CapEff")&^p.Caps == 0 && dumpable(pid)
}

// descends is whether a process is another's child, or a child's.
func descends(pid, from int) bool {
	var seen []int
	for at := pid; at > 0 && !slices.Contains(seen, at); {
		if at == from {
			return true
		}
		seen = append(seen, at)
		st, err := readStatus(at)
		if err != nil {
			return false
		}
		at = st.number("PPid")
	}
	return false
}
