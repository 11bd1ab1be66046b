package kernel

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/ptracer/ptracer/engine/handler/program"
)

// MaxContext is the longest context a TestProgram can be given, in bytes.
const MaxContext = 1 << 12

// TestProgram is a program that the caller runs with made-up registers instead of at probes. The
// kernel does not run kprobe programs in this way, so it is loaded as another type:
//
//   - A "syscall" program (BPF_PROG_TYPE_SYSCALL) is tried first. The context is the
//     bytes that Run is given; there must be as many as the program may load. Loads
//     from it need no alignment, and stores to it are allowed: the verifier's answer
//     about those differs from its answer at a uprobe (see Check). It has no
//     get_attach_cookie, and no maps for stack traces and perf events.
//   - Otherwise a raw tracepoint, which has those; the cookie is 0. Its context is
//     12 words, the first 96 bytes of what Run is given: loads from behind them
//     are refused.
//
// Both allow get_func_ip, with a meaningless result.
//
// Both run in the calling thread, so that get_current_pid_tgid and similar helpers describe the
// caller, and probe_read_user reads the caller's own memory.
//
// The result has 64 bits, though the kernel's test run returns 32: each exit of the program's first
// function is replaced by a jump to code behind it that stores R0 in an additional array map.
// Nothing else is changed.
type TestProgram struct {
	Type ebpf.ProgramType // Syscall or RawTracepoint
	Log  string           // the verifier's log

	prog   *ebpf.Program
	maps   []*Map
	result *ebpf.Map
}

// LoadTest loads a program for Run. An *ebpf.VerifierError in the error is the kernel's refusal.
func LoadTest(p *program.Program) (*TestProgram, error) {
	if err := program.Validate(p); err != nil {
		return nil, err
	}
	q := keepResult(p)
	maps, err := openMaps(q.Maps)
	if err != nil {
		return nil, err
	}
	last := len(maps) - 1
	t := &TestProgram{result: maps[last]}
	for i, m := range maps[:last] {
		t.maps = append(t.maps, newMap(p.Maps[i], m))
	}
	t.prog, err = load(q, maps, as{kind: ebpf.Syscall, log: ebpf.LogLevelStats})
	if err != nil {
		var again error
		if t.prog, again = load(q, maps, as{kind: ebpf.RawTracepoint, log: ebpf.LogLevelStats}); again != nil {
			closeMaps(maps)
			return nil, fmt.Errorf("as a syscall program: %w; as a raw tracepoint: %w", err, again)
		}
	}
	t.Type, t.Log = t.prog.Type(), t.prog.VerifierLog
	return t, nil
}

// Close frees the program and its maps.
func (t *TestProgram) Close() error {
	for _, m := range t.maps {
		m.close()
	}
	t.result.Close()
	return t.prog.Close()
}

// Map returns the program's map i.
func (t *TestProgram) Map(i int) *Map { return t.maps[i] }

// Run runs the program once, with R1 pointing to a copy of ctx, and returns R0.
func (t *TestProgram) Run(ctx []byte) (r0 uint64, err error) {
	if len(ctx) > MaxContext {
		return 0, fmt.Errorf("context of %d bytes; there may be %d", len(ctx), MaxContext)
	}
	if t.Type == ebpf.RawTracepoint {
		ctx = ctx[:min(len(ctx), tracepointContext)]
	}
	opts := ebpf.RunOptions{}
	if len(ctx) > 0 {
		opts.Context = ctx
	}
	if _, err := t.prog.Run(&opts); err != nil {
		return 0, reason(err)
	}
	err = t.result.Lookup(uint32(0), &r0)
	return r0, err
}

// tracepointContext is the size of a raw tracepoint's context: twelve arguments (kernel:
// MAX_BPF_FUNC_ARGS).
const tracepointContext = 12 * 8

// TestRun loads a program, runs it once on ctx, and returns R0 and the verifier's log, also for a
// refusal. TestProgram describes the differences from a uprobe's run.
func TestRun(p *program.Program, ctx []byte) (r0 uint64, verifierLog string, err error) {
	t, err := LoadTest(p)
	if err != nil {
		return 0, refusal(err), err
	}
	defer t.Close()
	r0, err = t.Run(ctx)
	return r0, t.Log, err
}

// Check passes a program to the kernel's verifier as if for a uprobe, and returns its log. A
// refusal's error holds an *ebpf.VerifierError.
func Check(p *program.Program) (verifierLog string, err error) {
	if err := program.Validate(p); err != nil {
		return "", err
	}
	maps, err := openMaps(p.Maps)
	if err != nil {
		return "", err
	}
	defer closeMaps(maps)
	k, err := load(p, maps, as{kind: ebpf.Kprobe, log: ebpf.LogLevelStats})
	if err != nil {
		return refusal(err), err
	}
	defer k.Close()
	return k.VerifierLog, nil
}

// refusal is the log of a refused program.
func refusal(err error) string {
	var v *ebpf.VerifierError
	if errors.As(err, &v) {
		return fmt.Sprintf("%+v", v)
	}
	return ""
}

// keepResult returns the program with a last map of its own, in which it stores R0 at the end of
// its first function.
func keepResult(p *program.Program) *program.Program {
	end := p.End(0)
	tail := []program.Insn{
		{Op: program.ClassLd | program.SizeDW, Dst: program.R1, Src: program.PseudoMapValue, Imm: int32(len(p.Maps))},
		{},
		{Op: program.ClassStx | program.ModeMem | program.SizeDW, Dst: program.R1, Src: program.R0},
		{Op: program.ClassJmp | program.JmpExit},
	}
	q := *p
	q.Insns = append(append(append(make([]program.Insn, 0, len(p.Insns)+len(tail)), p.Insns[:end]...), tail...), p.Insns[end:]...)
	q.Funcs = append([]program.Func(nil), p.Funcs...)
	for f := range q.Funcs[1:] {
		q.Funcs[f+1].Start += len(tail)
	}
	q.Maps = append(append([]program.Map(nil), p.Maps...), program.Map{
		Name: "result", Type: program.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1,
	})
	q.Source = nil
	for i := 0; i < end; i++ {
		in := &q.Insns[i]
		to, ok := p.Callee(i)
		switch {
		case in.IsExit():
			*in = program.Insn{Op: program.ClassJmp32 | program.JmpA, Imm: int32(end - i - 1)}
		case ok && to >= end:
			in.Imm += int32(len(tail))
		}
		if in.Wide() {
			i++
		}
	}
	return &q
}
