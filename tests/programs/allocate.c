/* Allocates a megabyte at a time, touching it, until that fails; prints how many. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    int count = 0;
    void *volatile block; /* or the compiler sees that nobody uses it */
    while (count < 4096 && (block = malloc(1 << 20))) memset(block, 1, 1 << 20), count++;
    printf("%d MiB\n", count);
    return 0;
}
