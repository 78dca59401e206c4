/* Counts the entries of the directory argv[1], and the bytes of their names, read in large pieces:
   Wasmtime reads a whole directory for each piece, and the C library's readdir asks for 4 KiB. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <wasi/api.h>

static uint8_t buffer[8 << 20];

int main(int argc, char **argv) {
    int fd = open(argv[1], O_RDONLY | O_DIRECTORY);
    unsigned long entries = 0, bytes = 0, sum = 0;
    __wasi_dircookie_t cookie = 0;
    __wasi_size_t used;
    do {
        __wasi_errno_t error = __wasi_fd_readdir(fd, buffer, sizeof buffer, cookie, &used);
        if (error) {
            printf("fd_readdir: %s\n", strerror(error));
            return 1;
        }
        for (size_t at = 0; at + sizeof(__wasi_dirent_t) <= used;) {
            __wasi_dirent_t entry;
            memcpy(&entry, buffer + at, sizeof entry);
            at += sizeof entry + entry.d_namlen;
            if (at > used) break;
            for (size_t i = at - entry.d_namlen; i < at; i++) sum += buffer[i] * (i - at + 300);
            entries++;
            bytes += entry.d_namlen;
            cookie = entry.d_next;
        }
    } while (used == sizeof buffer);
    printf("%lu entries, %lu bytes, sum %lu\n", entries, bytes, sum);
    return 0;
}
