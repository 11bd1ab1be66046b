/* How long calls take: entry and return share a map; a function of its own,
   and maps described by BTF. */
#include "bpf.h"

struct {
	__uint(type, HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, u64);
} starts SEC(".maps");

struct {
	__uint(type, PERCPU_ARRAY);
	__uint(max_entries, 64);
	__type(key, u32);
	__type(value, u64);
} buckets SEC(".maps");

static noinline u32 log2of(u64 n)
{
	u32 bits = 0;
	for (int shift = 32; shift; shift >>= 1)
		if (n >> shift) {
			n >>= shift;
			bits += shift;
		}
	return bits;
}

SEC("uprobe//bin/true:work+4")
int entered(struct regs *ctx)
{
	u64 thread = get_current_pid_tgid(), now = ktime_get_ns();
	map_update(&starts, &thread, &now, 0);
	return 0;
}

SEC("uretprobe")
int returned(struct regs *ctx)
{
	u64 thread = get_current_pid_tgid();
	u64 *start = map_lookup(&starts, &thread);
	if (!start)
		return 0;
	u32 bucket = log2of(ktime_get_ns() - *start);
	u64 *count = map_lookup(&buckets, &bucket);
	if (count)
		++*count;
	map_delete(&starts, &thread);
	return 0;
}
