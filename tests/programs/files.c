/* Does to files what can be done to them, in the directory argv[1], and prints what came of it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

static void tell(const char *what, long long result) {
    if (result < 0) printf("%s: %s\n", what, strerror(errno));
    else printf("%s: %lld\n", what, result);
}

static void show(const char *name) {
    struct stat s;
    if (lstat(name, &s)) {
        printf("lstat %s: %s\n", name, strerror(errno));
        return;
    }
    printf("%s: %s %lld\n", name, S_ISREG(s.st_mode) ? "file" : S_ISDIR(s.st_mode) ? "directory"
           : S_ISLNK(s.st_mode) ? "link" : "other", S_ISDIR(s.st_mode) ? 0 : (long long)s.st_size);
}

#define TELL(call) tell(#call, (call))

int main(int argc, char **argv) {
    char content[64] = {0}, small[8] = {0}, link_text[32] = {0};
    struct iovec parts[2] = {{content, 3}, {small, 4}};
    struct timespec times[2] = {{1000000000, 123000000}, {1200000000, 456000000}};
    struct stat status;
    if (argc < 2 || chdir(argv[1])) {
        tell("chdir", -1);
        return 1;
    }
    int fd = open("a", O_RDWR | O_CREAT | O_EXCL, 0644);
    TELL(open("a", O_RDWR | O_CREAT | O_EXCL, 0644));
    TELL(write(fd, "hello, world", 12));
    TELL(lseek(fd, -5, SEEK_END));
    TELL(read(fd, content, sizeof content));
    printf("read %s\n", content);
    TELL(pwrite(fd, "HELLO", 5, 0));
    TELL(pread(fd, content, 12, 0));
    printf("pread %s\n", content);
    TELL(lseek(fd, 0, SEEK_SET));
    TELL(readv(fd, parts, 2));
    printf("readv %.3s %.4s\n", content, small);
    TELL(lseek(fd, 20, SEEK_SET));
    TELL(write(fd, "x", 1));
    TELL(lseek(fd, -100, SEEK_CUR));
    show("a");
    TELL(ftruncate(fd, 5));
    TELL(posix_fallocate(fd, 0, 100));
    TELL(fsync(fd));
    TELL(fdatasync(fd));
    TELL(futimens(fd, times));
    fstat(fd, &status);
    printf("times %lld.%09ld %lld.%09ld\n", (long long)status.st_atim.tv_sec,
           status.st_atim.tv_nsec, (long long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
    TELL(close(fd));
    TELL(close(fd));
    TELL(write(fd, "x", 1));
    fd = open("a", O_WRONLY | O_APPEND);
    TELL(lseek(fd, 0, SEEK_SET));
    TELL(write(fd, "end", 3));
    TELL(read(fd, content, 1));
    TELL(close(fd));
    show("a");
    TELL(mkdir("d", 0755));
    TELL(mkdir("d", 0755));
    TELL(rename("a", "d/b"));
    show("a");
    show("d/b");
    TELL(link("d/b", "hard"));
    stat("hard", &status);
    printf("links %ld\n", (long)status.st_nlink);
    TELL(symlink("d/b", "soft"));
    TELL(symlink("nowhere", "dangling"));
    TELL(symlink("loop", "loop"));
    TELL(readlink("soft", link_text, sizeof link_text));
    printf("readlink %s\n", link_text);
    show("soft");
    TELL(open("dangling", O_RDONLY));
    TELL(open("loop", O_RDONLY));
    TELL(open("soft", O_RDONLY | O_NOFOLLOW));
    TELL(open("d", O_WRONLY));
    TELL(open("hard/x", O_RDONLY));
    TELL(open("nothing", O_RDONLY));
    TELL(open("hard", O_RDONLY | O_DIRECTORY));
    TELL(rmdir("d"));
    TELL(rmdir("hard"));
    TELL(unlink("nothing"));
    TELL(rename("hard", "nothing/hard"));
    TELL(rename("d", "hard"));
    TELL(open("../escape", O_RDWR | O_CREAT, 0644));
    TELL(open("/etc/passwd", O_RDONLY));
    TELL(symlink("/etc/passwd", "outside"));
    TELL(symlink("../../../../etc/passwd", "above"));
    TELL(open("above", O_RDONLY));
    TELL(unlink("d/b"));
    TELL(rmdir("d"));
    FILE *stream = fopen("text", "w+");
    fprintf(stream, "%d %s\n", 42, "lines");
    rewind(stream);
    printf("fgets %s", fgets(content, sizeof content, stream));
    fclose(stream);
    fflush(stdout);
    DIR *directory = opendir(".");
    int entries = 0;
    for (struct dirent *entry; (entry = readdir(directory));) entries++;
    closedir(directory);
    printf("%d entries\n", entries);
    return 0;
}
