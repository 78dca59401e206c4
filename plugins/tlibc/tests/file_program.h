/* What the programs of the *_program.c have in common: how they tell what they saw, and the tree.
 *
 * Each writes numbers: results, and -errno of failures. run(program, results) is called in an equal
 * tree of files on the host and in the guest:
 *   f          "0123456789", permissions 0644      link     -> f        loop     -> loop
 *   d/         empty                               dlink    -> d2       dangling -> nowhere
 *   d2/f2      "second"                            up       -> ../..
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

static long *out;
static void put(long value) { *out++ = value; }
/* A result that must be the same, or why there is none. */
static long is(long result) {
    put(result < 0 ? -errno : result);
    return result;
}
/* A descriptor, or why there is none. */
static int fd(int result) {
    put(result < 0 ? -errno : 1000);
    return result;
}
static void bytes(const void *data, long size) {
    put(size);
    for (long i = 0; i < size; i++) put(((const unsigned char *)data)[i]);
}
static void shut(int descriptor) {
    if (descriptor >= 0) close(descriptor);
}
static void content(const char *path) {
    char data[200];
    int from = open(path, O_RDONLY);
    long size = from < 0 ? -1 : read(from, data, sizeof data);
    if (is(size) > 0) bytes(data, size);
    shut(from);
}

static char long_name[300], long_path[5000];
#define BAD ((void *)16)
__attribute__((constructor)) static void name(void) {
    memset(long_name, 'n', 299);
    memset(long_path, 'p', 4999);
    for (int i = 100; i < 4999; i += 100) long_path[i] = '/';
}

#define RUN(programs)                                                                              \
    long run(int program, long *results) {                                                         \
        out = results;                                                                             \
        programs[program]();                                                                       \
        return out - results;                                                                      \
    }
