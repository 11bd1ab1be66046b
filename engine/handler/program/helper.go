package program

// Helper is a function that programs can call, with the kernel's number and meaning (enum
// bpf_func_id).
type Helper struct {
	Num    int32
	Name   string
	Args   []Arg
	Result Result
	// Needs is the right that the program must be registered with.
	Needs Rights
	// Maps are the types of map that the first ArgMap may have; nil: any.
	Maps []MapType
	// Flags is a mask of the flags that the ArgFlags argument may have.
	Flags uint64
	// The executors that have the helper.
	Tracee, Engine, Kernel bool
}

// Rights are what a handler may do to the traced program.
type Rights uint8

// Rights. Reading memory requires one, too: a program without it reads registers only.
const (
	ReadMemory Rights = 1 << iota
	WriteMemory
	Override // change arguments and return values
)

// Arg is the kind of argument that a helper requires.
type Arg uint8

// Kinds of arguments. ArgMem and ArgMemOut are pointers to the program's own memory (stack, map
// value, record); the next argument is the size.
const (
	ArgAny      Arg = iota // any number; a pointer is refused
	ArgCtx                 // the context
	ArgMap                 // a map
	ArgKey                 // pointer to a key of the map
	ArgValue               // pointer to a value of the map
	ArgMem                 // pointer to initialised memory
	ArgMemOut              // pointer to memory that the helper writes
	ArgMemNull             // like ArgMem, or 0 with size 0
	ArgSize                // size of the memory before it, not 0
	ArgSize0               // the same, 0 allowed
	ArgAddr                // an address in the tracee: any number
	ArgFlags               // a number, checked against Flags when known
	ArgRecord              // a record reserved in a ring; the call ends it
	ArgConst               // a constant, such as the size of a record to reserve
	ArgString              // pointer to a constant string in a read-only map
	ArgFunc                // a function of the program (PseudoFunc)
	ArgStackPtr            // pointer to the stack, or 0: passed on to ArgFunc
)

// Result is the kind of a helper's result.
type Result uint8

// Kinds of results.
const (
	ResultNumber Result = iota // any number
	ResultValue                // pointer to a value of the map, or 0
	ResultRecord               // pointer to a reserved record, of the ArgConst's size, or 0
	ResultNone                 // R0 is not readable afterwards
)

// Numbers of helpers, as in the kernel.
const (
	FnMapLookup        = 1
	FnMapUpdate        = 2
	FnMapDelete        = 3
	FnKtimeGetNS       = 5
	FnTracePrintk      = 6
	FnPrandomU32       = 7
	FnSMPProcessorID   = 8
	FnCurrentPIDTGID   = 14
	FnCurrentUIDGID    = 15
	FnCurrentComm      = 16
	FnPerfEventOutput  = 25
	FnGetStackID       = 27
	FnProbeWriteUser   = 36
	FnGetStack         = 67
	FnProbeReadUser    = 112
	FnProbeReadUserStr = 114
	FnKtimeGetBootNS   = 125
	FnRingbufOutput    = 130
	FnRingbufReserve   = 131
	FnRingbufSubmit    = 132
	FnRingbufDiscard   = 133
	FnRingbufQuery     = 134
	FnGetFuncIP        = 173
	FnGetAttachCookie  = 174
	FnLoop             = 181
	FnStrncmp          = 182
)

// Helpers is the table of all helpers, by number.
var Helpers = index([]Helper{
	{Num: FnMapLookup, Name: "map_lookup_elem", Args: []Arg{ArgMap, ArgKey}, Result: ResultValue, Maps: keyed, Tracee: true, Engine: true, Kernel: true},
	{Num: FnMapUpdate, Name: "map_update_elem", Args: []Arg{ArgMap, ArgKey, ArgValue, ArgFlags}, Maps: keyed, Flags: 3, Tracee: true, Engine: true, Kernel: true},
	{Num: FnMapDelete, Name: "map_delete_elem", Args: []Arg{ArgMap, ArgKey}, Maps: keyed, Tracee: true, Engine: true, Kernel: true},
	{Num: FnKtimeGetNS, Name: "ktime_get_ns", Tracee: true, Engine: true, Kernel: true},
	{Num: FnKtimeGetBootNS, Name: "ktime_get_boot_ns", Tracee: true, Engine: true, Kernel: true},
	{Num: FnTracePrintk, Name: "trace_printk", Args: []Arg{ArgMem, ArgSize, ArgAny, ArgAny, ArgAny}, Engine: true, Kernel: true},
	{Num: FnPrandomU32, Name: "get_prandom_u32", Tracee: true, Engine: true, Kernel: true},
	{Num: FnSMPProcessorID, Name: "get_smp_processor_id", Tracee: true, Engine: true, Kernel: true},
	{Num: FnCurrentPIDTGID, Name: "get_current_pid_tgid", Tracee: true, Engine: true, Kernel: true},
	{Num: FnCurrentUIDGID, Name: "get_current_uid_gid", Tracee: true, Engine: true, Kernel: true},
	{Num: FnCurrentComm, Name: "get_current_comm", Args: []Arg{ArgMemOut, ArgSize}, Tracee: true, Engine: true, Kernel: true},
	{Num: FnPerfEventOutput, Name: "perf_event_output", Args: []Arg{ArgCtx, ArgMap, ArgFlags, ArgMem, ArgSize0}, Maps: []MapType{PerfEvents}, Flags: 0xffffffff, Tracee: true, Engine: true, Kernel: true},
	{Num: FnGetStackID, Name: "get_stackid", Args: []Arg{ArgCtx, ArgMap, ArgFlags}, Maps: []MapType{StackTrace}, Flags: 0x7ff, Needs: ReadMemory, Tracee: true, Engine: true, Kernel: true},
	{Num: FnGetStack, Name: "get_stack", Args: []Arg{ArgCtx, ArgMemOut, ArgSize0, ArgFlags}, Flags: 0x1ff, Needs: ReadMemory, Tracee: true, Engine: true, Kernel: true},
	{Num: FnProbeReadUser, Name: "probe_read_user", Args: []Arg{ArgMemOut, ArgSize0, ArgAddr}, Needs: ReadMemory, Tracee: true, Engine: true, Kernel: true},
	{Num: FnProbeReadUserStr, Name: "probe_read_user_str", Args: []Arg{ArgMemOut, ArgSize0, ArgAddr}, Needs: ReadMemory, Tracee: true, Engine: true, Kernel: true},
	{Num: FnProbeWriteUser, Name: "probe_write_user", Args: []Arg{ArgAddr, ArgMem, ArgSize}, Needs: WriteMemory, Tracee: true, Engine: true, Kernel: true},
	{Num: FnRingbufOutput, Name: "ringbuf_output", Args: []Arg{ArgMap, ArgMem, ArgSize0, ArgFlags}, Maps: rings, Flags: 3, Tracee: true, Engine: true, Kernel: true},
	{Num: FnRingbufReserve, Name: "ringbuf_reserve", Args: []Arg{ArgMap, ArgConst, ArgFlags}, Result: ResultRecord, Maps: rings, Tracee: true, Engine: true, Kernel: true},
	{Num: FnRingbufSubmit, Name: "ringbuf_submit", Args: []Arg{ArgRecord, ArgFlags}, Result: ResultNone, Flags: 3, Tracee: true, Engine: true, Kernel: true},
	{Num: FnRingbufDiscard, Name: "ringbuf_discard", Args: []Arg{ArgRecord, ArgFlags}, Result: ResultNone, Flags: 3, Tracee: true, Engine: true, Kernel: true},
	{Num: FnRingbufQuery, Name: "ringbuf_query", Args: []Arg{ArgMap, ArgAny}, Maps: rings, Tracee: true, Engine: true, Kernel: true},
	{Num: FnGetFuncIP, Name: "get_func_ip", Args: []Arg{ArgCtx}, Tracee: true, Engine: true, Kernel: true},
	{Num: FnGetAttachCookie, Name: "get_attach_cookie", Args: []Arg{ArgCtx}, Tracee: true, Engine: true, Kernel: true},
	{Num: FnLoop, Name: "loop", Args: []Arg{ArgAny, ArgFunc, ArgStackPtr, ArgFlags}, Tracee: true, Engine: true, Kernel: true},
	{Num: FnStrncmp, Name: "strncmp", Args: []Arg{ArgMem, ArgSize, ArgString}, Tracee: true, Engine: true, Kernel: true},
})

var (
	keyed = []MapType{Hash, Array, PerCPUHash, PerCPUArray, LRUHash}
	rings = []MapType{RingBuf}
)

func index(list []Helper) map[int32]*Helper {
	m := make(map[int32]*Helper, len(list))
	for i := range list {
		m[list[i].Num] = &list[i]
	}
	return m
}
