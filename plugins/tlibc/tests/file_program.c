/* Programs that use files, each writing what it saw as numbers: results, and -errno of failures.
 *
 * run(program, out) is called in an equal tree of files on the host and in the guest:
 *   f          "0123456789", permissions 0644      link     -> f        loop    -> loop
 *   d/         empty                               dlink    -> d2       dangling -> nowhere
 *   d2/f2      "second"                            up       -> ../..
 */
#include "file_program.h"

static char long_name[300], long_path[5000];
#define BAD ((void *)16)
__attribute__((constructor)) static void name(void) {
    memset(long_name, 'n', 299);
    memset(long_path, 'p', 4999);
    for (int i = 100; i < 4999; i += 100) long_path[i] = '/';
}

static void opening(void) {
    static const int flags[] = {
        O_RDONLY, O_WRONLY, O_RDWR, 3, O_WRONLY | O_CREAT, O_WRONLY | O_CREAT | O_EXCL,
        O_RDONLY | O_EXCL, O_RDONLY | O_DIRECTORY, O_RDWR | O_DIRECTORY, O_RDONLY | O_NOFOLLOW,
        O_PATH, O_PATH | O_NOFOLLOW, O_PATH | O_DIRECTORY, O_RDONLY | O_CREAT | O_DIRECTORY,
        O_WRONLY | O_TRUNC, O_RDONLY | O_NONBLOCK, O_RDWR | O_APPEND, O_PATH | O_CREAT | O_EXCL,
        O_RDONLY | O_CREAT, O_RDONLY | O_NOFOLLOW | O_DIRECTORY, O_RDONLY | O_CLOEXEC | O_SYNC,
        O_WRONLY | O_TMPFILE & ~O_DIRECTORY, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR,
    };
    static const char *paths[] = {
        "f", "d", "link", "dlink", "dangling", "loop", "absent", "absent/f", "f/", "f/x", "d/",
        "d/absent", "dlink/f2", "link/", "dlink/", "dangling/", "", ".", "..", "d/.", "d2/../f",
        "./f", "d//../f", "f/..", "f/.", "absent/", "loop/x", long_name, long_path,
    };
    for (unsigned p = 0; p < sizeof paths / sizeof *paths; p++)
        for (unsigned n = 0; n < sizeof flags / sizeof *flags; n++) {
            int opened = fd(open(paths[p], flags[n], 0640));
            if (opened < 0) continue;
            put(fcntl(opened, F_GETFL));
            put(fcntl(opened, F_GETFD));
            shut(opened);
        }
    fd(open(BAD, O_RDONLY));
    fd(creat("created", 0600));
    fd(openat(77, "f", O_RDONLY));
    fd(openat(AT_FDCWD, "f", O_RDONLY));
    int file = open("f", O_RDONLY), directory = open("d2", O_RDONLY | O_DIRECTORY);
    fd(openat(file, "f2", O_RDONLY));
    fd(openat(directory, "f2", O_RDONLY));
    fd(openat(directory, "../f", O_RDONLY));
    fd(openat(directory, "", O_RDONLY));
}

static int how(int at, const char *path, unsigned long flags, unsigned long mode,
               unsigned long resolve, unsigned long size) {
    struct { struct open_how how; unsigned long more[2]; } given = {
        {flags, mode, resolve}, {size > sizeof given.how + 8 ? 1 : 0, 0}};
    return syscall(SYS_openat2, at, path, &given, size);
}
static void opening_bounded(void) {
    int directory = open("d2", O_PATH | O_DIRECTORY), file = open("f", O_RDONLY);
    static const unsigned long resolve[] = {
        0, RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS,
        RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH | RESOLVE_IN_ROOT, 0x1000,
    };
    symlink("f2", "d2/inner"); symlink("../f", "d2/outer"); symlink("/f2", "d2/absolute");
    symlink("../d2/f2", "d2/out_and_in"); mkdir("d2/s", 0755); symlink("../f2", "d2/s/up");
    static const char *paths[] = {
        "f2", "inner", "outer", "absolute", "out_and_in", "s/up", "s/../f2", "..", "../f", ".",
        "/f2", "s/../../f", "absent", "f2/", "s/", "s/.", "s/..", "", "f2/..", "../d2/f2",
    };
    for (unsigned p = 0; p < sizeof paths / sizeof *paths; p++)
        for (unsigned r = 0; r < sizeof resolve / sizeof *resolve; r++) {
            if (paths[p][0] == '/' && !(resolve[r] & (RESOLVE_BENEATH | RESOLVE_IN_ROOT))) continue;
            int opened = fd(how(directory, paths[p], O_RDONLY, 0, resolve[r], 24));
            shut(opened);
            if (!strcmp(paths[p], "absolute") && !r) out[-1] = 0;  /* there may be an /f2 */
            shut(fd(how(directory, paths[p], O_PATH | O_NOFOLLOW, 0, resolve[r], 24)));
        }
    fd(how(directory, "f2", O_RDONLY, 0, 0, 16));
    fd(how(directory, "f2", O_RDONLY, 0, 0, 32));
    fd(how(directory, "f2", O_RDONLY, 0, 0, 40));
    fd(how(directory, "f2", O_RDONLY, 0, 0, 4097));
    fd(how(directory, "f2", O_RDONLY, 0600, 0, 24));
    fd(how(directory, "new", O_WRONLY | O_CREAT, 010000, 0, 24));
    fd(how(directory, "new", O_WRONLY | O_CREAT, 0600, RESOLVE_BENEATH, 24));
    fd(how(directory, "f2", 1ul << 40, 0, 0, 24));
    fd(how(directory, "f2", O_PATH | O_WRONLY, 0, 0, 24));
    fd(how(directory, "f2", O_PATH | O_CREAT, 0, 0, 24));
    fd(how(file, "f2", O_RDONLY, 0, RESOLVE_BENEATH, 24));
    fd(how(99, "f2", O_RDONLY, 0, RESOLVE_BENEATH, 24));
    fd(how(AT_FDCWD, "d2/f2", O_RDONLY, 0, RESOLVE_BENEATH, 24));
    fd(how(AT_FDCWD, "../x", O_RDONLY, 0, RESOLVE_BENEATH, 24));
    fd(syscall(SYS_openat2, directory, "f2", BAD, 24ul));
}

static void reading_and_writing(void) {
    char data[64];
    int both = open("f", O_RDWR), in = open("f", O_RDONLY), to = open("f", O_WRONLY);
    int directory = open("d", O_RDONLY), held = open("f", O_PATH);
    is(read(both, data, 4)); bytes(data, 4);
    is(read(to, data, 4)); is(write(in, data, 4)); is(read(directory, data, 4));
    is(write(directory, data, 4)); is(read(held, data, 4)); is(write(held, data, 4));
    is(read(99, data, 4)); is(write(99, data, 4)); is(read(-1, data, 4));
    is(read(both, BAD, 4)); is(write(both, BAD, 4)); is(lseek(both, 0, SEEK_CUR));
    is(read(both, data, 0)); is(write(both, data, 0)); is(read(both, data, 64)); is(read(both, data, 4));
    is(write(both, "abc", 3)); content("f");
    is(pread(both, data, 4, 2)); bytes(data, 4); is(pread(both, data, 4, -1)); is(pread(both, data, 9, 99));
    is(pread(directory, data, 4, 0)); is(pread(to, data, 4, 0)); is(pread(held, data, 1, 0));
    is(pwrite(both, "XY", 2, 20)); is(pwrite(in, "XY", 2, 0)); is(pwrite(both, "Z", 1, -5)); content("f");
    is(pwrite(directory, "Z", 1, 0));
    int end = open("f", O_WRONLY | O_APPEND);
    is(write(end, "end", 3)); is(lseek(end, 0, SEEK_CUR)); is(pwrite(end, "!", 1, 0)); content("f");
    struct iovec parts[3] = {{data, 2}, {data + 10, 0}, {data + 20, 5}};
    is(lseek(both, 0, SEEK_SET)); is(readv(both, parts, 3)); bytes(data, 2); bytes(data + 20, 5);
    is(writev(both, parts, 3)); is(preadv(both, parts, 3, 1)); bytes(data + 20, 5);
    is(pwritev(both, parts, 3, 3)); content("f"); is(readv(both, parts, -1)); is(readv(both, parts, 1025));
    is(writev(both, parts, 0)); is(writev(99, parts, 1)); is(readv(both, BAD, 1)); is(writev(to, BAD, 2));
    parts[0].iov_len = -1; is(readv(both, parts, 3)); parts[0].iov_len = 2; parts[0].iov_base = BAD;
    is(readv(both, parts, 1)); parts[0].iov_base = data;
    is(preadv(both, parts, 1, -1)); is(preadv2(both, parts, 1, -1, 0)); is(preadv2(both, parts, 1, 0, 0x1000));
    is(preadv2(both, parts, 1, -2, 0)); is(pwritev2(both, parts, 1, 0, RWF_APPEND)); content("f");
    is(pwritev2(both, parts, 1, -1, RWF_APPEND)); is(lseek(both, 0, SEEK_CUR)); content("f");
    is(pwritev2(both, parts, 1, 0, RWF_DSYNC));
}

static void seeking(void) {
    int file = open("f", O_RDWR), directory = open("d2", O_RDONLY), held = open("f", O_PATH);
    is(lseek(file, 5, SEEK_SET)); is(lseek(file, -2, SEEK_CUR)); is(lseek(file, -4, SEEK_END));
    is(lseek(file, -11, SEEK_END)); is(lseek(file, -1, SEEK_SET)); is(lseek(file, 0, 9)); is(lseek(file, 0, -1));
    is(lseek(file, 1l << 40, SEEK_SET)); is(lseek(file, 0, SEEK_CUR)); is(lseek(99, 0, SEEK_SET));
    is(lseek(held, 0, SEEK_SET)); is(lseek(directory, 0, SEEK_SET)); is(lseek(directory, -1, SEEK_SET));
    is(lseek(directory, 0, 9)); is(lseek(file, 0, SEEK_DATA)); is(lseek(file, 0, SEEK_HOLE));
    is(lseek(file, 10, SEEK_DATA)); is(lseek(file, 99, SEEK_HOLE)); is(lseek(file, -1, SEEK_DATA));
}

static void sizes(void) {
    int file = open("f", O_RDWR), in = open("f", O_RDONLY), directory = open("d", O_RDONLY), held = open("f", O_PATH);
    struct stat status;
    is(ftruncate(file, 4)); content("f"); is(ftruncate(file, 8)); content("f");
    is(ftruncate(file, -1)); is(ftruncate(in, 4)); is(ftruncate(directory, 4)); is(ftruncate(99, 4)); is(ftruncate(held, 4));
    is(truncate("f", 3)); content("f"); is(truncate("d", 3)); is(truncate("absent", 3)); is(truncate("f", -1));
    is(truncate("link", 2)); content("f"); is(truncate("loop", 2)); is(truncate("f/", 2)); is(truncate(BAD, 2)); is(truncate("", 2));
    is(fallocate(file, 0, 0, 100)); fstat(file, &status); put(status.st_size); is(fallocate(file, 0, 0, 0)); is(fallocate(file, 0, -1, 5));
    is(fallocate(in, 0, 0, 5)); is(fallocate(directory, 0, 0, 5)); is(fallocate(99, 0, 0, 5)); is(fallocate(held, 0, 0, 5));
    is(posix_fallocate(file, 50, 100)); fstat(file, &status); put(status.st_size); is(posix_fallocate(file, 0, 0)); is(posix_fallocate(99, 0, 1));
    is(posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL)); is(posix_fadvise(file, 0, 0, 99)); is(posix_fadvise(99, 0, 0, 0)); is(posix_fadvise(file, 0, -1, 0));
    is(fsync(file)); is(fdatasync(file)); is(fsync(in)); is(fsync(directory)); is(fsync(99)); is(fsync(held)); is(syncfs(file)); is(syncfs(99));
}

static void shown(int result, const struct stat *status) {
    if (is(result) < 0) return;
    put(status->st_mode); put(S_ISDIR(status->st_mode) ? 0 : status->st_size); put(S_ISDIR(status->st_mode) ? 0 : (long)status->st_nlink);
    put(status->st_rdev);
}
static void statuses(void) {
    static const char *paths[] = {
        "f", "d", "link", "dlink", "dangling", "loop", "absent", "f/", "f/x", "dlink/", "link/", "dangling/", "",
        ".", "d2/f2", "dlink/f2", "absent/x", "loop/x", long_name, long_path, "./d/..", "f/..",
    };
    struct stat status, other;
    struct statx extended;
    struct statvfs system;
    int file = open("f", O_RDONLY), directory = open("d2", O_RDONLY), held = open("link", O_PATH | O_NOFOLLOW);
    for (unsigned p = 0; p < sizeof paths / sizeof *paths; p++) {
        shown(stat(paths[p], &status), &status);
        shown(lstat(paths[p], &status), &status);
        int result = is(statx(AT_FDCWD, paths[p], 0, STATX_BASIC_STATS, &extended));
        if (!result) { put(extended.stx_mode); put(extended.stx_mask & 0x7ff); put(extended.stx_uid); }
        result = is(statx(AT_FDCWD, paths[p], AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &extended));
        if (!result) { put(extended.stx_mode); put(S_ISDIR(extended.stx_mode) ? 0 : extended.stx_size); }
        if (is(stat(paths[p], &status)) == 0) {
            statx(AT_FDCWD, paths[p], 0, STATX_BASIC_STATS, &extended);
            put(extended.stx_ino == status.st_ino); put(extended.stx_mtime.tv_sec == status.st_mtim.tv_sec);
            put(extended.stx_mtime.tv_nsec == status.st_mtim.tv_nsec); put(extended.stx_ctime.tv_nsec == status.st_ctim.tv_nsec);
            put(gnu_dev_makedev(extended.stx_dev_major, extended.stx_dev_minor) == status.st_dev);
            put(extended.stx_blocks == (unsigned long)status.st_blocks);
        }
    }
    shown(fstat(file, &status), &status); shown(fstat(directory, &other), &other); shown(fstat(held, &other), &other);
    shown(fstat(99, &status), &status); shown(fstat(file, BAD), &status); shown(stat("f", BAD), &status); shown(stat(BAD, &status), &status);
    shown(fstatat(directory, "f2", &status, 0), &status); shown(fstatat(file, "f2", &status, 0), &status);
    shown(fstatat(99, "f2", &status, 0), &status); shown(fstatat(directory, "", &status, 0), &status);
    shown(fstatat(directory, "", &status, AT_EMPTY_PATH), &status); shown(fstatat(file, "", &status, AT_EMPTY_PATH), &status);
    shown(fstatat(held, "", &status, AT_EMPTY_PATH), &status); shown(fstatat(AT_FDCWD, "", &status, AT_EMPTY_PATH), &status);
    shown(fstatat(AT_FDCWD, "link", &status, AT_SYMLINK_NOFOLLOW), &status); shown(fstatat(AT_FDCWD, "f", &status, 0x10000), &status);
    shown(fstatat(AT_FDCWD, "f", &status, AT_NO_AUTOMOUNT), &status); shown(fstatat(99, "", &status, AT_EMPTY_PATH), &status);
    is(statx(AT_FDCWD, "f", 0x10000, STATX_BASIC_STATS, &extended)); is(statx(AT_FDCWD, "f", 0x6000, STATX_BASIC_STATS, &extended));
    is(statx(AT_FDCWD, "f", 0, 0x80000000, &extended)); is(statx(AT_FDCWD, "f", 0, STATX_ALL, BAD)); is(statx(file, "", AT_EMPTY_PATH, 0, &extended));
    is(statx(99, "f", 0, 0, &extended)); is(statx(AT_FDCWD, "", 0, 0, &extended)); is(statx(AT_FDCWD, BAD, 0, 0, &extended));
    is(statvfs("f", &system)); put(system.f_namemax); is(fstatvfs(file, &system)); is(statvfs("absent", &system)); is(fstatvfs(99, &system));
    put(status.st_blksize);
}

static void directories(void) {
    char data[1000];
    int directory = open("d2", O_RDONLY | O_DIRECTORY), file = open("f", O_RDONLY), held = open("d2", O_PATH);
    is(mkdir("new", 0751)); is(mkdir("new", 0755)); is(mkdir("f", 0755)); is(mkdir("f/x", 0755)); is(mkdir("absent/x", 0755));
    is(mkdir("dangling", 0755)); is(mkdir("slash/", 0755)); is(mkdir("", 0755)); is(mkdir(".", 0755)); is(mkdir("..", 0755));
    is(mkdir(long_name, 0755)); is(mkdir(long_path, 0755)); is(mkdir(BAD, 0755)); is(mkdir("loop", 0755)); is(mkdir("d/.", 0755));
    is(mkdirat(directory, "in", 0755)); is(mkdirat(file, "in", 0755)); is(mkdirat(99, "in", 0755)); is(mkdirat(held, "held", 0755));
    struct stat status; stat("new", &status); put(status.st_mode);
    put(umask(077)); is(mkdir("open", 0777)); stat("open", &status); put(status.st_mode); put(umask(022));
    is(rmdir("new")); is(rmdir("d2")); is(rmdir("f")); is(rmdir("absent")); is(rmdir("dlink")); is(rmdir("slash/")); is(rmdir(".")); is(rmdir("d/.")); is(rmdir("d/..")); is(rmdir("")); is(rmdir("f/x"));
    is(unlink("f2")); is(unlink("d")); is(unlink("f/")); is(unlink("")); is(unlink("absent")); is(unlink("link/")); is(unlink("dlink/")); is(unlink("dangling")); is(unlink("loop")); is(unlink(long_name)); is(unlink(BAD)); is(unlink("f/x")); is(unlink("."));
    is(unlinkat(directory, "in", AT_REMOVEDIR)); is(unlinkat(directory, "f2", AT_REMOVEDIR)); is(unlinkat(directory, "held", 0)); is(unlinkat(directory, "held", AT_REMOVEDIR)); is(unlinkat(directory, "f2", 1)); is(unlinkat(99, "f2", 0)); is(unlinkat(file, "f2", 0));
    is(unlinkat(directory, "f2", 0)); is(rmdir("d2")); is(mkdirat(directory, "late", 0755)); fd(openat(directory, "late", O_CREAT | O_RDWR, 0600)); is(syscall(SYS_getdents64, directory, data, 1000));
    is(remove("d")); is(remove("link")); is(remove("absent"));
    is(syscall(SYS_getdents64, file, data, 1000)); is(syscall(SYS_getdents64, 99, data, 1000)); is(syscall(SYS_getdents64, held, data, 1000));
}

static void sort(char **names, int count) {
    for (int i = 1; i < count; i++)
        for (int j = i; j && strcmp(names[j - 1], names[j]) > 0; j--) {
            char *swapped = names[j]; names[j] = names[j - 1]; names[j - 1] = swapped;
        }
}
static void listing(void) {
    char data[4096], name[20], *names[100];
    mkdir("many", 0755);
    for (int i = 0; i < 30; i++) { sprintf(name, "many/%d", i * i * 7919 % 1000); close(open(name, O_CREAT | O_RDWR, 0600)); }
    symlink("x", "many/link"); mkdir("many/directory", 0755);
    DIR *stream = opendir("many");
    struct dirent *entry; int count = 0; struct stat status;
    while ((entry = readdir(stream))) {
        char path[300]; sprintf(path, "many/%s", entry->d_name);
        names[count++] = strdup(entry->d_name); lstat(path, &status); put(status.st_ino == entry->d_ino || entry->d_name[1] == '.');
        put(entry->d_reclen % 8); put(IFTODT(status.st_mode) == entry->d_type);
    }
    put(errno == 0); sort(names, count);
    for (int i = 0; i < count; i++) bytes(names[i], strlen(names[i]));
    rewinddir(stream); int again = 0; while (readdir(stream)) again++; put(again == count);
    close(open("many/later", O_CREAT | O_RDWR, 0600)); rewinddir(stream); again = 0; while (readdir(stream)) again++; put(again - count);
    put(dirfd(stream) >= 3); is(closedir(stream));
    put(opendir("f") ? 1 : -errno); put(opendir("absent") ? 1 : -errno); put(opendir("") ? 1 : -errno); put(opendir("loop") ? 1 : -errno);
    int directory = open("many", O_RDONLY), file = open("f", O_RDONLY); put(fdopendir(file) ? 1 : -errno); put(fdopendir(99) ? 1 : -errno);
    stream = fdopendir(directory); readdir(stream); long place = telldir(stream); entry = readdir(stream); strcpy(name, entry->d_name);
    readdir(stream); seekdir(stream, place); entry = readdir(stream); put(strcmp(name, entry->d_name)); is(closedir(stream)); put(fcntl(directory, F_GETFD) < 0 ? -errno : 0);
    directory = open("many", O_RDONLY); is(syscall(SYS_getdents64, directory, data, 10)); is(syscall(SYS_getdents64, directory, BAD, 100));
    is(lseek(directory, 0, SEEK_SET)); long all = 0, size;
    while ((size = syscall(SYS_getdents64, directory, data, 100)) > 0) for (long at = 0; at < size; at += ((struct dirent *)(data + at))->d_reclen) all++;
    put(all - count);
}

static void links(void) {
    char text[100]; struct stat status;
    int directory = open("d2", O_RDONLY), file = open("f", O_RDONLY), held = open("link", O_PATH | O_NOFOLLOW);
    static const char *paths[] = {"link", "dlink", "dangling", "loop", "f", "d", "absent", "link/", "dlink/", "", "f/x", long_name};
    for (unsigned p = 0; p < sizeof paths / sizeof *paths; p++) { long size = is(readlink(paths[p], text, 100)); if (size > 0) bytes(text, size); }
    is(readlink("link", text, 0)); is(readlink("dangling", text, 3)); is(readlink("link", BAD, 9)); is(readlink(BAD, text, 9)); is(readlink("link", text, -1));
    is(readlinkat(directory, "../link", text, 9)); is(readlinkat(99, "x", text, 9)); is(readlinkat(held, "", text, 9)); is(readlinkat(directory, "", text, 9));
    is(symlink("f", "new")); content("new"); is(symlink("f", "new")); is(symlink("", "empty")); is(symlink("f", "")); is(symlink("f", "absent/x")); is(symlink("f", "slash/")); is(symlink("f", "d")); is(symlink("f", "dangling")); is(symlink(long_path, "x")); is(symlink("f", long_name)); is(symlink(BAD, "x")); is(symlink("f", BAD));
    is(symlinkat("f2", directory, "near")); content("d2/near"); is(symlinkat("f2", 99, "near")); is(symlinkat("f2", file, "near"));
    is(link("f", "hard")); stat("f", &status); put(status.st_nlink); is(link("f", "hard")); is(link("absent", "x")); is(link("d", "x")); is(link("link", "soft")); lstat("soft", &status); put(status.st_mode); is(link("f", "d")); is(link("f", "absent/x")); is(link("f/", "x")); is(link("f", "x/")); is(link("", "x")); is(link("f", "")); is(link("f", long_name)); is(link(".", "x")); is(link("d/..", "x"));
    is(linkat(AT_FDCWD, "link", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW)); lstat("followed", &status); put(status.st_mode); is(linkat(directory, "f2", AT_FDCWD, "two", 0)); is(linkat(99, "f2", AT_FDCWD, "x", 0)); is(linkat(AT_FDCWD, "f", AT_FDCWD, "x", 1)); is(linkat(AT_FDCWD, "dangling", AT_FDCWD, "x", AT_SYMLINK_FOLLOW)); is(linkat(AT_FDCWD, "loop", AT_FDCWD, "x", AT_SYMLINK_FOLLOW));
    unlink("f"); content("hard"); content("link"); put(realpath("d2/../hard", text) ? 0 : -errno); put(realpath("dangling", text) ? 0 : -errno); put(realpath("", text) ? 0 : -errno); put(realpath("loop", text) ? 0 : -errno);
}

static void renaming(void) {
    int directory = open("d2", O_RDONLY), file = open("f", O_RDONLY);
    static const char *names[] = {"f", "d", "d2", "link", "dlink", "dangling", "absent", "f/", "d/", "absent/", "dlink/", "link/", "", ".", "..", "d2/x", "f/x", "absent/x", "d/.", "loop", long_name};
    mkdir("e", 0755); mkdir("full", 0755); mkdir("full/x", 0755);
    for (unsigned a = 0; a < sizeof names / sizeof *names; a++) for (unsigned b = 0; b < sizeof names / sizeof *names; b++) {
        /* Only those that change nothing, so that each pair starts from the same tree. */
        if (a < 6 && (b == 6 || b == 15 || (b < 6 && a != b) || b == 19)) continue;
        if ((a == 8 || a == 19) && (b == 6 || b == 9 || b == 15 || b == 0 || b == 3 || b == 4 || b == 5 || b == 19)) continue;
        is(rename(names[a], names[b]));
    }
    is(rename("f", "moved")); content("moved"); is(rename("moved", "link")); content("link"); is(rename("link", "d")); is(rename("d", "link")); is(rename("d", "full")); is(rename("full", "d")); is(rename("d", "d/x")); is(rename("d", "d")); is(rename("link", "link")); is(link("link", "same")); is(rename("link", "same")); content("link");
    is(rename("d/", "slash/")); is(rename("link", "slash/")); is(rename("dlink", "dl2")); is(rename("loop", "loop2")); is(rename(BAD, "x")); is(rename("link", BAD));
    is(renameat(directory, "f2", AT_FDCWD, "out")); content("out"); is(renameat(AT_FDCWD, "out", directory, "back")); content("d2/back"); is(renameat(99, "x", AT_FDCWD, "y")); is(renameat(file, "x", AT_FDCWD, "y")); is(renameat2(AT_FDCWD, "link", AT_FDCWD, "plain", 0)); is(renameat2(AT_FDCWD, "plain", AT_FDCWD, "y", 0x100));
}

static void access_and_modes(void) {
    static const char *paths[] = {"f", "d", "link", "dangling", "absent", "loop", "f/", "f/x", "", long_name};
    struct stat status; int file = open("f", O_RDONLY), directory = open("d2", O_RDONLY), held = open("f", O_PATH);
    for (unsigned p = 0; p < sizeof paths / sizeof *paths; p++) for (int mode = 0; mode < 9; mode++) is(access(paths[p], mode));
    is(access(BAD, F_OK)); is(faccessat(directory, "f2", R_OK, 0)); is(faccessat(99, "f2", R_OK, 0)); is(faccessat(AT_FDCWD, "dangling", F_OK, AT_SYMLINK_NOFOLLOW)); is(faccessat(AT_FDCWD, "f", F_OK, 1)); is(faccessat(AT_FDCWD, "f", R_OK, AT_EACCESS));
    is(chmod("f", 0755)); is(access("f", X_OK)); stat("f", &status); put(status.st_mode); is(chmod("link", 0600)); stat("f", &status); put(status.st_mode); is(chmod("absent", 0)); is(chmod("d", 0700)); is(chmod("loop", 0)); is(chmod("", 0)); is(chmod("f/", 0)); is(chmod(BAD, 0));
    is(fchmod(file, 0640)); stat("f", &status); put(status.st_mode); is(fchmod(99, 0)); is(fchmod(held, 0)); is(fchmod(directory, 0755)); is(fchmodat(directory, "f2", 0600, 0)); is(fchmodat(AT_FDCWD, "f", 0600, 1)); is(fchmodat(99, "f", 0600, 0));
}

static void times_of(const char *path) {
    struct stat status; if (is(lstat(path, &status)) < 0) return;
    put(status.st_atim.tv_sec); put(status.st_atim.tv_nsec); put(status.st_mtim.tv_sec); put(status.st_mtim.tv_nsec);
}
static void times(void) {
    struct timespec given[2] = {{1000, 5}, {2000, 999999999}}, omit[2] = {{7, UTIME_OMIT}, {3000, 1}}, none[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}}, bad[2] = {{1, -1}, {1, 1}}, now[2] = {{0, UTIME_NOW}, {4000, 0}}, before[2] = {{-5, 3}, {-1, 7}};
    int file = open("f", O_RDONLY), held = open("f", O_PATH), directory = open("d2", O_RDONLY);
    is(futimens(file, given)); times_of("f"); is(futimens(file, omit)); times_of("f"); is(futimens(file, none)); times_of("f"); is(futimens(file, bad)); is(futimens(99, given)); is(futimens(held, given)); is(futimens(file, BAD)); is(futimens(directory, given)); times_of("d2"); is(futimens(file, before)); times_of("f");
    is(utimensat(AT_FDCWD, "link", given, AT_SYMLINK_NOFOLLOW)); times_of("link"); times_of("f"); is(utimensat(AT_FDCWD, "link", given, 0)); times_of("f"); is(utimensat(AT_FDCWD, "absent", given, 0)); is(utimensat(AT_FDCWD, "absent", none, 0)); is(utimensat(directory, "f2", given, 0)); times_of("d2/f2"); is(utimensat(99, "f2", given, 0)); is(utimensat(AT_FDCWD, "f", given, 1)); is(utimensat(AT_FDCWD, "", given, 0)); is(utimensat(AT_FDCWD, BAD, given, 0)); is(utimensat(AT_FDCWD, "dangling", given, AT_SYMLINK_NOFOLLOW)); times_of("dangling");
    struct timeval rough[2] = {{10, 20}, {30, 999999}}, wrong[2] = {{10, 1000000}, {1, 1}}; is(utimes("f", rough)); times_of("f"); is(utimes("f", wrong)); is(utimes("absent", rough));
    struct timeval begin; struct stat status; gettimeofday(&begin, 0); is(futimens(file, 0)); fstat(file, &status); put(status.st_mtim.tv_sec - begin.tv_sec < 5); is(futimens(file, now)); fstat(file, &status); put(status.st_atim.tv_sec - begin.tv_sec < 5); put(status.st_mtim.tv_sec);
}

static void descriptors(void) {
    char data[20]; int file = open("f", O_RDWR), lowest = dup(0);
    int again = dup(file); put(again - lowest); is(lseek(file, 3, SEEK_SET)); is(read(again, data, 2)); bytes(data, 2); is(lseek(file, 0, SEEK_CUR));
    put(dup2(file, lowest + 20) - lowest); put(dup2(file, file) - lowest); is(dup2(99, lowest)); is(dup2(file, -1)); is(dup2(99, 99)); is(dup(99)); is(dup2(file, 1 << 20)); is(dup3(file, file, 0)); is(dup3(file, lowest + 21, O_CLOEXEC) - lowest); put(fcntl(lowest + 21, F_GETFD)); put(fcntl(file, F_GETFD)); is(dup3(file, lowest + 22, 1)); is(dup3(file, -1, 0));
    is(fcntl(file, F_DUPFD, lowest + 10) - lowest); is(fcntl(file, F_DUPFD_CLOEXEC, lowest + 10) - lowest); put(fcntl(lowest + 11, F_GETFD)); is(fcntl(file, F_DUPFD, -1)); is(fcntl(file, F_DUPFD, 1 << 28)); is(fcntl(file, F_SETFD, FD_CLOEXEC)); put(fcntl(file, F_GETFD)); put(fcntl(again, F_GETFD)); is(fcntl(99, F_GETFD)); is(fcntl(file, 9999, 0));
    is(fcntl(file, F_SETFL, O_APPEND | O_NONBLOCK | O_RDONLY | O_CREAT)); put(fcntl(again, F_GETFL)); is(write(again, "tail", 4)); is(fcntl(file, F_SETFL, 0)); put(fcntl(file, F_GETFL)); content("f"); int held = open("f", O_PATH); is(fcntl(held, F_SETFL, 0)); put(fcntl(held, F_GETFL)); is(fcntl(held, F_GETFD)); is(dup(held) - lowest);
    is(close(again)); is(close(again)); is(read(file, data, 2)); is(close_range(lowest + 10, lowest + 30, 0)); is(fcntl(lowest + 20, F_GETFD)); is(close_range(5, 4, 0)); is(close_range(500, 600, 99)); is(close_range(file, file, CLOSE_RANGE_CLOEXEC)); put(fcntl(file, F_GETFD));
    put(open("f", O_RDONLY) - lowest); int left; is(ioctl(file, FIONREAD, &left)); put(left); lseek(file, 3, SEEK_SET); is(ioctl(file, FIONREAD, &left)); put(left); is(ioctl(file, TIOCGWINSZ, data)); is(ioctl(99, FIONREAD, &left)); is(ioctl(held, FIONREAD, &left)); int on = 1; is(ioctl(file, FIONBIO, &on)); put(fcntl(file, F_GETFL)); is(ioctl(file, FIOCLEX)); put(fcntl(file, F_GETFD)); is(ioctl(file, 0x1234)); put(isatty(file)); put(errno); put(isatty(99)); put(errno);
}

static void locks(void) {
    int file = open("f", O_RDWR), other = open("f", O_RDWR), in = open("f", O_RDONLY);
    struct flock lock = {F_WRLCK, SEEK_SET, 0, 0, 0}; is(fcntl(file, F_SETLK, &lock)); is(fcntl(other, F_SETLK, &lock)); is(fcntl(in, F_SETLK, &lock)); lock.l_type = F_RDLCK; is(fcntl(in, F_SETLK, &lock)); lock.l_type = F_WRLCK; is(fcntl(file, F_GETLK, &lock)); put(lock.l_type); lock.l_type = F_UNLCK; is(fcntl(file, F_SETLK, &lock)); lock.l_type = 9; is(fcntl(file, F_SETLK, &lock)); lock.l_type = F_WRLCK; lock.l_start = -1; is(fcntl(file, F_SETLK, &lock)); is(fcntl(file, F_SETLK, BAD)); is(fcntl(99, F_SETLK, &lock));
    struct flock mine = {F_WRLCK, SEEK_SET, 2, 4, 0}, theirs = {F_RDLCK, SEEK_SET, 5, 4, 0}; is(fcntl(file, F_OFD_SETLK, &mine)); is(fcntl(other, F_OFD_SETLK, &theirs)); theirs.l_start = 6; is(fcntl(other, F_OFD_SETLK, &theirs)); struct flock ask = {F_WRLCK, SEEK_SET, 0, 0, 0}; is(fcntl(other, F_OFD_GETLK, &ask)); put(ask.l_type); put(ask.l_start); put(ask.l_len); put(ask.l_pid); mine.l_type = F_UNLCK; mine.l_start = 3; mine.l_len = 1; is(fcntl(file, F_OFD_SETLK, &mine)); theirs.l_start = 3; theirs.l_len = 1; is(fcntl(other, F_OFD_SETLK, &theirs)); ask.l_pid = 5; is(fcntl(other, F_OFD_SETLK, &ask));
    is(flock(file, LOCK_EX)); is(flock(other, LOCK_SH | LOCK_NB)); is(flock(file, LOCK_SH)); is(flock(other, LOCK_SH | LOCK_NB)); is(flock(file, LOCK_EX | LOCK_NB)); is(flock(file, LOCK_UN)); is(flock(other, LOCK_EX | LOCK_NB)); close(other); is(flock(file, LOCK_EX | LOCK_NB)); is(flock(99, LOCK_EX)); is(flock(file, 16));
}

static void copying(void) {
    int from = open("f", O_RDONLY), to = open("copy", O_RDWR | O_CREAT, 0600), directory = open("d", O_RDONLY), end = open("copy", O_WRONLY | O_APPEND); off_t at = 2, into = 5;
    is(copy_file_range(from, 0, to, 0, 4, 0)); content("copy"); is(lseek(from, 0, SEEK_CUR)); is(copy_file_range(from, &at, to, &into, 100, 0)); put(at); put(into); content("copy"); is(copy_file_range(from, 0, from, 0, 4, 0)); is(copy_file_range(to, 0, from, 0, 4, 0)); is(copy_file_range(directory, 0, to, 0, 4, 0)); is(copy_file_range(from, 0, to, 0, 4, 1)); is(copy_file_range(99, 0, to, 0, 4, 0)); is(copy_file_range(from, 0, end, 0, 4, 0)); at = -1; is(copy_file_range(from, &at, to, 0, 4, 0)); at = 99; is(copy_file_range(from, &at, to, 0, 4, 0));
    at = 1; is(sendfile(to, from, &at, 3)); put(at); lseek(from, 0, SEEK_SET); is(sendfile(to, from, 0, 100)); content("copy"); is(lseek(from, 0, SEEK_CUR)); is(sendfile(from, to, 0, 4)); is(sendfile(to, directory, 0, 4)); is(sendfile(99, from, 0, 4)); is(sendfile(to, 99, 0, 4));
}

static void standing(void) {
    char text[PATH_MAX]; struct stat here, root; int directory = open("d2", O_RDONLY), held = open("d2", O_PATH), file = open("f", O_RDONLY);
    is(chdir("d2")); content("f2"); content("../f"); is(chdir("absent")); is(chdir("f2")); is(chdir("")); is(chdir(BAD)); is(chdir("..")); content("f"); is(fchdir(directory)); content("f2"); is(fchdir(file)); is(fchdir(99)); is(chdir("..")); is(fchdir(held)); content("f2"); is(chdir(".")); is(chdir("../dlink")); put(strcmp(strrchr(getcwd(text, sizeof text), '/'), "/d2")); put(getcwd(text, 2) ? 0 : -errno); put(getcwd(text, 0) ? 0 : -errno); char *made = getcwd(0, 0); put(strcmp(strrchr(made, '/'), "/d2")); is(syscall(SYS_getcwd, text, 3) ); is(syscall(SYS_getcwd, text, sizeof text) - (long)strlen(text));
    is(rename("../d2", "../renamed")); content("f2"); is(mkdir("sub", 0755)); is(chdir("sub")); content("../f2"); is(rmdir("../sub")); is(mkdir("x", 0755)); fd(open("x", O_CREAT | O_RDWR, 0600)); fd(open(".", O_RDONLY)); is(chdir(".")); is(stat(".", &here)); is(fchdir(directory)); is(chdir("..")); content("f");
}

static void exhaustion(void) {
    long_name[255] = 0; fd(open(long_name, O_CREAT | O_RDWR, 0600)); is(unlink(long_name)); is(mkdir(long_name, 0755)); is(rmdir(long_name)); long_name[255] = 'n';
    int depth = 0; char *name = "level"; for (; depth < 60; depth++) { if (mkdir(name, 0755) || chdir(name)) break; } put(depth); fd(open("bottom", O_CREAT | O_RDWR, 0600)); for (; depth; depth--) chdir(".."); content("f");
    memset(long_path, 0, sizeof long_path); for (int i = 0; i < 60; i++) strcat(long_path, "level/"); strcat(long_path, "bottom"); fd(open(long_path, O_RDONLY));
}

static void (*const programs[])(void) = {
    opening, opening_bounded, reading_and_writing, seeking, sizes, statuses, directories, listing, links, renaming,
    access_and_modes, times, descriptors, locks, copying, standing, exhaustion,
};
RUN(programs)
