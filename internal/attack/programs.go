package main

// The attacked programs, in C: what a program does to itself is plain there.

// vaultSource changes between two programs, by exec, for ever: a plain one of its user's, and a
// set-uid copy of itself that reads a secret while it has root's rights, and gives them up to become
// the plain one again. Executed under a tracer without root's rights it must not have them. Its data is
// at fixed addresses, for who wants to read or write it.
const vaultSource = `
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
char secret[64] = "none"; /* among the first of the data: see addresses */
volatile char wanted[64] = "true";
__attribute__((noipa)) long work(long n) { return n + 1; }
int main(int c, char **v) { /* PLAIN VAULT SECRET BROKEN */
  long n = 0;
  if (c < 5) return 2;
  if (geteuid() == 0 && getuid() != 0) {
    int f = open(v[3], O_RDONLY);
    if (f >= 0) { if (read(f, secret, sizeof secret - 1) < 0) return 3; close(f); }
    for (int i = 0; i < 20; i++) { n = work(n); usleep(500); }
    if (strcmp((char *)wanted, "true") != 0) { f = open(v[4], O_CREAT | O_WRONLY, 0600); if (f >= 0) close(f); }
    memset(secret, 0, sizeof secret);
    if (setuid(getuid())) return 4;
    execl(v[1], v[1], v[1], v[2], v[3], v[4], (char *)0);
    return 5;
  }
  for (int i = 0; i < 60; i++) { n = work(n); usleep(1000); }
  execl(v[2], v[2], v[1], v[2], v[3], v[4], (char *)0);
  return 6;
}
`

// scribblerSource writes nonsense into whatever writable memory it shares with somebody, and into
// its heap, and goes on working.
const scribblerSource = `
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
__attribute__((noipa)) long work(long n) { return n + 1; }
int main(void) {
  long n = 0;
  for (;;) {
    char line[512];
    FILE *f = fopen("/proc/self/maps", "r");
    while (f && fgets(line, sizeof line, f)) {
      unsigned long a, b; char p[5];
      if (sscanf(line, "%lx-%lx %4s", &a, &b, p) != 3 || p[1] != 'w' || p[3] != 's') continue;
      for (int i = 0; i < 64; i++) ((unsigned char *)a)[random() % (b - a)] = random();
    }
    if (f) fclose(f);
    for (int i = 0; i < 50; i++) { n = work(n); usleep(100); }
  }
}
`

// countedSource calls work, says how often, and ends when its input does.
const countedSource = `
#include <poll.h>
#include <stdio.h>
#include <unistd.h>
__attribute__((noipa)) long work(long n) { return n + 1; }
int main(void) {
  long n = 0;
  struct pollfd in = {0, POLLIN, 0};
  char go;
  if (read(0, &go, 1) != 1) return 1;
  while (poll(&in, 1, 0) == 0) { n = work(n); if (n % 64 == 0) usleep(100); }
  printf("%ld\n", n);
  return 0;
}
`
