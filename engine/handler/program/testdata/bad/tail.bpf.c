#include "../bpf.h"

struct {
	__uint(type, PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 4);
} jumps SEC(".maps");

SEC("uprobe")
int tail(struct regs *ctx)
{
	tail_call(ctx, &jumps, 0);
	return 0;
}
