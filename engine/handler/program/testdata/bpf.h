/* What the sources here share: the little of the kernel's and libbpf's headers
   that they need, so that they are compiled anywhere:
     clang -target bpf -O2 -g -fdebug-compilation-dir=. -c x.bpf.c -o x.bpf.o
     llvm-strip -g x.bpf.o */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]
#define __type(name, value) typeof(value) *name
#define noinline __attribute__((noinline))

enum { HASH = 1, ARRAY = 2, PROG_ARRAY = 3, PERCPU_ARRAY = 6, LPM_TRIE = 11, RINGBUF = 27 };

/* struct pt_regs of x86-64: one word for each register. */
struct regs { u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss; };

static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static long (*map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*map_delete)(void *map, const void *key) = (void *)3;
static u64 (*ktime_get_ns)(void) = (void *)5;
static long (*tail_call)(void *ctx, void *map, u32 index) = (void *)12;
static u64 (*get_current_pid_tgid)(void) = (void *)14;
static u64 (*get_current_task)(void) = (void *)35;
static long (*probe_read_user_str)(void *to, u32 size, const void *from) = (void *)114;
static void *(*ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*ringbuf_submit)(void *record, u64 flags) = (void *)132;
static long (*loop)(u32 n, void *f, void *ctx, u64 flags) = (void *)181;

char _license[] SEC("license") = "GPL";
