/* Walks directories recursively by open directories, and prints what is there, sorted by name:
   depth, kind, size (of files) and name. With -c only how much of each kind there is. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned long files, directories, links, others, deepest, longest;
static unsigned long long bytes;
static int only_counts;

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void fail(const char *what, const char *name) {
    printf("%s %s: %s\n", what, name, strerror(errno));
    exit(1);
}

static void walk(int fd, unsigned depth) {
    size_t count = 0, room = 16;
    char **names = malloc(room * sizeof *names);
    DIR *directory = fdopendir(fd);
    if (!directory) fail("fdopendir", "?");
    struct dirent *entry;
    while (errno = 0, (entry = readdir(directory))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (count == room) names = realloc(names, (room *= 2) * sizeof *names);
        names[count++] = strdup(entry->d_name);
    }
    if (errno) fail("readdir", "?");
    qsort(names, count, sizeof *names, by_name);
    if (depth > deepest) deepest = depth;
    for (size_t i = 0; i < count; i++) {
        const char *name = names[i];
        struct stat status;
        if (strlen(name) > longest) longest = strlen(name);
        if (fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW)) fail("fstatat", name);
        char kind = '?';
        if (S_ISREG(status.st_mode)) kind = '-', files++, bytes += status.st_size;
        else if (S_ISDIR(status.st_mode)) kind = 'd', directories++;
        else if (S_ISLNK(status.st_mode)) kind = 'l', links++;
        else others++;
        if (!only_counts)
            printf("%u %c %lld %s\n", depth, kind, kind == '-' ? (long long)status.st_size : 0, name);
        if (kind == 'd') {
            int below = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
            if (below < 0) fail("openat", name);
            walk(below, depth + 1);
        }
        free(names[i]);
    }
    free(names);
    closedir(directory);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-c")) {
            only_counts = 1;
            continue;
        }
        int fd = open(argv[i], O_RDONLY | O_DIRECTORY);
        if (fd < 0) fail("open", argv[i]);
        walk(fd, 0);
    }
    printf("%lu files of %llu bytes, %lu directories, %lu links, %lu others, depth %lu, name %lu\n",
           files, bytes, directories, links, others, deepest, longest);
    return 0;
}
