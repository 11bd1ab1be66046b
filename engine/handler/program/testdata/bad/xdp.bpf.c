#include "../bpf.h"

SEC("xdp")
int packet(void *ctx)
{
	return 2;
}
