/* truth in assembly: the functions are those of truth.S; see truth.h. */
#define ASSEMBLY
#include "truth.h"

int main(int argc, char **argv)
{
	return truth(argc, argv);
}
