/* Writes lines for as long as somebody reads them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void) {
    for (;;)
        if (write(1, "line\n", 5) < 0) {
            fprintf(stderr, "%s\n", strerror(errno));
            return 7;
        }
}
