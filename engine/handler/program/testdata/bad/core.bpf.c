#include "../bpf.h"

struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

SEC("uprobe")
int core(struct task_struct *ctx)
{
	return ctx->pid;
}
