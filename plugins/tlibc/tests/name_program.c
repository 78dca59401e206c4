/* Programs that make, list, rename and remove names. */
#include "file_program.h"

static void directories(void) {
    char data[1000];
    int directory = open("d2", O_RDONLY | O_DIRECTORY), file = open("f", O_RDONLY),
        held = open("d2", O_PATH);
    is(mkdir("new", 0751));
    is(mkdir("new", 0755));
    is(mkdir("f", 0755));
    is(mkdir("f/x", 0755));
    is(mkdir("absent/x", 0755));
    is(mkdir("dangling", 0755));
    is(mkdir("slash/", 0755));
    is(mkdir("", 0755));
    is(mkdir(".", 0755));
    is(mkdir("..", 0755));
    is(mkdir(long_name, 0755));
    is(mkdir(long_path, 0755));
    is(mkdir(BAD, 0755));
    is(mkdir("loop", 0755));
    is(mkdir("d/.", 0755));
    is(mkdirat(directory, "in", 0755));
    is(mkdirat(file, "in", 0755));
    is(mkdirat(99, "in", 0755));
    is(mkdirat(held, "held", 0755));
    struct stat status;
    stat("new", &status);
    put(status.st_mode);
    put(umask(077));
    is(mkdir("open", 0777));
    stat("open", &status);
    put(status.st_mode);
    put(umask(022));
    is(rmdir("new"));
    is(rmdir("d2"));
    is(rmdir("f"));
    is(rmdir("absent"));
    is(rmdir("dlink"));
    is(rmdir("slash/"));
    is(rmdir("."));
    is(rmdir("d/."));
    is(rmdir("d/.."));
    is(rmdir(""));
    is(rmdir("f/x"));
    is(unlink("f2"));
    is(unlink("d"));
    is(unlink("f/"));
    is(unlink(""));
    is(unlink("absent"));
    is(unlink("link/"));
    is(unlink("dlink/"));
    is(unlink("dangling"));
    is(unlink("loop"));
    is(unlink(long_name));
    is(unlink(BAD));
    is(unlink("f/x"));
    is(unlink("."));
    is(unlinkat(directory, "in", AT_REMOVEDIR));
    is(unlinkat(directory, "f2", AT_REMOVEDIR));
    is(unlinkat(directory, "held", 0));
    is(unlinkat(directory, "held", AT_REMOVEDIR));
    is(unlinkat(directory, "f2", 1));
    is(unlinkat(99, "f2", 0));
    is(unlinkat(file, "f2", 0));
    is(unlinkat(directory, "f2", 0));
    is(rmdir("d2"));
    is(mkdirat(directory, "late", 0755));
    fd(openat(directory, "late", O_CREAT | O_RDWR, 0600));
    is(syscall(SYS_getdents64, directory, data, 1000));
    is(remove("d"));
    is(remove("link"));
    is(remove("absent"));
    is(syscall(SYS_getdents64, file, data, 1000));
    is(syscall(SYS_getdents64, 99, data, 1000));
    is(syscall(SYS_getdents64, held, data, 1000));
}

static void sort(char **names, int count) {
    for (int i = 1; i < count; i++)
        for (int j = i; j && strcmp(names[j - 1], names[j]) > 0; j--) {
            char *swapped = names[j];
            names[j] = names[j - 1];
            names[j - 1] = swapped;
        }
}

static void listing(void) {
    char data[4096], name[20], *names[100];
    mkdir("many", 0755);
    for (int i = 0; i < 30; i++) {
        sprintf(name, "many/%d", i * i * 7919 % 1000);
        close(open(name, O_CREAT | O_RDWR, 0600));
    }
    symlink("x", "many/link");
    mkdir("many/directory", 0755);
    DIR *stream = opendir("many");
    struct dirent *entry;
    int count = 0;
    struct stat status;
    while ((entry = readdir(stream))) {
        char path[300];
        sprintf(path, "many/%s", entry->d_name);
        names[count++] = strdup(entry->d_name);
        lstat(path, &status);
        put(status.st_ino == entry->d_ino || entry->d_name[1] == '.');
        put(entry->d_reclen % 8);
        put(entry->d_type == DT_UNKNOWN || IFTODT(status.st_mode) == entry->d_type);
    }
    put(errno == 0);
    sort(names, count);
    for (int i = 0; i < count; i++) bytes(names[i], strlen(names[i]));
    rewinddir(stream);
    int again = 0;
    while (readdir(stream)) again++;
    put(again == count);
    close(open("many/later", O_CREAT | O_RDWR, 0600));
    rewinddir(stream);
    again = 0;
    while (readdir(stream)) again++;
    put(again - count);
    put(dirfd(stream) >= 3);
    is(closedir(stream));
    put(opendir("f") ? 1 : -errno);
    put(opendir("absent") ? 1 : -errno);
    put(opendir("") ? 1 : -errno);
    put(opendir("loop") ? 1 : -errno);
    int directory = open("many", O_RDONLY), file = open("f", O_RDONLY);
    put(fdopendir(file) ? 1 : -errno);
    put(fdopendir(99) ? 1 : -errno);
    stream = fdopendir(directory);
    readdir(stream);
    long place = telldir(stream);
    entry = readdir(stream);
    strcpy(name, entry->d_name);
    readdir(stream);
    seekdir(stream, place);
    entry = readdir(stream);
    put(strcmp(name, entry->d_name));
    is(closedir(stream));
    put(fcntl(directory, F_GETFD) < 0 ? -errno : 0);
    directory = open("many", O_RDONLY);
    is(syscall(SYS_getdents64, directory, data, 10));
    is(syscall(SYS_getdents64, directory, BAD, 100));
    is(lseek(directory, 0, SEEK_SET));
    long all = 0, size;
    while ((size = syscall(SYS_getdents64, directory, data, 100)) > 0)
        for (long at = 0; at < size; at += ((struct dirent *)(data + at))->d_reclen) all++;
    put(all - count);
}

static void links(void) {
    char text[100];
    struct stat status;
    int directory = open("d2", O_RDONLY), file = open("f", O_RDONLY),
        held = open("link", O_PATH | O_NOFOLLOW);
    static const char *paths[] = {"link",   "dlink", "dangling", "loop", "f",   "d",
                                  "absent", "link/", "dlink/",   "",     "f/x", long_name};
    for (unsigned p = 0; p < sizeof paths / sizeof *paths; p++) {
        long size = is(readlink(paths[p], text, 100));
        if (size > 0) bytes(text, size);
    }
    is(readlink("link", text, 0));
    is(readlink("dangling", text, 3));
    is(readlink("link", BAD, 9));
    is(readlink(BAD, text, 9));
    is(readlink("link", text, -1));
    is(readlinkat(directory, "../link", text, 9));
    is(readlinkat(99, "x", text, 9));
    is(readlinkat(held, "", text, 9));
    is(readlinkat(directory, "", text, 9));
    is(symlink("f", "new"));
    content("new");
    is(symlink("f", "new"));
    is(symlink("", "empty"));
    is(symlink("f", ""));
    is(symlink("f", "absent/x"));
    is(symlink("f", "slash/"));
    is(symlink("f", "d"));
    is(symlink("f", "dangling"));
    is(symlink(long_path, "x"));
    is(symlink("f", long_name));
    is(symlink(BAD, "x"));
    is(symlink("f", BAD));
    is(symlinkat("f2", directory, "near"));
    content("d2/near");
    is(symlinkat("f2", 99, "near"));
    is(symlinkat("f2", file, "near"));
    is(link("f", "hard"));
    stat("f", &status);
    put(status.st_nlink);
    is(link("f", "hard"));
    is(link("absent", "x"));
    is(link("d", "x"));
    is(link("link", "soft"));
    lstat("soft", &status);
    put(status.st_mode);
    is(link("f", "d"));
    is(link("f", "absent/x"));
    is(link("f/", "x"));
    is(link("f", "x/"));
    is(link("", "x"));
    is(link("f", ""));
    is(link("f", long_name));
    is(link(".", "x"));
    is(link("d/..", "x"));
    is(linkat(AT_FDCWD, "link", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW));
    lstat("followed", &status);
    put(status.st_mode);
    is(linkat(directory, "f2", AT_FDCWD, "two", 0));
    is(linkat(99, "f2", AT_FDCWD, "x", 0));
    is(linkat(AT_FDCWD, "f", AT_FDCWD, "x", 1));
    is(linkat(AT_FDCWD, "dangling", AT_FDCWD, "x", AT_SYMLINK_FOLLOW));
    is(linkat(AT_FDCWD, "loop", AT_FDCWD, "x", AT_SYMLINK_FOLLOW));
    unlink("f");
    content("hard");
    content("link");
    put(realpath("d2/../hard", text) ? 0 : -errno);
    put(realpath("dangling", text) ? 0 : -errno);
    put(realpath("", text) ? 0 : -errno);
    put(realpath("loop", text) ? 0 : -errno);
}

/* What a file system says of a directory that is not empty: rename(2) has both. */
static void renamed(int result) { is(result && errno == EEXIST ? -(errno = ENOTEMPTY) : result); }

static void renaming(void) {
    int directory = open("d2", O_RDONLY), file = open("f", O_RDONLY);
    static const char *names[] = {"f",      "d",    "d2",     "link",    "dlink",  "dangling",
                                  "absent", "f/",   "d/",     "absent/", "dlink/", "link/",
                                  "",       ".",    "..",     "d2/x",    "f/x",    "absent/x",
                                  "d/.",    "loop", long_name};
    mkdir("e", 0755);
    mkdir("full", 0755);
    mkdir("full/x", 0755);
    for (unsigned a = 0; a < sizeof names / sizeof *names; a++)
        for (unsigned b = 0; b < sizeof names / sizeof *names; b++) {
            /* Only those that change nothing, so that each pair starts from the same tree. */
            if (a < 6 && (b == 6 || b == 15 || (b < 6 && a != b) || b == 19)) continue;
            if ((a == 8 || a == 19) &&
                (b == 6 || b == 9 || b == 15 || b == 0 || b == 3 || b == 4 || b == 5 || b == 19))
                continue;
            renamed(rename(names[a], names[b]));
        }
    renamed(rename("f", "moved"));
    content("moved");
    renamed(rename("moved", "link"));
    content("link");
    renamed(rename("link", "d"));
    renamed(rename("d", "link"));
    renamed(rename("d", "full"));
    renamed(rename("full", "d"));
    renamed(rename("d", "d/x"));
    renamed(rename("d", "d"));
    renamed(rename("link", "link"));
    is(link("link", "same"));
    renamed(rename("link", "same"));
    content("link");
    renamed(rename("d/", "slash/"));
    renamed(rename("link", "slash/"));
    renamed(rename("dlink", "dl2"));
    renamed(rename("loop", "loop2"));
    renamed(rename(BAD, "x"));
    renamed(rename("link", BAD));
    is(renameat(directory, "f2", AT_FDCWD, "out"));
    content("out");
    is(renameat(AT_FDCWD, "out", directory, "back"));
    content("d2/back");
    is(renameat(99, "x", AT_FDCWD, "y"));
    is(renameat(file, "x", AT_FDCWD, "y"));
    is(renameat2(AT_FDCWD, "link", AT_FDCWD, "plain", 0));
    is(renameat2(AT_FDCWD, "plain", AT_FDCWD, "y", 0x100));
}

static void (*const programs[])(void) = {
    directories, listing, links, renaming,
};
RUN(programs)
