struct pair {
	int a;
	struct pair *next;
};
enum { ONE = 1 };
static inline int add(struct pair *p, int n) { return p ? p->a + n : ONE; }
int sum(struct pair *p)
{
	int n = 0;
	for (; p; p = p->next)
		n = add(p, n);
	return n;
}
