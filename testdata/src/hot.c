/* hot [sha256|sort|copy|json [N]] [wait]: real work to have a probe on every
   instruction of: N (3) rounds. Prints the result, and "calls C", how often
   the function at its heart was called. */
#include "fixture.h"
#include <stdint.h>

static long calls;

static const uint32_t K[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

#define ROR(x, n) ((x) >> (n) | (x) << (32 - (n)))

PROBED void sha256(uint32_t s[8], const unsigned char *p)
{
	uint32_t w[64], v[8];
	calls++;
	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)p[4 * i] << 24 | p[4 * i + 1] << 16 | p[4 * i + 2] << 8 | p[4 * i + 3];
	for (int i = 16; i < 64; i++)
		w[i] = w[i - 16] + w[i - 7] + (ROR(w[i - 15], 7) ^ ROR(w[i - 15], 18) ^ w[i - 15] >> 3) +
		       (ROR(w[i - 2], 17) ^ ROR(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(v, s, sizeof v);
	for (int i = 0; i < 64; i++) {
		uint32_t t1 = v[7] + (ROR(v[4], 6) ^ ROR(v[4], 11) ^ ROR(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + K[i] + w[i];
		uint32_t t2 = (ROR(v[0], 2) ^ ROR(v[0], 13) ^ ROR(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
		memmove(v + 1, v, 7 * sizeof *v);
		v[4] += t1;
		v[0] = t1 + t2;
	}
	for (int i = 0; i < 8; i++)
		s[i] += v[i];
}

PROBED int compare(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;
	calls++;
	return (x > y) - (x < y);
}

PROBED void copy(char *to, const char *from, size_t n)
{
	calls++;
	memcpy(to, from, n);
	/* and by hand, so that it is vectorised here */
	for (size_t i = 0; i < n; i++)
		to[i] = to[i] * 3 + from[n - 1 - i];
}

/* A value's digest; p is left behind the value. */
PROBED long json(const char **p)
{
	long v = 0;
	calls++;
	while (**p == ' ' || **p == ',')
		++*p;
	char c = *(*p)++;
	switch (c) {
	case '{':
	case '[':
		for (v = c; **p != '}' && **p != ']';)
			v = v * 31 + json(p);
		++*p;
		return v;
	case '"':
		while (**p != '"')
			v = v * 33 + *(*p)++;
		++*p;
		if (**p == ':')
			++*p;
		return v;
	case 't':
	case 'n':
		*p += 3;
		return c;
	case 'f':
		*p += 4;
		return c;
	default:
		for (--*p; **p == '-' || **p == '.' || (**p >= '0' && **p <= '9'); ++*p)
			v = v * 10 + **p - '0';
		return v;
	}
}

static unsigned long round_(const char *mode, long n)
{
	static char a[1024], b[1024];
	unsigned long result = n;
	for (int i = 0; i < 1024; i++)
		a[i] = i * 7 + n;
	if (strcmp(mode, "sha256") == 0) {
		uint32_t s[8] = {n, 1, 2, 3, 4, 5, 6, 7};
		sha256(s, (unsigned char *)a);
		return s[0] ^ (unsigned long)s[7] << 32;
	}
	if (strcmp(mode, "sort") == 0) {
		int v[50];
		for (int i = 0; i < 50; i++)
			v[i] = (i * 7919 + n) % 101;
		qsort(v, 50, sizeof *v, compare);
		for (int i = 0; i < 50; i++)
			result = result * 31 + v[i];
		return result;
	}
	if (strcmp(mode, "copy") == 0) {
		for (int len = 0; len < 150; len += 37)
			copy(b + len % 9, a + len % 5, len);
		for (int i = 0; i < 1024; i++)
			result = result * 31 + b[i];
		return result;
	}
	const char *p = "{\"a\": [1, -2.5, true, null], \"bc\": {\"d\": \"text\", \"e\": false}, \"f\": 12345}";
	return json(&p);
}

int main(int argc, char **argv)
{
	ready(&argc, argv);
	const char *mode = argc > 1 ? argv[1] : "sha256";
	long n = arg(argc, argv, 2, 3);
	unsigned long result = 0;
	for (long i = 0; i < n; i++)
		result = result * 17 + round_(mode, i);
	printf("calls %ld\nresult %lx\n", calls, result);
	return 0;
}
