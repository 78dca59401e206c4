/* Opens files in the directory argv[1] until that fails. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    char path[64];
    int count = 0;
    for (;; count++) {
        snprintf(path, sizeof path, "%s/%d", argv[1], count);
        if (open(path, O_RDWR | O_CREAT, 0644) < 0) break;
    }
    printf("%d open, then: %s\n", count, strerror(errno));
    return 0;
}
