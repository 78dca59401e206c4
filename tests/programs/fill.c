/* Writes to a new file in the directory argv[1] until that fails, and checks that what was written
   is there. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char buffer[10000];

int main(int argc, char **argv) {
    char path[256];
    snprintf(path, sizeof path, "%s/full", argv[1]);
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    if (fd < 0) {
        printf("open: %s\n", strerror(errno));
        return 1;
    }
    long long total = 0;
    ssize_t size;
    memset(buffer, 'x', sizeof buffer);
    while ((size = write(fd, buffer, sizeof buffer)) > 0) total += size;
    printf("%s\n", size ? strerror(errno) : "wrote nothing");
    struct stat status;
    fstat(fd, &status);
    lseek(fd, 0, SEEK_SET);
    long long found = 0;
    while ((size = read(fd, buffer, sizeof buffer)) > 0)
        for (ssize_t i = 0; i < size; i++) found += buffer[i] == 'x';
    printf("%lld written, size %lld, %lld found\n", total, (long long)status.st_size, found);
    close(fd);
    printf("remove: %d\n", unlink(path));
    fd = open(path, O_RDWR | O_CREAT, 0644);
    printf("again: %zd\n", write(fd, buffer, sizeof buffer));
    return 0;
}
