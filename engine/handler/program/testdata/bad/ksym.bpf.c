#include "../bpf.h"

extern const int jiffies __attribute__((section(".ksyms")));

SEC("uprobe")
int reads(struct regs *ctx)
{
	return (long)&jiffies == ctx->di;
}
