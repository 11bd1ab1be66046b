package access

import (
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/ptracer/ptracer/engine/internal/ptrace"
	"github.com/ptracer/ptracer/procfs"
)

// Peer is a client on whose behalf a process is traced.
type Peer struct {
	PID  int
	UID  uint32
	GID  uint32
	GIDs []uint32 // others that it is in
	// Root: it may trace what this process may (CAP_SYS_PTRACE, in its user namespace).
	Root bool
	Caps uint64 // what it may have at the most (CapPrm); of root only
	NS   string // its user namespace
}

// PeerOf completes what a socket tells of a peer (SO_PEERCRED) by what its
// process has now. Between the two the process may have executed another
// program, with more rights, while the peer holds the socket still: its
// capabilities count only for root, whom a program gives nothing that it could not
// have, and nothing counts where its ids differ from each other.
func PeerOf(pid int, uid, gid uint32) (Peer, error) {
	st, err := procfs.ReadStatus(pid)
	if err != nil {
		return Peer{}, fmt.Errorf("process %d: %w", pid, ptrace.ErrGone)
	}
	p := Peer{PID: pid, UID: uid, GID: gid}
	if !st.Same("Uid", uid) || !st.Same("Gid", gid) {
		return p, nil // what it runs now is not for it to lend
	}
	p.NS = procfs.UserNamespace(pid)
	p.GIDs = st.Groups()
	if uid == 0 {
		p.Caps = st.Hex("CapPrm")
		p.Root = st.Hex("CapEff")>>procfs.CapSysPtrace&1 != 0 && p.NS == procfs.UserNamespace(os.Getpid())
	}
	return p, nil
}

// OwnerOf is the peer that a process itself would be, without the rights that its
// capabilities give; which process traces it, or 0; and whether it has forbidden itself system calls (seccomp).
func OwnerOf(pid int) (p Peer, tracer int, sealed bool) {
	st, err := procfs.ReadStatus(pid)
	if err != nil {
		return Peer{}, 0, false
	}
	uid, _ := strconv.ParseUint(st.First("Uid"), 10, 32)
	gid, _ := strconv.ParseUint(st.First("Gid"), 10, 32)
	if p, err = PeerOf(pid, uint32(uid), uint32(gid)); err != nil {
		return Peer{}, 0, false
	}
	p.PID, p.Root, p.Caps = 0, false, 0
	return p, tracingProcess(st), st.Number("Seccomp") != 0
}

// tracingProcess is the process of the thread that traces another (TracerPid), 0 without one.
func tracingProcess(st procfs.Status) int {
	if tid := st.Number("TracerPid"); tid != 0 {
		if by, err := procfs.ReadStatus(tid); err == nil {
			return by.Number("Tgid")
		}
	}
	return 0
}

// OwnNamespace is the user namespace of this process.
func OwnNamespace() string { return procfs.UserNamespace(os.Getpid()) }

// MayTrace reports whether ptrace(2) would let a peer attach to a process, as far as
// that can be told: the error is an Error. It is what the kernel asks in
// __ptrace_may_access, and Yama; other security modules are not asked. What can't
// be known is refused: whether root's process is dumpable, if the peer is a root
// without capabilities, and whether a process has allowed the peer by
// PR_SET_PTRACER. So is what only capabilities of another user than root would
// allow, and a process of another user namespace.
func MayTrace(p Peer, pid int) error {
	no := func(reason error, detail, help string) error { return &Error{pid, reason, detail, help} }
	st, err := procfs.ReadStatus(pid)
	if err != nil {
		return no(ptrace.ErrGone, "no such process", "")
	}
	if p.Root {
		return nil
	}
	mode, ns := procfs.Yama(), procfs.UserNamespace(pid)
	switch {
	case !st.Same("Uid", p.UID) || !st.Same("Gid", p.GID):
		return no(ErrOtherUser, fmt.Sprintf("uid %s, gid %s; the client has %d, %d", st.First("Uid"), st.First("Gid"), p.UID, p.GID), "ask as that user, or as root")
	case p.NS == "" || ns != "" && ns != p.NS:
		return no(ErrNamespace, ns, "ask from within that namespace")
	case st.Hex("CapPrm")&^p.Caps != 0:
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

// ownsFiles reports whether a process is dumpable: else root owns its files in /proc.
// Of root's own that is told by asking for one, as long as this process has no more rights
// than the peer.
func ownsFiles(pid int, p Peer) bool {
	if p.UID != 0 {
		return procfs.FileOwner(procfs.LiveTask(pid)) == int(p.UID)
	}
	own, err := procfs.ReadStatus(os.Getpid())
	return err == nil && own.Hex("CapEff")&^p.Caps == 0 && procfs.Dumpable(pid)
}

// descends reports whether a process is another's child, or a child's.
func descends(pid, from int) bool {
	var seen []int
	for at := pid; at > 0 && !slices.Contains(seen, at); {
		if at == from {
			return true
		}
		seen = append(seen, at)
		st, err := procfs.ReadStatus(at)
		if err != nil {
			return false
		}
		at = st.Number("PPid")
	}
	return false
}
