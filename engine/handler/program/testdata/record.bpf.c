/* Records of large arguments: a ring, constants, variables with and without a
   first value. */
#include "bpf.h"

struct {
	__uint(type, RINGBUF);
	__uint(max_entries, 65536);
} ring SEC(".maps");

struct record {
	u64 sequence, value;
};

const volatile u64 threshold = 490; /* .rodata */
u64 sequence = 1000;                /* .data */
u64 small, full;                    /* .bss */

SEC("uprobe")
int large(struct regs *ctx)
{
	if (ctx->di < threshold) {
		__sync_fetch_and_add(&small, 1);
		return 0;
	}
	struct record *r = ringbuf_reserve(&ring, sizeof *r, 0);
	if (!r) {
		__sync_fetch_and_add(&full, 1);
		return 0;
	}
	r->sequence = __sync_fetch_and_add(&sequence, 1);
	r->value = ctx->di;
	ringbuf_submit(r, 0);
	return 0;
}
