/* Programs that use open files. */
#include "file_program.h"

static void reading_and_writing(void) {
    char data[64];
    int both = open("f", O_RDWR), in = open("f", O_RDONLY), to = open("f", O_WRONLY);
    int directory = open("d", O_RDONLY), held = open("f", O_PATH);
    is(read(both, data, 4));
    bytes(data, 4);
    is(read(to, data, 4));
    is(write(in, data, 4));
    is(read(directory, data, 4));
    is(write(directory, data, 4));
    is(read(held, data, 4));
    is(write(held, data, 4));
    is(read(99, data, 4));
    is(write(99, data, 4));
    is(read(-1, data, 4));
    is(read(both, BAD, 4));
    is(write(both, BAD, 4));
    is(lseek(both, 0, SEEK_CUR));
    is(read(both, data, 0));
    is(write(both, data, 0));
    is(read(both, data, 64));
    is(read(both, data, 4));
    is(write(both, "abc", 3));
    content("f");
    is(pread(both, data, 4, 2));
    bytes(data, 4);
    is(pread(both, data, 4, -1));
    is(pread(both, data, 9, 99));
    is(pread(directory, data, 4, 0));
    is(pread(to, data, 4, 0));
    is(pread(held, data, 1, 0));
    is(pwrite(both, "XY", 2, 20));
    is(pwrite(in, "XY", 2, 0));
    is(pwrite(both, "Z", 1, -5));
    content("f");
    is(pwrite(directory, "Z", 1, 0));
    int end = open("f", O_WRONLY | O_APPEND);
    is(write(end, "end", 3));
    is(lseek(end, 0, SEEK_CUR));
    is(pwrite(end, "!", 1, 0));
    content("f");
    struct iovec parts[3] = {{data, 2}, {data + 10, 0}, {data + 20, 5}};
    is(lseek(both, 0, SEEK_SET));
    is(readv(both, parts, 3));
    bytes(data, 2);
    bytes(data + 20, 5);
    is(writev(both, parts, 3));
    is(preadv(both, parts, 3, 1));
    bytes(data + 20, 5);
    is(pwritev(both, parts, 3, 3));
    content("f");
    is(readv(both, parts, -1));
    is(readv(both, parts, 1025));
    is(writev(both, parts, 0));
    is(writev(99, parts, 1));
    is(readv(both, BAD, 1));
    is(writev(to, BAD, 2));
    parts[0].iov_len = -1;
    is(readv(both, parts, 3));
    parts[0].iov_len = 2;
    parts[0].iov_base = BAD;
    is(readv(both, parts, 1));
    parts[0].iov_base = data;
    is(preadv(both, parts, 1, -1));
    is(preadv2(both, parts, 1, -1, 0));
    is(preadv2(both, parts, 1, 0, 0x1000));
    is(preadv2(both, parts, 1, -2, 0));
    is(pwritev2(both, parts, 1, 0, RWF_APPEND));
    content("f");
    is(pwritev2(both, parts, 1, -1, RWF_APPEND));
    is(lseek(both, 0, SEEK_CUR));
    content("f");
    is(pwritev2(both, parts, 1, 0, RWF_DSYNC));
}

static void seeking(void) {
    int file = open("f", O_RDWR), directory = open("d2", O_RDONLY), held = open("f", O_PATH);
    is(lseek(file, 5, SEEK_SET));
    is(lseek(file, -2, SEEK_CUR));
    is(lseek(file, -4, SEEK_END));
    is(lseek(file, -11, SEEK_END));
    is(lseek(file, -1, SEEK_SET));
    is(lseek(file, 0, 9));
    is(lseek(file, 0, -1));
    is(lseek(file, 1l << 30, SEEK_SET));
    is(lseek(file, 0, SEEK_CUR));
    is(lseek(99, 0, SEEK_SET));
    is(lseek(held, 0, SEEK_SET));
    is(lseek(directory, 0, SEEK_SET));
    is(lseek(directory, -1, SEEK_SET));
    is(lseek(directory, 0, 9));
}

static void sizes(void) {
    int file = open("f", O_RDWR), in = open("f", O_RDONLY), directory = open("d", O_RDONLY),
        held = open("f", O_PATH);
    struct stat status;
    is(ftruncate(file, 4));
    content("f");
    is(ftruncate(file, 8));
    content("f");
    is(ftruncate(file, -1));
    is(ftruncate(in, 4));
    is(ftruncate(directory, 4));
    is(ftruncate(99, 4));
    is(ftruncate(held, 4));
    is(truncate("f", 3));
    content("f");
    is(truncate("d", 3));
    is(truncate("absent", 3));
    is(truncate("f", -1));
    is(truncate("link", 2));
    content("f");
    is(truncate("loop", 2));
    is(truncate("f/", 2));
    is(truncate(BAD, 2));
    is(truncate("", 2));
    is(posix_fallocate(file, 0, 100));
    fstat(file, &status);
    put(status.st_size);
    is(fallocate(file, 0, 0, 0));
    is(fallocate(file, 0, -1, 5));
    is(fallocate(in, 0, 0, 5));
    is(fallocate(directory, 0, 0, 5));
    is(fallocate(99, 0, 0, 5));
    is(fallocate(held, 0, 0, 5));
    is(posix_fallocate(file, 50, 100));
    fstat(file, &status);
    put(status.st_size);
    is(posix_fallocate(file, 0, 0));
    is(posix_fallocate(99, 0, 1));
    is(posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL));
    is(posix_fadvise(file, 0, 0, 99));
    is(posix_fadvise(99, 0, 0, 0));
    is(posix_fadvise(file, 0, -1, 0));
    is(fsync(file));
    is(fdatasync(file));
    is(fsync(in));
    is(fsync(directory));
    is(fsync(99));
    is(fsync(held));
    is(syncfs(file));
    is(syncfs(99));
}

static void locks(void) {
    int file = open("f", O_RDWR), other = open("f", O_RDWR), in = open("f", O_RDONLY);
    struct flock lock = {F_WRLCK, SEEK_SET, 0, 0, 0};
    is(fcntl(file, F_SETLK, &lock));
    is(fcntl(other, F_SETLK, &lock));
    is(fcntl(in, F_SETLK, &lock));
    lock.l_type = F_RDLCK;
    is(fcntl(in, F_SETLK, &lock));
    lock.l_type = F_WRLCK;
    is(fcntl(file, F_GETLK, &lock));
    put(lock.l_type);
    lock.l_type = F_UNLCK;
    is(fcntl(file, F_SETLK, &lock));
    lock.l_type = 9;
    is(fcntl(file, F_SETLK, &lock));
    lock.l_type = F_WRLCK;
    lock.l_start = -1;
    is(fcntl(file, F_SETLK, &lock));
    is(fcntl(file, F_SETLK, BAD));
    is(fcntl(99, F_SETLK, &lock));
    struct flock mine = {F_WRLCK, SEEK_SET, 2, 4, 0}, theirs = {F_RDLCK, SEEK_SET, 5, 4, 0};
    is(fcntl(file, F_OFD_SETLK, &mine));
    is(fcntl(other, F_OFD_SETLK, &theirs));
    theirs.l_start = 6;
    is(fcntl(other, F_OFD_SETLK, &theirs));
    struct flock ask = {F_WRLCK, SEEK_SET, 0, 0, 0};
    is(fcntl(other, F_OFD_GETLK, &ask));
    put(ask.l_type);
    put(ask.l_start);
    put(ask.l_len);
    put(ask.l_pid);
    mine.l_type = F_UNLCK;
    mine.l_start = 3;
    mine.l_len = 1;
    is(fcntl(file, F_OFD_SETLK, &mine));
    theirs.l_start = 3;
    theirs.l_len = 1;
    is(fcntl(other, F_OFD_SETLK, &theirs));
    ask.l_pid = 5;
    is(fcntl(other, F_OFD_SETLK, &ask));
    is(flock(file, LOCK_EX));
    is(flock(other, LOCK_SH | LOCK_NB));
    is(flock(file, LOCK_SH));
    is(flock(other, LOCK_SH | LOCK_NB));
    is(flock(file, LOCK_EX | LOCK_NB));
    is(flock(file, LOCK_UN));
    is(flock(other, LOCK_EX | LOCK_NB));
    close(other);
    is(flock(file, LOCK_EX | LOCK_NB));
    is(flock(99, LOCK_EX));
    is(flock(file, 16));
}

static void copying(void) {
    int from = open("f", O_RDONLY), to = open("copy", O_RDWR | O_CREAT, 0600),
        directory = open("d", O_RDONLY), end = open("copy", O_WRONLY | O_APPEND);
    off_t at = 2, into = 5;
    is(copy_file_range(from, 0, to, 0, 4, 0));
    content("copy");
    is(lseek(from, 0, SEEK_CUR));
    is(copy_file_range(from, &at, to, &into, 100, 0));
    put(at);
    put(into);
    content("copy");
    is(copy_file_range(from, 0, from, 0, 4, 0));
    is(copy_file_range(to, 0, from, 0, 4, 0));
    is(copy_file_range(directory, 0, to, 0, 4, 0));
    is(copy_file_range(from, 0, to, 0, 4, 1));
    is(copy_file_range(99, 0, to, 0, 4, 0));
    is(copy_file_range(from, 0, end, 0, 4, 0));
    at = -1;
    is(copy_file_range(from, &at, to, 0, 4, 0));
    at = 99;
    is(copy_file_range(from, &at, to, 0, 4, 0));
    at = 1;
    is(sendfile(to, from, &at, 3));
    put(at);
    lseek(from, 0, SEEK_SET);
    is(sendfile(to, from, 0, 100));
    content("copy");
    is(lseek(from, 0, SEEK_CUR));
    is(sendfile(from, to, 0, 4));
    is(sendfile(to, directory, 0, 4));
    is(sendfile(99, from, 0, 4));
    is(sendfile(to, 99, 0, 4));
}

static void (*const programs[])(void) = {
    reading_and_writing, seeking, sizes, locks, copying,
};
RUN(programs)
