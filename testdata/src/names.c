#include <stdio.h>
#include <stdbool.h>
#include <unistd.h>
#ifdef __clang__
#define NOCLONE
#else
#define NOCLONE __attribute__((noclone)) /* calls would go to a copy of another name */
#endif
enum color { RED, GREEN = 4, BLUE = -2 };
struct s1 { int a; short b; };
struct s2 { long x; long y; };
struct s3 { long v[3]; };
struct s4 { char c; int i; char d; };
struct s5 { unsigned a : 3; int b : 7; unsigned long c : 40; };
struct s6 { struct s1 in; unsigned char u[4]; };
struct s7 { const char *s; enum color k; };
struct f2 { float x, y; };
struct d1 { double d; int i; };
struct e0 { };
struct k1 { char c; int i; short s; } __attribute__((packed));
struct q1 { __int128 q; };
static void pi(long v) { printf("%ld", v); }
static void pu(unsigned long v) { printf("%lu", v); }
static void pc(int v) { printf("%d", v); if (v > ' ' && v < 127) printf(" '%c'", v); }
static void pb(bool v) { printf(v ? "true" : "false"); }
static void pe(enum color v) { if (v == RED) printf("RED"); else if (v == GREEN) printf("GREEN"); else printf("BLUE"); }
static void ps(const char *s) { printf("\"%s\"", s); }
static void p1(struct s1 v) { printf("{a=%d, b=%d}", v.a, v.b); }
static void p2(struct s2 v) { printf("{x=%ld, y=%ld}", v.x, v.y); }
static void p3(struct s3 v) { printf("{v=[%ld, %ld, %ld]}", v.v[0], v.v[1], v.v[2]); }
static void p4(struct s4 v) { printf("{c="); pc(v.c); printf(", i=%d, d=", v.i); pc(v.d); printf("}"); }
static void p5(struct s5 v) { printf("{a=%u, b=%d, c=%lu}", v.a, v.b, (unsigned long)v.c); }
static void p6(struct s6 v) { printf("{in="); p1(v.in); printf(", u=[%d, %d, %d, %d]}", v.u[0], v.u[1], v.u[2], v.u[3]); }
static void pk1(struct k1 v) { printf("{c="); pc(v.c); printf(", i=%d, s=%d}", v.i, v.s); }
static void pf(double v) { printf("%g", v); }
static void pf2(struct f2 v) { printf("{x=%g, y=%g}", v.x, v.y); }
static void pd1(struct d1 v) { printf("{d=%g, i=%d}", v.d, v.i); }
static const char *const texts[] = { "zero", "one", "", "three and more" };
static const enum color colors[] = { RED, GREEN, BLUE };
static struct s1 m1(long n) { return (struct s1){ (int)(n * 100003), (short)-n }; }
static struct s2 m2(long n) { return (struct s2){ n * -1000000007L, n + 1 }; }
static struct s3 m3(long n) { return (struct s3){ { n, -n, n << 33 } }; }
static struct s4 m4(long n) { return (struct s4){ (char)('a' + n % 26), (int)(n * -7), (char)('A' + n % 26) }; }
static struct s5 m5(long n) { return (struct s5){ n & 7, (int)(n % 64) - 32, (unsigned long)n * 12345678 & ((1UL << 40) - 1) }; }
static struct s6 m6(long n) { struct s6 v = { m1(n + 1), { n & 255, 1, 255, (n * 3) & 255 } }; return v; }
static struct s7 m7(long n) { return (struct s7){ texts[n & 3], colors[n % 3] }; }
static struct k1 mk1(long n) { return (struct k1){ (char)('a' + n % 26), (int)(n * 70001), (short)-n }; }
static struct f2 mf2(long n) { return (struct f2){ n * 0.5f, n * -0.25f }; }
static struct d1 md1(long n) { return (struct d1){ n * 1.5, (int)-n }; }
static int ints[8] = { 3, -1, 4, -1, 5, -9, 2, 6 };
static struct s5 cells[4] = { { 1, -1, 10 }, { 2, -2, 20 }, { 3, -3, 30 }, { 7, 31, 1UL << 39 } };
static struct s7 names[4];
__attribute__((noinline)) static short f0(__int128 v0, struct q1 v1, short v2, const char * v3, struct s2 v4, unsigned short v5, unsigned long v6)
{
	printf("f0");
	printf(" v2="); pi(v2);
	printf(" v3="); ps(v3);
	printf(" v4="); p2(v4);
	printf(" v5="); pu(v5);
	printf(" v6="); pu(v6);
	short ret = (short)(-3 * (7));
	printf(" ret="); pi(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE float f1(int v0, struct d1 v1, struct s5 v2, enum color v3, unsigned v4, struct s1 v5, struct e0 v6, unsigned short v7)
{
	printf("f1");
	printf(" v0="); pi(v0);
	printf(" v1="); pd1(v1);
	printf(" v2="); p5(v2);
	printf(" v2.b="); pi(v2.b);
	printf(" v3="); pe(v3);
	printf(" v4="); pu(v4);
	printf(" v5="); p1(v5);
	printf(" v5.a="); pi(v5.a);
	printf(" v5.b="); pi(v5.b);
	printf(" v7="); pu(v7);
	float ret = (float)(40) * 0.5f;
	printf(" ret="); pf(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE short f2(char v0)
{
	printf("f2");
	printf(" v0="); pc(v0);
	short ret = (short)(-3 * (28));
	printf(" ret="); pi(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) static struct f2 f3(struct s5 v0, struct s6 v1, bool v2, unsigned long v3)
{
	printf("f3");
	printf(" v0="); p5(v0);
	printf(" v0.a="); pu(v0.a);
	printf(" v0.b="); pi(v0.b);
	printf(" v1="); p6(v1);
	printf(" v1.in.b="); pi(v1.in.b);
	printf(" v2="); pb(v2);
	printf(" v3="); pu(v3);
	struct f2 ret = mf2(45);
	printf(" ret="); pf2(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) static int f4(const int * v0, const int * v1, __int128 v2, struct q1 v3, unsigned short v4, unsigned short v5)
{
	printf("f4");
	printf(" v0[0]="); pi(v0[0]);
	printf(" *v1="); pi(*v1);
	printf(" v4="); pu(v4);
	printf(" v5="); pu(v5);
	int ret = (int)(-100003 * (23));
	printf(" ret="); pi(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE signed char f5(const struct s5 * v0, unsigned short v1, const char * v2, struct s4 v3, struct q1 v4)
{
	printf("f5");
	printf(" *v0="); p5(*v0);
	printf(" v0->b="); pi(v0->b);
	printf(" v0->c="); pu(v0->c);
	printf(" v1="); pu(v1);
	printf(" v2="); ps(v2);
	printf(" v3="); p4(v3);
	printf(" v3.i="); pi(v3.i);
	printf(" v3.d="); pc(v3.d);
	signed char ret = (signed char)-(38);
	printf(" ret="); pc(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE signed char f6(char v0, unsigned long v1, unsigned char v2, int v3)
{
	printf("f6");
	printf(" v0="); pc(v0);
	printf(" v1="); pu(v1);
	printf(" v2="); pc(v2);
	printf(" v3="); pi(v3);
	signed char ret = (signed char)-(14);
	printf(" ret="); pc(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) static int f7(struct s6 v0, struct s6 v1)
{
	printf("f7");
	printf(" v0="); p6(v0);
	printf(" v0.in.b="); pi(v0.in.b);
	printf(" v0.u[2]="); pc(v0.u[2]);
	printf(" v1="); p6(v1);
	printf(" v1.in.b="); pi(v1.in.b);
	printf(" v1.u[2]="); pc(v1.u[2]);
	int ret = (int)(-100003 * (22));
	printf(" ret="); pi(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE long double f8(const struct s7 * v0, long v1, int v2, enum color v3, short v4, enum color v5, unsigned v6)
{
	printf("f8");
	printf(" v0->s="); ps(v0->s);
	printf(" v0->k="); pe(v0->k);
	printf(" v1="); pi(v1);
	printf(" v2="); pi(v2);
	printf(" v3="); pe(v3);
	printf(" v4="); pi(v4);
	printf(" v5="); pe(v5);
	printf(" v6="); pu(v6);
	long double ret = (long double)(17);
	printf(" ret="); printf("..."); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE struct s4 f9(enum color v0, struct s6 v1, unsigned char v2)
{
	printf("f9");
	printf(" v0="); pe(v0);
	printf(" v1="); p6(v1);
	printf(" v1.in.b="); pi(v1.in.b);
	printf(" v2="); pc(v2);
	struct s4 ret = m4(17);
	printf(" ret="); p4(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) static long f10(char v0, struct d1 v1, const int * v2, char v3, long double v4, enum color v5, struct s2 v6, const int * v7)
{
	printf("f10");
	printf(" v0="); pc(v0);
	printf(" v1="); pd1(v1);
	printf(" v2[0]="); pi(v2[0]);
	printf(" v3="); pc(v3);
	printf(" v5="); pe(v5);
	printf(" v6="); p2(v6);
	printf(" v6.y="); pi(v6.y);
	printf(" *v7="); pi(*v7);
	long ret = -1000000000007L * (33);
	printf(" ret="); pi(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE struct k1 f11(const struct s7 * v0, const struct s5 * v1, const char * v2, __int128 v3, __int128 v4)
{
	printf("f11");
	printf(" v1->c="); pu(v1->c);
	printf(" v2="); ps(v2);
	struct k1 ret = mk1(48);
	printf(" ret="); pk1(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE bool f12(enum color v0, struct k1 v1, struct q1 v2, const struct s7 * v3, unsigned long v4, float v5)
{
	printf("f12");
	printf(" v0="); pe(v0);
	printf(" v1="); pk1(v1);
	printf(" v1.i="); pi(v1.i);
	printf(" v4="); pu(v4);
	printf(" v5="); pf(v5);
	bool ret = (0) & 1;
	printf(" ret="); pb(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) static struct k1 f13(bool v0, unsigned char v1, unsigned short v2, double v3, __int128 v4, const char * v5, unsigned char v6)
{
	printf("f13");
	printf(" v0="); pb(v0);
	printf(" v1="); pc(v1);
	printf(" v2="); pu(v2);
	printf(" v3="); pf(v3);
	printf(" v5="); ps(v5);
	printf(" v6="); pc(v6);
	struct k1 ret = mk1(20);
	printf(" ret="); pk1(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE long f14(void)
{
	printf("f14");
	long ret = -1000000000007L * (36);
	printf(" ret="); pi(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE long double f15(struct q1 v0, const int * v1)
{
	printf("f15");
	printf(" v1[0]="); pi(v1[0]);
	long double ret = (long double)(6);
	printf(" ret="); printf("..."); printf("\n");
	return ret;
}
__attribute__((noinline)) static signed char f16(struct d1 v0, struct k1 v1, unsigned long v2, struct e0 v3)
{
	printf("f16");
	printf(" v0="); pd1(v0);
	printf(" v0.i="); pi(v0.i);
	printf(" v1="); pk1(v1);
	printf(" v1.i="); pi(v1.i);
	printf(" v1.s="); pi(v1.s);
	printf(" v2="); pu(v2);
	signed char ret = (signed char)-(14);
	printf(" ret="); pc(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE char f17(void)
{
	printf("f17");
	char ret = (char)('a' + (29) % 26);
	printf(" ret="); pc(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE unsigned f18(const struct s5 * v0, double v1, double v2, double v3)
{
	printf("f18");
	printf(" *v0="); p5(*v0);
	printf(" v0->b="); pi(v0->b);
	printf(" v0->c="); pu(v0->c);
	printf(" v1="); pf(v1);
	printf(" v2="); pf(v2);
	printf(" v3="); pf(v3);
	unsigned ret = 4000000000u + (unsigned)(29);
	printf(" ret="); pu(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE struct f2 f19(unsigned char v0, struct e0 v1, unsigned short v2, struct q1 v3, const struct s7 * v4, __int128 v5, signed char v6)
{
	printf("f19");
	printf(" v0="); pc(v0);
	printf(" v2="); pu(v2);
	printf(" v6="); pc(v6);
	struct f2 ret = mf2(24);
	printf(" ret="); pf2(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE unsigned f20(long v0, struct k1 v1, unsigned short v2, struct q1 v3, unsigned long v4, struct s6 v5, struct s6 v6)
{
	printf("f20");
	printf(" v0="); pi(v0);
	printf(" v1="); pk1(v1);
	printf(" v1.s="); pi(v1.s);
	printf(" v2="); pu(v2);
	printf(" v4="); pu(v4);
	printf(" v5="); p6(v5);
	printf(" v5.in.b="); pi(v5.in.b);
	printf(" v5.u[2]="); pc(v5.u[2]);
	printf(" v6="); p6(v6);
	printf(" v6.in.b="); pi(v6.in.b);
	unsigned ret = 4000000000u + (unsigned)(22);
	printf(" ret="); pu(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE const char * f21(struct e0 v0, struct s3 v1, struct q1 v2, float v3)
{
	printf("f21");
	printf(" v1="); p3(v1);
	printf(" v1.v[2]="); pi(v1.v[2]);
	printf(" v3="); pf(v3);
	const char * ret = texts[(43) & 3];
	printf(" ret="); ps(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE long f22(void)
{
	printf("f22");
	long ret = -1000000000007L * (35);
	printf(" ret="); pi(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE struct s1 f23(struct s4 v0, float v1)
{
	printf("f23");
	printf(" v0="); p4(v0);
	printf(" v0.i="); pi(v0.i);
	printf(" v0.d="); pc(v0.d);
	printf(" v1="); pf(v1);
	struct s1 ret = m1(10);
	printf(" ret="); p1(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE unsigned long f24(struct k1 v0, char v1)
{
	printf("f24");
	printf(" v0="); pk1(v0);
	printf(" v0.s="); pi(v0.s);
	printf(" v1="); pc(v1);
	unsigned long ret = 18000000000000000000UL + (unsigned long)(37);
	printf(" ret="); pu(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) static short f25(double v0, long double v1)
{
	printf("f25");
	printf(" v0="); pf(v0);
	short ret = (short)(-3 * (5));
	printf(" ret="); pi(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE unsigned short f26(struct s1 v0, struct s4 v1, int v2)
{
	printf("f26");
	printf(" v0="); p1(v0);
	printf(" v0.a="); pi(v0.a);
	printf(" v0.b="); pi(v0.b);
	printf(" v1="); p4(v1);
	printf(" v1.d="); pc(v1.d);
	printf(" v2="); pi(v2);
	unsigned short ret = (unsigned short)(65000 + (46));
	printf(" ret="); pu(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE long double f27(struct q1 v0, struct s3 v1)
{
	printf("f27");
	printf(" v1="); p3(v1);
	long double ret = (long double)(27);
	printf(" ret="); printf("..."); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE struct s5 f28(struct s1 v0)
{
	printf("f28");
	printf(" v0="); p1(v0);
	printf(" v0.a="); pi(v0.a);
	struct s5 ret = m5(49);
	printf(" ret="); p5(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) static long f29(void)
{
	printf("f29");
	long ret = -1000000000007L * (5);
	printf(" ret="); pi(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE struct s3 f30(const struct s5 * v0, long double v1, unsigned char v2, struct d1 v3)
{
	printf("f30");
	printf(" *v0="); p5(*v0);
	printf(" v0->c="); pu(v0->c);
	printf(" v2="); pc(v2);
	printf(" v3="); pd1(v3);
	printf(" v3.i="); pi(v3.i);
	struct s3 ret = m3(38);
	printf(" ret="); p3(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE signed char f31(struct e0 v0, const int * v1, struct e0 v2, float v3, float v4, bool v5, struct s4 v6)
{
	printf("f31");
	printf(" *v1="); pi(*v1);
	printf(" v3="); pf(v3);
	printf(" v4="); pf(v4);
	printf(" v5="); pb(v5);
	printf(" v6="); p4(v6);
	printf(" v6.i="); pi(v6.i);
	printf(" v6.d="); pc(v6.d);
	signed char ret = (signed char)-(0);
	printf(" ret="); pc(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) static struct e0 f32(struct s2 v0, struct s1 v1, struct d1 v2, struct k1 v3, enum color v4, unsigned short v5, unsigned short v6, const char * v7)
{
	printf("f32");
	printf(" v0="); p2(v0);
	printf(" v0.y="); pi(v0.y);
	printf(" v1="); p1(v1);
	printf(" v1.b="); pi(v1.b);
	printf(" v2="); pd1(v2);
	printf(" v2.i="); pi(v2.i);
	printf(" v3="); pk1(v3);
	printf(" v3.i="); pi(v3.i);
	printf(" v3.s="); pi(v3.s);
	printf(" v4="); pe(v4);
	struct e0 ret = (struct e0){ };
	printf(" ret="); printf("..."); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE struct e0 f33(struct d1 v0)
{
	printf("f33");
	printf(" v0="); pd1(v0);
	printf(" v0.i="); pi(v0.i);
	struct e0 ret = (struct e0){ };
	printf(" ret="); printf("..."); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE struct d1 f34(struct s3 v0, const char * v1, const int * v2, signed char v3, struct e0 v4, unsigned short v5)
{
	printf("f34");
	printf(" v0="); p3(v0);
	printf(" v0.v[2]="); pi(v0.v[2]);
	printf(" v1="); ps(v1);
	printf(" *v2="); pi(*v2);
	printf(" v3="); pc(v3);
	printf(" v5="); pu(v5);
	struct d1 ret = md1(8);
	printf(" ret="); pd1(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE float f35(short v0, char v1)
{
	printf("f35");
	printf(" v0="); pi(v0);
	printf(" v1="); pc(v1);
	float ret = (float)(32) * 0.5f;
	printf(" ret="); pf(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE struct s3 f36(short v0, bool v1, unsigned short v2, struct s2 v3)
{
	printf("f36");
	printf(" v0="); pi(v0);
	printf(" v1="); pb(v1);
	printf(" v2="); pu(v2);
	printf(" v3="); p2(v3);
	struct s3 ret = m3(17);
	printf(" ret="); p3(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE unsigned f37(unsigned long v0, enum color v1)
{
	printf("f37");
	printf(" v0="); pu(v0);
	printf(" v1="); pe(v1);
	unsigned ret = 4000000000u + (unsigned)(1);
	printf(" ret="); pu(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE struct s1 f38(long double v0, struct s4 v1, struct s3 v2, struct s3 v3, const struct s7 * v4, signed char v5)
{
	printf("f38");
	printf(" v1="); p4(v1);
	printf(" v1.i="); pi(v1.i);
	printf(" v1.d="); pc(v1.d);
	printf(" v2="); p3(v2);
	printf(" v2.v[2]="); pi(v2.v[2]);
	printf(" v3="); p3(v3);
	printf(" v4->k="); pe(v4->k);
	printf(" v5="); pc(v5);
	struct s1 ret = m1(20);
	printf(" ret="); p1(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) NOCLONE struct s1 f39(__int128 v0, const struct s5 * v1)
{
	printf("f39");
	printf(" *v1="); p5(*v1);
	printf(" v1->b="); pi(v1->b);
	printf(" v1->c="); pu(v1->c);
	struct s1 ret = m1(15);
	printf(" ret="); p1(ret); printf("\n");
	return ret;
}
int main(int argc, char **argv)
{
	(void)argc; (void)argv;
	setvbuf(stdout, 0, _IOFBF, 1 << 20);
	for (int i = 0; i < 4; i++)
		names[i] = m7(i);
	printf("pid %d\n", getpid());
	fflush(stdout);
	getchar();
	for (long n = 0; n < 5; n++) {
		f0((__int128)(n + 5) << 70, (struct q1){ (__int128)(n + 17) << 70 }, (short)(-3 * (n + 13)), texts[(n + 22) & 3], m2(n + 4), (unsigned short)(65000 + (n + 12)), 18000000000000000000UL + (unsigned long)(n + 18));
		f1((int)(-100003 * (n + 11)), md1(n + 1), m5(n + 17), colors[(n + 14) % 3], 4000000000u + (unsigned)(n + 22), m1(n + 16), (struct e0){ }, (unsigned short)(65000 + (n + 24)));
		f2((char)('a' + (n + 16) % 26));
		f3(m5(n + 7), m6(n + 4), (n + 18) & 1, 18000000000000000000UL + (unsigned long)(n + 20));
		f4(&ints[(n + 3) & 7], &ints[(n + 6) & 7], (__int128)(n + 6) << 70, (struct q1){ (__int128)(n + 3) << 70 }, (unsigned short)(65000 + (n + 11)), (unsigned short)(65000 + (n + 22)));
		f5(&cells[(n + 17) & 3], (unsigned short)(65000 + (n + 16)), texts[(n + 11) & 3], m4(n + 5), (struct q1){ (__int128)(n + 15) << 70 });
		f6((char)('a' + (n + 3) % 26), 18000000000000000000UL + (unsigned long)(n + 12), (unsigned char)(200 + (n + 18)), (int)(-100003 * (n + 8)));
		f7(m6(n + 6), m6(n + 18));
		f8(&names[(n + 4) & 3], -1000000000007L * (n + 11), (int)(-100003 * (n + 17)), colors[(n + 22) % 3], (short)(-3 * (n + 9)), colors[(n + 8) % 3], 4000000000u + (unsigned)(n + 7));
		f9(colors[(n + 6) % 3], m6(n + 5), (unsigned char)(200 + (n + 12)));
		f10((char)('a' + (n + 16) % 26), md1(n + 4), &ints[(n + 4) & 7], (char)('a' + (n + 19) % 26), (long double)(n + 8), colors[(n + 18) % 3], m2(n + 10), &ints[(n + 23) & 7]);
		f11(&names[(n + 0) & 3], &cells[(n + 7) & 3], texts[(n + 7) & 3], (__int128)(n + 21) << 70, (__int128)(n + 18) << 70);
		f12(colors[(n + 18) % 3], mk1(n + 19), (struct q1){ (__int128)(n + 7) << 70 }, &names[(n + 7) & 3], 18000000000000000000UL + (unsigned long)(n + 9), (float)(n + 12) * 0.5f);
		f13((n + 5) & 1, (unsigned char)(200 + (n + 5)), (unsigned short)(65000 + (n + 3)), (double)(n + 18) * -0.25, (__int128)(n + 21) << 70, texts[(n + 6) & 3], (unsigned char)(200 + (n + 9)));
		f14();
		f15((struct q1){ (__int128)(n + 11) << 70 }, &ints[(n + 14) & 7]);
		f16(md1(n + 4), mk1(n + 16), 18000000000000000000UL + (unsigned long)(n + 11), (struct e0){ });
		f17();
		f18(&cells[(n + 6) & 3], (double)(n + 13) * -0.25, (double)(n + 5) * -0.25, (double)(n + 7) * -0.25);
		f19((unsigned char)(200 + (n + 13)), (struct e0){ }, (unsigned short)(65000 + (n + 15)), (struct q1){ (__int128)(n + 6) << 70 }, &names[(n + 13) & 3], (__int128)(n + 20) << 70, (signed char)-(n + 23));
		f20(-1000000000007L * (n + 10), mk1(n + 14), (unsigned short)(65000 + (n + 17)), (struct q1){ (__int128)(n + 10) << 70 }, 18000000000000000000UL + (unsigned long)(n + 12), m6(n + 10), m6(n + 8));
		f21((struct e0){ }, m3(n + 20), (struct q1){ (__int128)(n + 20) << 70 }, (float)(n + 15) * 0.5f);
		f22();
		f23(m4(n + 9), (float)(n + 14) * 0.5f);
		f24(mk1(n + 19), (char)('a' + (n + 4) % 26));
		f25((double)(n + 7) * -0.25, (long double)(n + 14));
		f26(m1(n + 0), m4(n + 7), (int)(-100003 * (n + 13)));
		f27((struct q1){ (__int128)(n + 4) << 70 }, m3(n + 4));
		f28(m1(n + 14));
		f29();
		f30(&cells[(n + 4) & 3], (long double)(n + 13), (unsigned char)(200 + (n + 13)), md1(n + 17));
		f31((struct e0){ }, &ints[(n + 7) & 7], (struct e0){ }, (float)(n + 7) * 0.5f, (float)(n + 23) * 0.5f, (n + 22) & 1, m4(n + 16));
		f32(m2(n + 9), m1(n + 2), md1(n + 18), mk1(n + 5), colors[(n + 4) % 3], (unsigned short)(65000 + (n + 7)), (unsigned short)(65000 + (n + 8)), texts[(n + 20) & 3]);
		f33(md1(n + 17));
		f34(m3(n + 14), texts[(n + 5) & 3], &ints[(n + 13) & 7], (signed char)-(n + 4), (struct e0){ }, (unsigned short)(65000 + (n + 23)));
		f35((short)(-3 * (n + 5)), (char)('a' + (n + 18) % 26));
		f36((short)(-3 * (n + 15)), (n + 5) & 1, (unsigned short)(65000 + (n + 20)), m2(n + 6));
		f37(18000000000000000000UL + (unsigned long)(n + 0), colors[(n + 11) % 3]);
		f38((long double)(n + 6), m4(n + 2), m3(n + 10), m3(n + 10), &names[(n + 5) & 3], (signed char)-(n + 22));
		f39((__int128)(n + 12) << 70, &cells[(n + 19) & 3]);
	}
	return 0;
}
