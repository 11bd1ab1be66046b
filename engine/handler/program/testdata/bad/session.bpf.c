#include "../bpf.h"

SEC("uprobe.session//bin/true:main")
int both(struct regs *ctx)
{
	return 0;
}
