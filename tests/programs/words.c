/* Counts lines, words and bytes of standard input, as wc(1) in the C locale. */
#include <stdio.h>

static char buffer[1 << 16];

int main(void) {
    unsigned long long lines = 0, words = 0, bytes = 0;
    int inside = 0;
    size_t size;
    while ((size = fread(buffer, 1, sizeof buffer, stdin)) > 0) {
        bytes += size;
        for (size_t i = 0; i < size; i++) {
            unsigned char c = buffer[i];
            lines += c == '\n';
            int space = c == ' ' || (c >= '\t' && c <= '\r');
            words += !space && !inside;
            inside = !space;
        }
    }
    if (ferror(stdin)) {
        perror("stdin");
        return 1;
    }
    printf("%llu %llu %llu\n", lines, words, bytes);
    return 0;
}
