/* Programs for the fixture "calls", with maps that they share. Made by
     clang -target bpf -O2 -g -fdebug-compilation-dir=. -c calls.bpf.c -o calls.bpf.o && llvm-strip -g calls.bpf.o */
#include "../../../../engine/handler/program/testdata/bpf.h"

enum { STEPS, RESULTS, LEAVES, ENTRIES };

struct {
	__uint(type, ARRAY);
	__uint(max_entries, ENTRIES);
	__type(key, u32);
	__type(value, u64);
} sums SEC(".maps");

struct {
	__uint(type, RINGBUF);
	__uint(max_entries, 65536);
} ring SEC(".maps");

static long (*trace_printk)(const char *format, u32 size, ...) = (void *)6;

static noinline void add(u32 what, u64 n)
{
	u64 *sum = map_lookup(&sums, &what);

	if (sum)
		__sync_fetch_and_add(sum, n);
}

SEC("uprobe/calls:step")
int step_entered(struct regs *ctx)
{
	const char format[] = "step %d";

	add(STEPS, 1);
	if (ctx->di == 7)
		trace_printk(format, sizeof format, ctx->di);
	return 0;
}

SEC("uretprobe/calls:step")
int step_returned(struct regs *ctx)
{
	if ((long)ctx->ax > 0)
		add(RESULTS, ctx->ax);
	return 0;
}

SEC("uprobe/calls:leaf")
int leaf_entered(struct regs *ctx)
{
	u64 *r;

	add(LEAVES, 1);
	if (ctx->di != 2)
		return 0;
	r = ringbuf_reserve(&ring, 8, 0);
	if (!r)
		return 0;
	*r = 0xabcdef;
	ringbuf_submit(r, 0);
	return 0;
}
