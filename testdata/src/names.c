#include <stdio.h>
#include <stdbool.h>
#include <unistd.h>
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
static struct f2 mf2(long n) { return (struct f2){ n * 0.5f, n * -0.25f }; }
static struct d1 md1(long n) { return (struct d1){ n * 1.5, (int)-n }; }
static int ints[8] = { 3, -1, 4, -1, 5, -9, 2, 6 };
static struct s5 cells[4] = { { 1, -1, 10 }, { 2, -2, 20 }, { 3, -3, 30 }, { 7, 31, 1UL << 39 } };
static struct s7 names[4];
__attribute__((noinline)) static unsigned char f0(double v0, const struct s7 * v1, bool v2, enum color v3, short v4, unsigned v5, const struct s5 * v6)
{
	printf("f0");
	printf(" v0="); pf(v0);
	printf(" v1->s="); ps(v1->s);
	printf(" v2="); pb(v2);
	printf(" v3="); pe(v3);
	printf(" v4="); pi(v4);
	printf(" v5="); pu(v5);
	printf(" *v6="); p5(*v6);
	printf(" v6->b="); pi(v6->b);
	printf(" v6->c="); pu(v6->c);
	unsigned char ret = (unsigned char)(200 + (8));
	printf(" ret="); pc(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) unsigned char f1(char v0, struct s2 v1, struct s4 v2, int v3, enum color v4, const char * v5, int v6)
{
	printf("f1");
	printf(" v0="); pc(v0);
	printf(" v1="); p2(v1);
	printf(" v2="); p4(v2);
	printf(" v2.i="); pi(v2.i);
	printf(" v3="); pi(v3);
	printf(" v4="); pe(v4);
	printf(" v5="); ps(v5);
	printf(" v6="); pi(v6);
	unsigned char ret = (unsigned char)(200 + (33));
	printf(" ret="); pc(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) struct s2 f2(void)
{
	printf("f2");
	struct s2 ret = m2(10);
	printf(" ret="); p2(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) const struct s7 * f3(struct s3 v0, struct s2 v1)
{
	printf("f3");
	printf(" v0="); p3(v0);
	printf(" v0.v[2]="); pi(v0.v[2]);
	printf(" v1="); p2(v1);
	printf(" v1.y="); pi(v1.y);
	const struct s7 * ret = &names[(29) & 3];
	printf(" ret->s="); ps(ret->s); printf("\n");
	return ret;
}
__attribute__((noinline)) struct s3 f4(struct f2 v0)
{
	printf("f4");
	printf(" v0="); pf2(v0);
	struct s3 ret = m3(16);
	printf(" ret="); p3(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) static struct s2 f5(float v0, bool v1)
{
	printf("f5");
	printf(" v0="); pf(v0);
	printf(" v1="); pb(v1);
	struct s2 ret = m2(30);
	printf(" ret="); p2(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) unsigned f6(struct s4 v0, int v1, short v2, short v3)
{
	printf("f6");
	printf(" v0="); p4(v0);
	printf(" v0.d="); pc(v0.d);
	printf(" v1="); pi(v1);
	printf(" v2="); pi(v2);
	printf(" v3="); pi(v3);
	unsigned ret = 4000000000u + (unsigned)(23);
	printf(" ret="); pu(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) signed char f7(struct s5 v0, const struct s5 * v1, struct s2 v2, struct s3 v3, signed char v4)
{
	printf("f7");
	printf(" v0="); p5(v0);
	printf(" v0.a="); pu(v0.a);
	printf(" v0.b="); pi(v0.b);
	printf(" *v1="); p5(*v1);
	printf(" v1->b="); pi(v1->b);
	printf(" v2="); p2(v2);
	printf(" v2.y="); pi(v2.y);
	printf(" v3="); p3(v3);
	printf(" v3.v[2]="); pi(v3.v[2]);
	printf(" v4="); pc(v4);
	signed char ret = (signed char)-(0);
	printf(" ret="); pc(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) static char f8(struct s3 v0, struct s6 v1)
{
	printf("f8");
	printf(" v0="); p3(v0);
	printf(" v0.v[2]="); pi(v0.v[2]);
	printf(" v1="); p6(v1);
	printf(" v1.in.b="); pi(v1.in.b);
	char ret = (char)('a' + (27) % 26);
	printf(" ret="); pc(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) unsigned f9(unsigned long v0, const struct s5 * v1, enum color v2, struct d1 v3, enum color v4)
{
	printf("f9");
	printf(" v0="); pu(v0);
	printf(" *v1="); p5(*v1);
	printf(" v1->b="); pi(v1->b);
	printf(" v1->c="); pu(v1->c);
	printf(" v2="); pe(v2);
	printf(" v3="); pd1(v3);
	printf(" v4="); pe(v4);
	unsigned ret = 4000000000u + (unsigned)(25);
	printf(" ret="); pu(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) static unsigned short f10(struct s3 v0, unsigned char v1, unsigned long v2, int v3, unsigned long v4, unsigned long v5, float v6)
{
	printf("f10");
	printf(" v0="); p3(v0);
	printf(" v0.v[2]="); pi(v0.v[2]);
	printf(" v1="); pc(v1);
	printf(" v2="); pu(v2);
	printf(" v3="); pi(v3);
	printf(" v4="); pu(v4);
	printf(" v5="); pu(v5);
	printf(" v6="); pf(v6);
	unsigned short ret = (unsigned short)(65000 + (21));
	printf(" ret="); pu(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) int f11(void)
{
	printf("f11");
	int ret = (int)(-100003 * (26));
	printf(" ret="); pi(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) unsigned long f12(unsigned v0, const struct s7 * v1, int v2, short v3, char v4, struct d1 v5, struct s6 v6, struct s4 v7)
{
	printf("f12");
	printf(" v0="); pu(v0);
	printf(" v1->s="); ps(v1->s);
	printf(" v2="); pi(v2);
	printf(" v3="); pi(v3);
	printf(" v4="); pc(v4);
	printf(" v5="); pd1(v5);
	printf(" v5.i="); pi(v5.i);
	printf(" v6="); p6(v6);
	printf(" v6.in.b="); pi(v6.in.b);
	printf(" v6.u[2]="); pc(v6.u[2]);
	unsigned long ret = 18000000000000000000UL + (unsigned long)(37);
	printf(" ret="); pu(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) struct s5 f13(float v0, char v1, struct s5 v2, long v3, double v4, struct d1 v5)
{
	printf("f13");
	printf(" v0="); pf(v0);
	printf(" v1="); pc(v1);
	printf(" v2="); p5(v2);
	printf(" v2.b="); pi(v2.b);
	printf(" v2.c="); pu(v2.c);
	printf(" v3="); pi(v3);
	printf(" v4="); pf(v4);
	printf(" v5="); pd1(v5);
	printf(" v5.i="); pi(v5.i);
	struct s5 ret = m5(17);
	printf(" ret="); p5(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) unsigned short f14(double v0, unsigned char v1, struct s5 v2, struct d1 v3, char v4, const struct s7 * v5, signed char v6)
{
	printf("f14");
	printf(" v0="); pf(v0);
	printf(" v1="); pc(v1);
	printf(" v2="); p5(v2);
	printf(" v3="); pd1(v3);
	printf(" v3.i="); pi(v3.i);
	printf(" v4="); pc(v4);
	printf(" v6="); pc(v6);
	unsigned short ret = (unsigned short)(65000 + (6));
	printf(" ret="); pu(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) unsigned short f15(const struct s5 * v0, signed char v1, short v2, struct f2 v3, const int * v4, struct d1 v5)
{
	printf("f15");
	printf(" *v0="); p5(*v0);
	printf(" v0->b="); pi(v0->b);
	printf(" v0->c="); pu(v0->c);
	printf(" v1="); pc(v1);
	printf(" v2="); pi(v2);
	printf(" v3="); pf2(v3);
	printf(" *v4="); pi(*v4);
	printf(" v5="); pd1(v5);
	printf(" v5.i="); pi(v5.i);
	unsigned short ret = (unsigned short)(65000 + (8));
	printf(" ret="); pu(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) short f16(signed char v0, int v1, float v2, enum color v3, struct s1 v4, const struct s5 * v5, int v6, unsigned long v7)
{
	printf("f16");
	printf(" v0="); pc(v0);
	printf(" v1="); pi(v1);
	printf(" v2="); pf(v2);
	printf(" v3="); pe(v3);
	printf(" v4="); p1(v4);
	printf(" v5->b="); pi(v5->b);
	printf(" v6="); pi(v6);
	printf(" v7="); pu(v7);
	short ret = (short)(-3 * (35));
	printf(" ret="); pi(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) struct s4 f17(const int * v0, int v1, long v2, unsigned char v3, float v4, struct s5 v5)
{
	printf("f17");
	printf(" *v0="); pi(*v0);
	printf(" v0[0]="); pi(v0[0]);
	printf(" v1="); pi(v1);
	printf(" v2="); pi(v2);
	printf(" v3="); pc(v3);
	printf(" v4="); pf(v4);
	printf(" v5="); p5(v5);
	printf(" v5.b="); pi(v5.b);
	printf(" v5.c="); pu(v5.c);
	struct s4 ret = m4(9);
	printf(" ret="); p4(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) static struct f2 f18(signed char v0, struct s1 v1, struct s1 v2, char v3, const struct s5 * v4, enum color v5)
{
	printf("f18");
	printf(" v0="); pc(v0);
	printf(" v1="); p1(v1);
	printf(" v1.a="); pi(v1.a);
	printf(" v2="); p1(v2);
	printf(" v2.a="); pi(v2.a);
	printf(" v3="); pc(v3);
	printf(" *v4="); p5(*v4);
	printf(" v4->b="); pi(v4->b);
	printf(" v5="); pe(v5);
	struct f2 ret = mf2(13);
	printf(" ret="); pf2(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) static struct s1 f19(struct s3 v0, const char * v1, const char * v2, struct s1 v3, struct f2 v4, char v5, unsigned v6)
{
	printf("f19");
	printf(" v0="); p3(v0);
	printf(" v0.v[2]="); pi(v0.v[2]);
	printf(" v1="); ps(v1);
	printf(" v2="); ps(v2);
	printf(" v3="); p1(v3);
	printf(" v3.a="); pi(v3.a);
	printf(" v3.b="); pi(v3.b);
	printf(" v4="); pf2(v4);
	printf(" v5="); pc(v5);
	printf(" v6="); pu(v6);
	struct s1 ret = m1(18);
	printf(" ret="); p1(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) unsigned f20(struct s1 v0, struct s5 v1, float v2, long v3)
{
	printf("f20");
	printf(" v0="); p1(v0);
	printf(" v0.a="); pi(v0.a);
	printf(" v0.b="); pi(v0.b);
	printf(" v1="); p5(v1);
	printf(" v1.a="); pu(v1.a);
	printf(" v2="); pf(v2);
	printf(" v3="); pi(v3);
	unsigned ret = 4000000000u + (unsigned)(9);
	printf(" ret="); pu(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) const int * f21(unsigned char v0)
{
	printf("f21");
	printf(" v0="); pc(v0);
	const int * ret = &ints[(19) & 7];
	printf(" *ret="); pi(*ret); printf("\n");
	return ret;
}
__attribute__((noinline)) struct d1 f22(unsigned char v0, bool v1, struct d1 v2, long v3, struct s1 v4, struct s3 v5)
{
	printf("f22");
	printf(" v0="); pc(v0);
	printf(" v1="); pb(v1);
	printf(" v2="); pd1(v2);
	printf(" v2.i="); pi(v2.i);
	printf(" v3="); pi(v3);
	printf(" v4="); p1(v4);
	printf(" v4.a="); pi(v4.a);
	printf(" v4.b="); pi(v4.b);
	printf(" v5="); p3(v5);
	printf(" v5.v[2]="); pi(v5.v[2]);
	struct d1 ret = md1(11);
	printf(" ret="); pd1(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) short f23(unsigned char v0, struct s3 v1, struct f2 v2, struct d1 v3, unsigned char v4)
{
	printf("f23");
	printf(" v0="); pc(v0);
	printf(" v1="); p3(v1);
	printf(" v1.v[2]="); pi(v1.v[2]);
	printf(" v2="); pf2(v2);
	printf(" v3="); pd1(v3);
	printf(" v4="); pc(v4);
	short ret = (short)(-3 * (24));
	printf(" ret="); pi(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) unsigned f24(signed char v0, struct s4 v1, struct s6 v2)
{
	printf("f24");
	printf(" v0="); pc(v0);
	printf(" v1="); p4(v1);
	printf(" v1.i="); pi(v1.i);
	printf(" v1.d="); pc(v1.d);
	printf(" v2="); p6(v2);
	printf(" v2.in.b="); pi(v2.in.b);
	unsigned ret = 4000000000u + (unsigned)(3);
	printf(" ret="); pu(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) float f25(struct s4 v0, unsigned v1, const char * v2, long v3, short v4, const struct s7 * v5)
{
	printf("f25");
	printf(" v0="); p4(v0);
	printf(" v0.d="); pc(v0.d);
	printf(" v1="); pu(v1);
	printf(" v2="); ps(v2);
	printf(" v3="); pi(v3);
	printf(" v4="); pi(v4);
	printf(" v5->s="); ps(v5->s);
	float ret = (float)(35) * 0.5f;
	printf(" ret="); pf(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) static struct d1 f26(struct s1 v0, const struct s7 * v1, const struct s7 * v2, unsigned char v3)
{
	printf("f26");
	printf(" v0="); p1(v0);
	printf(" v0.a="); pi(v0.a);
	printf(" v1->s="); ps(v1->s);
	printf(" v1->k="); pe(v1->k);
	printf(" v2->s="); ps(v2->s);
	printf(" v2->k="); pe(v2->k);
	printf(" v3="); pc(v3);
	struct d1 ret = md1(21);
	printf(" ret="); pd1(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) char f27(unsigned short v0, unsigned char v1, short v2, unsigned short v3, const struct s7 * v4, const struct s7 * v5, float v6)
{
	printf("f27");
	printf(" v0="); pu(v0);
	printf(" v1="); pc(v1);
	printf(" v2="); pi(v2);
	printf(" v3="); pu(v3);
	printf(" v4->k="); pe(v4->k);
	printf(" v5->s="); ps(v5->s);
	printf(" v5->k="); pe(v5->k);
	printf(" v6="); pf(v6);
	char ret = (char)('a' + (10) % 26);
	printf(" ret="); pc(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) struct s4 f28(bool v0, unsigned char v1, const int * v2, unsigned short v3, unsigned long v4)
{
	printf("f28");
	printf(" v0="); pb(v0);
	printf(" v1="); pc(v1);
	printf(" *v2="); pi(*v2);
	printf(" v2[0]="); pi(v2[0]);
	printf(" v3="); pu(v3);
	printf(" v4="); pu(v4);
	struct s4 ret = m4(17);
	printf(" ret="); p4(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) float f29(struct s5 v0, unsigned char v1, unsigned v2, struct s2 v3)
{
	printf("f29");
	printf(" v0="); p5(v0);
	printf(" v0.a="); pu(v0.a);
	printf(" v0.c="); pu(v0.c);
	printf(" v1="); pc(v1);
	printf(" v2="); pu(v2);
	printf(" v3="); p2(v3);
	float ret = (float)(6) * 0.5f;
	printf(" ret="); pf(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) struct s6 f30(long v0, long v1)
{
	printf("f30");
	printf(" v0="); pi(v0);
	printf(" v1="); pi(v1);
	struct s6 ret = m6(49);
	printf(" ret="); p6(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) static struct f2 f31(const struct s5 * v0, struct s2 v1, enum color v2)
{
	printf("f31");
	printf(" v0->b="); pi(v0->b);
	printf(" v1="); p2(v1);
	printf(" v1.y="); pi(v1.y);
	printf(" v2="); pe(v2);
	struct f2 ret = mf2(23);
	printf(" ret="); pf2(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) struct s3 f32(void)
{
	printf("f32");
	struct s3 ret = m3(34);
	printf(" ret="); p3(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) unsigned short f33(signed char v0, enum color v1, unsigned v2)
{
	printf("f33");
	printf(" v0="); pc(v0);
	printf(" v1="); pe(v1);
	printf(" v2="); pu(v2);
	unsigned short ret = (unsigned short)(65000 + (32));
	printf(" ret="); pu(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) bool f34(const struct s5 * v0, struct s5 v1, unsigned char v2, enum color v3, struct s3 v4, signed char v5, unsigned char v6, struct s3 v7)
{
	printf("f34");
	printf(" *v0="); p5(*v0);
	printf(" v0->b="); pi(v0->b);
	printf(" v0->c="); pu(v0->c);
	printf(" v1="); p5(v1);
	printf(" v1.c="); pu(v1.c);
	printf(" v2="); pc(v2);
	printf(" v3="); pe(v3);
	printf(" v4="); p3(v4);
	printf(" v4.v[2]="); pi(v4.v[2]);
	printf(" v5="); pc(v5);
	bool ret = (39) & 1;
	printf(" ret="); pb(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) struct f2 f35(void)
{
	printf("f35");
	struct f2 ret = mf2(47);
	printf(" ret="); pf2(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) static unsigned short f36(unsigned char v0, struct d1 v1, short v2)
{
	printf("f36");
	printf(" v0="); pc(v0);
	printf(" v1="); pd1(v1);
	printf(" v1.i="); pi(v1.i);
	printf(" v2="); pi(v2);
	unsigned short ret = (unsigned short)(65000 + (39));
	printf(" ret="); pu(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) unsigned char f37(struct f2 v0, struct s4 v1, struct s3 v2, double v3, int v4, struct s3 v5, const char * v6)
{
	printf("f37");
	printf(" v0="); pf2(v0);
	printf(" v1="); p4(v1);
	printf(" v2="); p3(v2);
	printf(" v2.v[2]="); pi(v2.v[2]);
	printf(" v3="); pf(v3);
	printf(" v4="); pi(v4);
	printf(" v5="); p3(v5);
	printf(" v6="); ps(v6);
	unsigned char ret = (unsigned char)(200 + (41));
	printf(" ret="); pc(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) unsigned f38(unsigned short v0, unsigned long v1, signed char v2)
{
	printf("f38");
	printf(" v0="); pu(v0);
	printf(" v1="); pu(v1);
	printf(" v2="); pc(v2);
	unsigned ret = 4000000000u + (unsigned)(36);
	printf(" ret="); pu(ret); printf("\n");
	return ret;
}
__attribute__((noinline)) enum color f39(double v0, signed char v1, struct s4 v2)
{
	printf("f39");
	printf(" v0="); pf(v0);
	printf(" v1="); pc(v1);
	printf(" v2="); p4(v2);
	printf(" v2.d="); pc(v2.d);
	enum color ret = colors[(19) % 3];
	printf(" ret="); pe(ret); printf("\n");
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
		f0((double)(n + 5) * -0.25, &names[(n + 3) & 3], (n + 21) & 1, colors[(n + 3) % 3], (short)(-3 * (n + 7)), 4000000000u + (unsigned)(n + 10), &cells[(n + 8) & 3]);
		f1((char)('a' + (n + 1) % 26), m2(n + 16), m4(n + 6), (int)(-100003 * (n + 21)), colors[(n + 15) % 3], texts[(n + 17) & 3], (int)(-100003 * (n + 8)));
		f2();
		f3(m3(n + 7), m2(n + 8));
		f4(mf2(n + 14));
		f5((float)(n + 9) * 0.5f, (n + 4) & 1);
		f6(m4(n + 5), (int)(-100003 * (n + 20)), (short)(-3 * (n + 9)), (short)(-3 * (n + 20)));
		f7(m5(n + 17), &cells[(n + 20) & 3], m2(n + 4), m3(n + 21), (signed char)-(n + 4));
		f8(m3(n + 2), m6(n + 4));
		f9(18000000000000000000UL + (unsigned long)(n + 5), &cells[(n + 12) & 3], colors[(n + 10) % 3], md1(n + 18), colors[(n + 14) % 3]);
		f10(m3(n + 6), (unsigned char)(200 + (n + 6)), 18000000000000000000UL + (unsigned long)(n + 5), (int)(-100003 * (n + 4)), 18000000000000000000UL + (unsigned long)(n + 13), 18000000000000000000UL + (unsigned long)(n + 11), (float)(n + 17) * 0.5f);
		f11();
		f12(4000000000u + (unsigned)(n + 18), &names[(n + 19) & 3], (int)(-100003 * (n + 7)), (short)(-3 * (n + 3)), (char)('a' + (n + 20) % 26), md1(n + 9), m6(n + 15), m4(n + 23));
		f13((float)(n + 11) * 0.5f, (char)('a' + (n + 6) % 26), m5(n + 8), -1000000000007L * (n + 4), (double)(n + 22) * -0.25, md1(n + 22));
		f14((double)(n + 7) * -0.25, (unsigned char)(200 + (n + 20)), m5(n + 6), md1(n + 17), (char)('a' + (n + 13) % 26), &names[(n + 11) & 3], (signed char)-(n + 10));
		f15(&cells[(n + 13) & 3], (signed char)-(n + 10), (short)(-3 * (n + 13)), mf2(n + 8), &ints[(n + 7) & 7], md1(n + 16));
		f16((signed char)-(n + 11), (int)(-100003 * (n + 6)), (float)(n + 17) * 0.5f, colors[(n + 14) % 3], m1(n + 18), &cells[(n + 5) & 3], (int)(-100003 * (n + 16)), 18000000000000000000UL + (unsigned long)(n + 26));
		f17(&ints[(n + 3) & 7], (int)(-100003 * (n + 4)), -1000000000007L * (n + 17), (unsigned char)(200 + (n + 16)), (float)(n + 23) * 0.5f, m5(n + 21));
		f18((signed char)-(n + 17), m1(n + 10), m1(n + 11), (char)('a' + (n + 18) % 26), &cells[(n + 20) & 3], colors[(n + 10) % 3]);
		f19(m3(n + 2), texts[(n + 16) & 3], texts[(n + 19) & 3], m1(n + 22), mf2(n + 18), (char)('a' + (n + 22) % 26), 4000000000u + (unsigned)(n + 8));
		f20(m1(n + 13), m5(n + 9), (float)(n + 21) * 0.5f, -1000000000007L * (n + 17));
		f21((unsigned char)(200 + (n + 5)));
		f22((unsigned char)(200 + (n + 14)), (n + 9) & 1, md1(n + 17), -1000000000007L * (n + 10), m1(n + 7), m3(n + 24));
		f23((unsigned char)(200 + (n + 10)), m3(n + 5), mf2(n + 9), md1(n + 16), (unsigned char)(200 + (n + 9)));
		f24((signed char)-(n + 12), m4(n + 2), m6(n + 21));
		f25(m4(n + 6), 4000000000u + (unsigned)(n + 15), texts[(n + 16) & 3], -1000000000007L * (n + 9), (short)(-3 * (n + 14)), &names[(n + 22) & 3]);
		f26(m1(n + 11), &names[(n + 5) & 3], &names[(n + 11) & 3], (unsigned char)(200 + (n + 20)));
		f27((unsigned short)(65000 + (n + 2)), (unsigned char)(200 + (n + 8)), (short)(-3 * (n + 8)), (unsigned short)(65000 + (n + 19)), &names[(n + 19) & 3], &names[(n + 19) & 3], (float)(n + 18) * 0.5f);
		f28((n + 3) & 1, (unsigned char)(200 + (n + 7)), &ints[(n + 4) & 7], (unsigned short)(65000 + (n + 4)), 18000000000000000000UL + (unsigned long)(n + 6));
		f29(m5(n + 1), (unsigned char)(200 + (n + 7)), 4000000000u + (unsigned)(n + 4), m2(n + 12));
		f30(-1000000000007L * (n + 5), -1000000000007L * (n + 8));
		f31(&cells[(n + 19) & 3], m2(n + 19), colors[(n + 7) % 3]);
		f32();
		f33((signed char)-(n + 17), colors[(n + 2) % 3], 4000000000u + (unsigned)(n + 20));
		f34(&cells[(n + 6) & 3], m5(n + 16), (unsigned char)(200 + (n + 18)), colors[(n + 16) % 3], m3(n + 15), (signed char)-(n + 21), (unsigned char)(200 + (n + 15)), m3(n + 24));
		f35();
		f36((unsigned char)(200 + (n + 0)), md1(n + 17), (short)(-3 * (n + 18)));
		f37(mf2(n + 18), m4(n + 15), m3(n + 5), (double)(n + 20) * -0.25, (int)(-100003 * (n + 5)), m3(n + 6), texts[(n + 18) & 3]);
		f38((unsigned short)(65000 + (n + 0)), 18000000000000000000UL + (unsigned long)(n + 8), (signed char)-(n + 8));
		f39((double)(n + 0) * -0.25, (signed char)-(n + 14), m4(n + 14));
	}
	return 0;
}
