"""Which functions of files, by name and by descriptor, are imported at their first call.

:mod:`.deferred` says how to read a table.
"""

from __future__ import annotations

from theseus_kit.values.linkage import ErrorConvention
from theseus_kit_tlibc.declare import MINUS_ONE, NULL
from theseus_kit_tlibc.deferred import Table

FILES = (
    Table(
        "sys_stat",
        "sys/stat.h",
        """
        4: int stat(const char *pathname, struct stat *statbuf) = stat64
        6: int lstat(const char *pathname, struct stat *statbuf) = lstat64
        5: int fstat(int fd, struct stat *statbuf) = fstat64
        262: int fstatat(int dirfd, const char *pathname, struct stat *statbuf, int flags) = \
            fstatat64
        332: int statx(int dirfd, const char *pathname, int flags, unsigned int mask, struct \
            statx *statxbuf)
        int __fxstat(int ver, int fd, struct stat *statbuf) = __fxstat64
        int __xstat(int ver, const char *pathname, struct stat *statbuf) = __xstat64
        int __lxstat(int ver, const char *pathname, struct stat *statbuf) = __lxstat64
        int __fxstatat(int ver, int dirfd, const char *pathname, struct stat *statbuf, int \
            flags) = __fxstatat64
        83: int mkdir(const char *pathname, mode_t mode)
        258: int mkdirat(int dirfd, const char *pathname, mode_t mode)
        259: int mknodat(int dirfd, const char *pathname, mode_t mode, dev_t dev)
        90: int chmod(const char *pathname, mode_t mode)
        91: int fchmod(int fd, mode_t mode)
        int fchmodat(int dirfd, const char *pathname, mode_t mode, int flags)
        int futimens(int fd, const struct timespec *times)
        280: int utimensat(int dirfd, const char *pathname, const struct timespec *times, int \
            flags)
        235: int utimes(const char *filename, const struct timeval *times)
    """,
        MINUS_ONE,
    ),
    Table(
        "sys_stat",
        "sys/stat.h",
        """
        95: mode_t umask(mode_t mask)
    """,
    ),
    Table(
        "sys_stat",
        "sys/stat.h",
        """
        268: int fchmodat(int dirfd, const char *pathname, mode_t mode)
        452: int fchmodat2(int dirfd, const char *pathname, mode_t mode, int flags)
    """,
        ErrorConvention.NEGATIVE,
        is_raw=True,
    ),
    Table(
        "sys_stat",
        "sys/sysmacros.h",
        """
        unsigned int gnu_dev_major(dev_t dev)
        unsigned int gnu_dev_minor(dev_t dev)
        dev_t gnu_dev_makedev(unsigned int major, unsigned int minor)
    """,
    ),
    Table(
        "sys_uio",
        "sys/uio.h",
        """
        19: ssize_t readv(int fd, const struct iovec *iov, int iovcnt)
        20: ssize_t writev(int fd, const struct iovec *iov, int iovcnt)
        ssize_t preadv2(int fd, const struct iovec *iov, int iovcnt, off_t offset, int flags) = \
            preadv64v2
        ssize_t pwritev2(int fd, const struct iovec *iov, int iovcnt, off_t offset, int flags) = \
            pwritev64v2
    """,
        MINUS_ONE,
        blocks=True,
    ),
    Table(
        "sys_uio",
        "sys/uio.h",
        """
        295: ssize_t preadv(int fd, const struct iovec *iov, int iovcnt, off_t offset) = preadv64
        296: ssize_t pwritev(int fd, const struct iovec *iov, int iovcnt, off_t offset) = \
            pwritev64
    """,
        MINUS_ONE,
    ),
    Table(
        "sys_uio",
        "sys/uio.h",
        """
        327: ssize_t preadv2(int fd, const struct iovec *iov, int iovcnt, off_t offset, unsigned \
            long high, int flags)
        328: ssize_t pwritev2(int fd, const struct iovec *iov, int iovcnt, off_t offset, \
            unsigned long high, int flags)
    """,
        ErrorConvention.NEGATIVE,
        blocks=True,
        is_raw=True,
    ),
    Table(
        "sys_statfs",
        "sys/statfs.h",
        """
        137: int statfs(const char *path, struct statfs *buf) = statfs64
        138: int fstatfs(int fd, struct statfs *buf) = fstatfs64
        int statvfs(const char *path, struct statvfs *buf) = statvfs64
        int fstatvfs(int fd, struct statvfs *buf) = fstatvfs64
    """,
        MINUS_ONE,
    ),
    Table(
        "sys_ioctl",
        "sys/ioctl.h",
        """
        16: int ioctl(int fd, unsigned long request, void *argp)
    """,
        MINUS_ONE,
    ),
    Table(
        "sys_sendfile",
        "sys/sendfile.h",
        """
        40: ssize_t sendfile(int out_fd, int in_fd, off_t *offset, size_t count) = sendfile64
        326: ssize_t copy_file_range(int fd_in, off_t *off_in, int fd_out, off_t *off_out, \
            size_t len, unsigned int flags)
    """,
        MINUS_ONE,
        blocks=True,
    ),
    Table(
        "sys_file",
        "sys/file.h",
        """
        73: int flock(int fd, int operation)
    """,
        MINUS_ONE,
        blocks=True,
    ),
    Table(
        "unistd_names",
        "unistd.h",
        """
        87: int unlink(const char *pathname)
        84: int rmdir(const char *pathname)
        263: int unlinkat(int dirfd, const char *pathname, int flags)
        int remove(const char *pathname)
        82: int rename(const char *oldpath, const char *newpath)
        264: int renameat(int olddirfd, const char *oldpath, int newdirfd, const char *newpath)
        316: int renameat2(int olddirfd, const char *oldpath, int newdirfd, const char *newpath, \
            unsigned int flags)
        86: int link(const char *oldpath, const char *newpath)
        265: int linkat(int olddirfd, const char *oldpath, int newdirfd, const char *newpath, \
            int flags)
        88: int symlink(const char *target, const char *linkpath)
        266: int symlinkat(const char *target, int newdirfd, const char *linkpath)
        89: ssize_t readlink(const char *pathname, char *buf, size_t bufsiz)
        267: ssize_t readlinkat(int dirfd, const char *pathname, char *buf, size_t bufsiz)
        76: int truncate(const char *path, off_t length) = truncate64
        21: int access(const char *pathname, int mode)
        int faccessat(int dirfd, const char *pathname, int mode, int flags)
        80: int chdir(const char *path)
        81: int fchdir(int fd)
    """,
        MINUS_ONE,
    ),
    Table(
        "unistd_names",
        "unistd.h",
        """
        269: int faccessat(int dirfd, const char *pathname, int mode)
        439: int faccessat2(int dirfd, const char *pathname, int mode, int flags)
        79: long getcwd(char *buf, unsigned long size)
    """,
        ErrorConvention.NEGATIVE,
        is_raw=True,
    ),
    Table(
        "unistd_names",
        "unistd.h",
        """
        char *getcwd(char *buf, size_t size)
    """,
        NULL,
    ),
    Table(
        "dirent",
        "dirent.h",
        """
        217: ssize_t getdents64(int fd, void *dirp, unsigned int count)
    """,
        ErrorConvention.NEGATIVE,
        is_raw=True,
    ),
    Table(
        "dirent",
        "dirent.h",
        """
        DIR *opendir(const char *name)
        DIR *fdopendir(int fd)
        struct dirent *readdir(DIR *dirp) = readdir64
    """,
        NULL,
    ),
    Table(
        "dirent",
        "dirent.h",
        """
        void rewinddir(DIR *dirp)
        void seekdir(DIR *dirp, long loc)
    """,
    ),
    Table(
        "dirent",
        "dirent.h",
        """
        long telldir(DIR *dirp)
        int dirfd(DIR *dirp)
        int closedir(DIR *dirp)
    """,
        MINUS_ONE,
    ),
)
