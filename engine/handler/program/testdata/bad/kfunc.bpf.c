#include "../bpf.h"

extern int bpf_kernel_function(u64) __attribute__((section(".ksyms")));

SEC("uprobe")
int calls(struct regs *ctx)
{
	return bpf_kernel_function(ctx->di);
}
