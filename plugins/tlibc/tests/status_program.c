/* Programs that ask about files and where they are. */
#include "file_program.h"

static void shown(int result, const struct stat *status) {
    if (is(result) < 0) return;
    put(status->st_mode);
    put(S_ISDIR(status->st_mode) ? 0 : status->st_size);
    put(S_ISDIR(status->st_mode) ? 0 : (long)status->st_nlink);
    put(status->st_rdev);
}

static void statuses(void) {
    static const char *paths[] = {
        "f",        "d",      "link",    "dlink",     "dangling", "loop", "absent", "f/",
        "f/x",      "dlink/", "link/",   "dangling/", "",         ".",    "d2/f2",  "dlink/f2",
        "absent/x", "loop/x", long_name, long_path,   "./d/..",   "f/..",
    };
    struct stat status, other;
    struct statx extended;
    struct statvfs system;
    int file = open("f", O_RDONLY), directory = open("d2", O_RDONLY),
        held = open("link", O_PATH | O_NOFOLLOW);
    for (unsigned p = 0; p < sizeof paths / sizeof *paths; p++) {
        shown(stat(paths[p], &status), &status);
        shown(lstat(paths[p], &status), &status);
        int result = is(statx(AT_FDCWD, paths[p], 0, STATX_BASIC_STATS, &extended));
        if (!result) {
            put(extended.stx_mode);
            put(extended.stx_mask & 0x7ff);
            put(extended.stx_uid == getuid());
        }
        result = is(statx(AT_FDCWD, paths[p], AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &extended));
        if (!result) {
            put(extended.stx_mode);
            put(S_ISDIR(extended.stx_mode) ? 0 : extended.stx_size);
        }
        if (is(stat(paths[p], &status)) == 0) {
            statx(AT_FDCWD, paths[p], 0, STATX_BASIC_STATS, &extended);
            put(extended.stx_ino == status.st_ino);
            put(extended.stx_mtime.tv_sec == status.st_mtim.tv_sec);
            put(extended.stx_mtime.tv_nsec == status.st_mtim.tv_nsec);
            put(extended.stx_ctime.tv_nsec == status.st_ctim.tv_nsec);
            put(gnu_dev_makedev(extended.stx_dev_major, extended.stx_dev_minor) == status.st_dev);
            put(extended.stx_blocks == (unsigned long)status.st_blocks);
        }
    }
    shown(fstat(file, &status), &status);
    shown(fstat(directory, &other), &other);
    shown(fstat(held, &other), &other);
    shown(fstat(99, &status), &status);
    shown(fstat(file, BAD), &status);
    shown(stat("f", BAD), &status);
    shown(stat(BAD, &status), &status);
    shown(fstatat(directory, "f2", &status, 0), &status);
    shown(fstatat(file, "f2", &status, 0), &status);
    shown(fstatat(99, "f2", &status, 0), &status);
    shown(fstatat(directory, "", &status, 0), &status);
    shown(fstatat(directory, "", &status, AT_EMPTY_PATH), &status);
    shown(fstatat(file, "", &status, AT_EMPTY_PATH), &status);
    shown(fstatat(held, "", &status, AT_EMPTY_PATH), &status);
    shown(fstatat(AT_FDCWD, "", &status, AT_EMPTY_PATH), &status);
    shown(fstatat(AT_FDCWD, "link", &status, AT_SYMLINK_NOFOLLOW), &status);
    shown(fstatat(AT_FDCWD, "f", &status, 0x10000), &status);
    shown(fstatat(AT_FDCWD, "f", &status, AT_NO_AUTOMOUNT), &status);
    shown(fstatat(99, "", &status, AT_EMPTY_PATH), &status);
    is(statx(AT_FDCWD, "f", 0x10000, STATX_BASIC_STATS, &extended));
    is(statx(AT_FDCWD, "f", 0x6000, STATX_BASIC_STATS, &extended));
    is(statx(AT_FDCWD, "f", 0, 0x80000000, &extended));
    is(statx(AT_FDCWD, "f", 0, STATX_ALL, BAD));
    is(statx(file, "", AT_EMPTY_PATH, 0, &extended));
    is(statx(99, "f", 0, 0, &extended));
    is(statx(AT_FDCWD, "", 0, 0, &extended));
    is(statx(AT_FDCWD, BAD, 0, 0, &extended));
    is(statvfs("f", &system));
    put(system.f_namemax);
    is(fstatvfs(file, &system));
    is(statvfs("absent", &system));
    is(fstatvfs(99, &system));
}

static void access_and_modes(void) {
    static const char *paths[] = {"f",    "d",  "link", "dangling", "absent",
                                  "loop", "f/", "f/x",  "",         long_name};
    struct stat status;
    int file = open("f", O_RDONLY), directory = open("d2", O_RDONLY), held = open("f", O_PATH);
    for (unsigned p = 0; p < sizeof paths / sizeof *paths; p++)
        for (int mode = 0; mode < 9; mode++) is(access(paths[p], mode));
    is(access(BAD, F_OK));
    is(faccessat(directory, "f2", R_OK, 0));
    is(faccessat(99, "f2", R_OK, 0));
    is(faccessat(AT_FDCWD, "dangling", F_OK, AT_SYMLINK_NOFOLLOW));
    is(faccessat(AT_FDCWD, "f", F_OK, 1));
    is(faccessat(AT_FDCWD, "f", R_OK, AT_EACCESS));
    is(chmod("f", 0755));
    is(access("f", X_OK));
    stat("f", &status);
    put(status.st_mode);
    is(chmod("link", 0600));
    stat("f", &status);
    put(status.st_mode);
    is(chmod("absent", 0));
    is(chmod("d", 0700));
    is(chmod("loop", 0));
    is(chmod("", 0));
    is(chmod("f/", 0));
    is(chmod(BAD, 0));
    is(fchmod(file, 0640));
    stat("f", &status);
    put(status.st_mode);
    is(fchmod(99, 0));
    is(fchmod(held, 0));
    is(fchmod(directory, 0755));
    is(fchmodat(directory, "f2", 0600, 0));
    is(fchmodat(AT_FDCWD, "f", 0600, 1));
    is(fchmodat(99, "f", 0600, 0));
}

static void times_of(const char *path) {
    struct stat status;
    if (is(lstat(path, &status)) < 0) return;
    put(status.st_atim.tv_sec);
    put(status.st_atim.tv_nsec);
    put(status.st_mtim.tv_sec);
    put(status.st_mtim.tv_nsec);
}

static void times(void) {
    /* Whole seconds since the epoch: what else a time can be is the file system's own. */
    struct timespec given[2] = {{1000, 0}, {2000, 0}}, omit[2] = {{7, UTIME_OMIT}, {3000, 0}},
                    none[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}}, bad[2] = {{1, -1}, {1, 1}},
                    now[2] = {{0, UTIME_NOW}, {4000, 0}};
    int file = open("f", O_RDONLY), held = open("f", O_PATH), directory = open("d2", O_RDONLY);
    is(futimens(file, given));
    times_of("f");
    is(futimens(file, omit));
    times_of("f");
    is(futimens(file, none));
    times_of("f");
    is(futimens(file, bad));
    is(futimens(99, given));
    is(futimens(held, given));
    is(futimens(file, BAD));
    is(futimens(directory, given));
    times_of("d2");
    is(utimensat(AT_FDCWD, "link", given, AT_SYMLINK_NOFOLLOW));
    times_of("link");
    times_of("f");
    is(utimensat(AT_FDCWD, "link", given, 0));
    times_of("f");
    is(utimensat(AT_FDCWD, "absent", given, 0));
    is(utimensat(AT_FDCWD, "absent", none, 0));
    is(utimensat(directory, "f2", given, 0));
    times_of("d2/f2");
    is(utimensat(99, "f2", given, 0));
    is(utimensat(AT_FDCWD, "f", given, 1));
    is(utimensat(AT_FDCWD, "", given, 0));
    is(utimensat(AT_FDCWD, BAD, given, 0));
    is(utimensat(AT_FDCWD, "dangling", given, AT_SYMLINK_NOFOLLOW));
    times_of("dangling");
    struct timeval rough[2] = {{10, 0}, {30, 0}}, wrong[2] = {{10, 1000000}, {1, 1}};
    is(utimes("f", rough));
    times_of("f");
    is(utimes("f", wrong));
    is(utimes("absent", rough));
    struct timeval begin;
    struct stat status;
    gettimeofday(&begin, 0);
    is(futimens(file, 0));
    fstat(file, &status);
    put(status.st_mtim.tv_sec - begin.tv_sec < 5);
    is(futimens(file, now));
    fstat(file, &status);
    put(status.st_atim.tv_sec - begin.tv_sec < 5);
    put(status.st_mtim.tv_sec);
}

static void standing(void) {
    char text[PATH_MAX];
    struct stat here, root;
    int directory = open("d2", O_RDONLY), held = open("d2", O_PATH), file = open("f", O_RDONLY);
    is(chdir("d2"));
    content("f2");
    content("../f");
    is(chdir("absent"));
    is(chdir("f2"));
    is(chdir(""));
    is(chdir(BAD));
    is(chdir(".."));
    content("f");
    is(fchdir(directory));
    content("f2");
    is(fchdir(file));
    is(fchdir(99));
    is(chdir(".."));
    is(fchdir(held));
    content("f2");
    is(chdir("."));
    is(chdir("../dlink"));
    put(strcmp(strrchr(getcwd(text, sizeof text), '/'), "/d2"));
    put(getcwd(text, 2) ? 0 : -errno);
    put(getcwd(text, 0) ? 0 : -errno);
    char *made = getcwd(0, 0);
    put(strcmp(strrchr(made, '/'), "/d2"));
    is(syscall(SYS_getcwd, text, 3));
    is(syscall(SYS_getcwd, text, sizeof text) - (long)strlen(text));
    is(rename("../d2", "../renamed"));
    content("f2");
    is(mkdir("sub", 0755));
    is(chdir("sub"));
    content("../f2");
    is(rmdir("../sub"));
    is(mkdir("x", 0755));
    fd(open("x", O_CREAT | O_RDWR, 0600));
    fd(open(".", O_RDONLY));
    is(chdir("."));
    is(stat(".", &here));
    is(fchdir(directory));
    is(chdir(".."));
    content("f");
}

static void exhaustion(void) {
    long_name[255] = 0;
    fd(open(long_name, O_CREAT | O_RDWR, 0600));
    is(unlink(long_name));
    is(mkdir(long_name, 0755));
    is(rmdir(long_name));
    long_name[255] = 'n';
    int depth = 0;
    char *name = "level";
    for (; depth < 60; depth++) {
        if (mkdir(name, 0755) || chdir(name)) break;
    }
    put(depth);
    fd(open("bottom", O_CREAT | O_RDWR, 0600));
    for (; depth; depth--) chdir("..");
    content("f");
    memset(long_path, 0, sizeof long_path);
    for (int i = 0; i < 60; i++) strcat(long_path, "level/");
    strcat(long_path, "bottom");
    fd(open(long_path, O_RDONLY));
}

static void (*const programs[])(void) = {
    statuses, access_and_modes, times, standing, exhaustion,
};
RUN(programs)
