/* Programs that open files; their descriptors. */
#include "file_program.h"

static void opening(void) {
    static const int flags[] = {
        O_RDONLY,
        O_WRONLY,
        O_RDWR,
        3,
        O_WRONLY | O_CREAT,
        O_WRONLY | O_CREAT | O_EXCL,
        O_RDONLY | O_EXCL,
        O_RDONLY | O_DIRECTORY,
        O_RDWR | O_DIRECTORY,
        O_RDONLY | O_NOFOLLOW,
        O_PATH,
        O_PATH | O_NOFOLLOW,
        O_PATH | O_DIRECTORY,
        O_WRONLY | O_TRUNC,
        O_RDONLY | O_NONBLOCK,
        O_RDWR | O_APPEND,
        O_RDONLY | O_APPEND,
        O_PATH | O_CREAT | O_EXCL,
        O_RDONLY | O_CREAT,
        O_RDONLY | O_NOFOLLOW | O_DIRECTORY,
        O_RDONLY | O_CLOEXEC | O_SYNC,
        O_WRONLY | O_TMPFILE & ~O_DIRECTORY,
        O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR,
    };
    static const char *paths[] = {
        "f",   "d",       "link",   "dlink",    "dangling", "loop",  "absent",  "absent/f",
        "f/",  "f/x",     "d/",     "d/absent", "dlink/f2", "link/", "dlink/",  "dangling/",
        "",    ".",       "..",     "d/.",      "d2/../f",  "./f",   "d//../f", "f/..",
        "f/.", "absent/", "loop/x", long_name,  long_path,
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
    struct {
        struct open_how how;
        unsigned long more[2];
    } given = {{flags, mode, resolve}, {size > sizeof given.how + 8 ? 1 : 0, 0}};
    return syscall(SYS_openat2, at, path, &given, size);
}

static void opening_bounded(void) {
    int directory = open("d2", O_PATH | O_DIRECTORY), file = open("f", O_RDONLY);
    static const unsigned long resolve[] = {
        0,
        RESOLVE_BENEATH,
        RESOLVE_IN_ROOT,
        RESOLVE_NO_SYMLINKS,
        RESOLVE_NO_MAGICLINKS,
        RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
        RESOLVE_BENEATH | RESOLVE_IN_ROOT,
        0x1000,
    };
    symlink("f2", "d2/inner");
    symlink("../f", "d2/outer");
    symlink("/f2", "d2/absolute");
    symlink("../d2/f2", "d2/out_and_in");
    mkdir("d2/s", 0755);
    symlink("../f2", "d2/s/up");
    static const char *paths[] = {
        "f2", "inner", "outer", "absolute", "out_and_in", "s/up",     "s/../f2",
        "..", "../f",  ".",     "/f2",      "s/../../f",  "absent",   "f2/",
        "s/", "s/.",   "s/..",  "",         "f2/..",      "../d2/f2",
    };
    for (unsigned p = 0; p < sizeof paths / sizeof *paths; p++)
        for (unsigned r = 0; r < sizeof resolve / sizeof *resolve; r++) {
            if (paths[p][0] == '/' && !(resolve[r] & (RESOLVE_BENEATH | RESOLVE_IN_ROOT))) continue;
            int opened = fd(how(directory, paths[p], O_RDONLY, 0, resolve[r], 24));
            shut(opened);
            if (!strcmp(paths[p], "absolute") && !r) out[-1] = 0; /* there may be an /f2 */
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

static void descriptors(void) {
    char data[20];
    int file = open("f", O_RDWR), lowest = dup(0);
    int again = dup(file);
    put(again - lowest);
    is(lseek(file, 3, SEEK_SET));
    is(read(again, data, 2));
    bytes(data, 2);
    is(lseek(file, 0, SEEK_CUR));
    put(dup2(file, lowest + 20) - lowest);
    put(dup2(file, file) - lowest);
    is(dup2(99, lowest));
    is(dup2(file, -1));
    is(dup2(99, 99));
    is(dup(99));
    is(dup2(file, 1 << 20));
    is(dup3(file, file, 0));
    is(dup3(file, lowest + 21, O_CLOEXEC) - lowest);
    put(fcntl(lowest + 21, F_GETFD));
    put(fcntl(file, F_GETFD));
    is(dup3(file, lowest + 22, 1));
    is(dup3(file, -1, 0));
    is(fcntl(file, F_DUPFD, lowest + 10) - lowest);
    is(fcntl(file, F_DUPFD_CLOEXEC, lowest + 10) - lowest);
    put(fcntl(lowest + 11, F_GETFD));
    is(fcntl(file, F_DUPFD, -1));
    is(fcntl(file, F_DUPFD, 1 << 28));
    is(fcntl(file, F_SETFD, FD_CLOEXEC));
    put(fcntl(file, F_GETFD));
    put(fcntl(again, F_GETFD));
    is(fcntl(99, F_GETFD));
    is(fcntl(file, 9999, 0));
    is(fcntl(file, F_SETFL, O_APPEND | O_NONBLOCK | O_RDONLY | O_CREAT));
    put(fcntl(again, F_GETFL));
    is(write(again, "tail", 4));
    is(fcntl(file, F_SETFL, 0));
    put(fcntl(file, F_GETFL));
    content("f");
    int held = open("f", O_PATH);
    is(fcntl(held, F_SETFL, 0));
    put(fcntl(held, F_GETFL));
    is(fcntl(held, F_GETFD));
    is(dup(held) - lowest);
    is(close(again));
    is(close(again));
    is(read(file, data, 2));
    is(close_range(lowest + 10, lowest + 30, 0));
    is(fcntl(lowest + 20, F_GETFD));
    is(close_range(5, 4, 0));
    is(close_range(500, 600, 99));
    is(close_range(file, file, CLOSE_RANGE_CLOEXEC));
    put(fcntl(file, F_GETFD));
    put(open("f", O_RDONLY) - lowest);
    int left;
    is(ioctl(file, FIONREAD, &left));
    put(left);
    lseek(file, 3, SEEK_SET);
    is(ioctl(file, FIONREAD, &left));
    put(left);
    is(ioctl(file, TIOCGWINSZ, data));
    is(ioctl(99, FIONREAD, &left));
    is(ioctl(held, FIONREAD, &left));
    int on = 1;
    is(ioctl(file, FIONBIO, &on));
    put(fcntl(file, F_GETFL));
    is(ioctl(file, FIOCLEX));
    put(fcntl(file, F_GETFD));
    is(ioctl(file, 0x1234));
    put(isatty(file));
    put(errno);
    put(isatty(99));
    put(errno);
}

static void (*const programs[])(void) = {
    opening, opening_bounded, descriptors,
};
RUN(programs)
