#include "../bpf.h"

extern int CONFIG_HZ __attribute__((section(".kconfig")));

SEC("uprobe")
int config(struct regs *ctx)
{
	return CONFIG_HZ;
}
