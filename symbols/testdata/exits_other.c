// A program around exits.c.
int main(void) { return 0; }
