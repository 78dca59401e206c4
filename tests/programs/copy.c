/* Copies standard input to standard output in pieces of 64 KiB, or of argv[1] bytes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char buffer[1 << 16];

int main(int argc, char **argv) {
    size_t piece = argc > 1 ? strtoul(argv[1], 0, 10) : sizeof buffer;
    ssize_t size;
    while ((size = read(0, buffer, piece)) > 0) {
        for (ssize_t done = 0; done < size;) {
            ssize_t written = write(1, buffer + done, size - done);
            if (written < 0) {
                fprintf(stderr, "write: %s\n", strerror(errno));
                return 3;
            }
            done += written;
        }
    }
    return size < 0 ? 2 : 0;
}
