/* named: a program whose function is asked about by names (engine/expr/bind). */
#include "fixture.h"

enum state { IDLE, RUNNING = 5, STOPPED };
struct customer { char name[16]; const char *mail; int age; };
struct order {
	int id;
	long total;
	struct customer *customer;
	enum state state;
	unsigned flags : 3;
	int level : 5;
	unsigned char raw[4];
	double price;
	struct order *next;
	short list[3];
	union { int whole; char bytes[4]; };
};
struct pair { int a; long b; };

static int counter = 7;
int global_level = 3;
__thread int mine;

PROBED long handle(struct order *order, int n, const char *text, unsigned char c, struct pair p, double d, int pid)
{
	counter++;
	mine += n;
	printf("%s %s %d %ld %g %d %d\n", order->customer->name, text, n + c + pid, p.a + p.b, d, global_level, mine);
	return order->total + n;
}

int main(int argc, char **argv)
{
	static struct customer customers[2] = { { "anna", "a@example.org", 31 }, { "bert", "b@example.org", 44 } };
	static struct order orders[3];

	ready(&argc, argv);
	for (int i = 0; i < 3; i++) {
		struct order *o = &orders[i];
		*o = (struct order){ .id = i, .total = 1000L * i - 500, .customer = &customers[i % 2], .state = i ? RUNNING : IDLE,
			.flags = i, .level = -i, .price = i * 1.5, .next = i ? o - 1 : NULL, .list = { i, i * 2, i * 3 }, .whole = 0x61626364 + i };
		memcpy(o->raw, "\1\2\3\4", 4);
		handle(o, i * 3, i == 2 ? "two" : "other", 'a' + i, (struct pair){ i, -i }, i * 0.5, 77);
	}
	return 0;
}
