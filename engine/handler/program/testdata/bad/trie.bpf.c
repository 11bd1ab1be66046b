#include "../bpf.h"

struct {
	__uint(type, LPM_TRIE);
	__uint(max_entries, 4);
	__uint(map_flags, 1);
	__type(key, u64);
	__type(value, u64);
} trie SEC(".maps");

SEC("uprobe")
int lookup(struct regs *ctx)
{
	u64 key = ctx->di;
	return map_lookup(&trie, &key) != 0;
}
